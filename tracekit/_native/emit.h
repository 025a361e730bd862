/* Columns to JSON Lines of ops. */
#ifndef TRACEKIT_EMIT_H
#define TRACEKIT_EMIT_H

#include "parse.h"

/* The strings of a column as they stand in a line, quotes and escapes included: string i is text[starts[i] .. starts[i + 1]]. */
typedef struct {
    const char *text;
    const int64_t *starts;
    int64_t count;
} tk_texts;

typedef struct {
    const void *columns[TK_COLUMNS]; /* by parse.h's table; NULL where the trace has no such column */
    tk_texts texts[TK_COLUMNS];
} tk_emitter;

enum { TK_EMIT_BAD_CODE = -1, TK_EMIT_NO_ROOM = -2 };

/* Write the lines of rows `from` up to `to`, as many as fit; *from becomes the first row that was not written. Returns the bytes
   written, or why not one row was: a code outside its table, or a line longer than all the room. */
int64_t tk_emit(const tk_emitter *emitter, int64_t *from, int64_t to, char *out, int64_t room);

#endif
