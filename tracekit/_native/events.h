/* Lines of dftracer to columns. */
#ifndef TRACEKIT_EVENTS_H
#define TRACEKIT_EVENTS_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys.h"
#include "strings.h"

/* The columns, in the order of tracekit.formats.dftracer_events.COLUMNS; a test compares them. The first are texts, as codes of
   a table: -1 where there is none. Then come numbers. */
#define TK_EVENT_TEXTS(X) \
    X(name) X(cat) X(pid) X(tid) X(path) X(fhash) X(hostname) X(value) X(label)
#define TK_EVENT_NUMBERS(X) \
    X(naming) X(ts) X(dur) X(ret) X(size) X(count) X(nmemb) X(offset) X(whence) X(fd) X(flags) X(length) X(error) X(epoch) X(step) \
    X(image_idx)
#define TK_EVENT_NAME(name) TK_EVENT_##name,
enum { TK_EVENT_TEXTS(TK_EVENT_NAME) TK_EVENT_FIRST_NUMBER, TK_EVENT_LAST_TEXT = TK_EVENT_FIRST_NUMBER - 1,
       TK_EVENT_NUMBERS(TK_EVENT_NAME) TK_EVENT_COLUMNS };
extern const char *const TK_EVENT_COLUMN[TK_EVENT_COLUMNS];

#define TK_EVENT_ABSENT INT64_MIN /* a number that an event does not have; what has one but cannot be used is for Python */

enum { TK_EVENT_KEYS = 34 };

typedef struct {
    tk_strings tables[TK_EVENT_FIRST_NUMBER]; /* `value` has that of `fhash`, `label` that of `path` */
    int32_t last[TK_EVENT_FIRST_NUMBER];      /* the code that a line had last; -1: none */
    tk_json_key keys[TK_EVENT_KEYS];
    uint8_t expected[TK_EVENT_KEYS + 1]; /* which key followed which in the line before */
    locale_t plain;                      /* in which a decimal point is a point */
} tk_events;

typedef struct {
    int64_t *columns; /* one behind the other, of `capacity` rows each */
    int64_t capacity;
    int64_t rows;
    int64_t lines;   /* lines that are done */
    size_t position; /* where the next line begins */
    bool no_memory;
} tk_event_rows;

int tk_events_open(tk_events *events);
void tk_events_close(tk_events *events);
tk_strings *tk_events_table(tk_events *events, int column);
void tk_events_read(tk_events *events, const char *text, size_t length, tk_event_rows *rows);

#endif
