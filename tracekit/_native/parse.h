/* JSON Lines of ops to columns. */
#ifndef TRACEKIT_PARSE_H
#define TRACEKIT_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys.h"
#include "strings.h"

/* The columns, in the order of tracekit.trace.COLUMNS; a test compares them. */
enum { TK_COLUMNS = 21 };
enum tk_column_kind { TK_INT64, TK_INT32, TK_TEXT, TK_SAMPLE };
typedef struct {
    const char *name;
    size_t length;
    enum tk_column_kind kind;
} tk_column;
extern const tk_column TK_COLUMN[TK_COLUMNS];

typedef struct {
    tk_strings tables[TK_COLUMNS]; /* of text columns, and the names of samples */
    int32_t plain[TK_COLUMNS]; /* the code of the text that a line had last, exactly as it stood there; -1: none */
    tk_json_key keys[TK_COLUMNS];
    uint8_t expected[TK_COLUMNS + 1]; /* which key followed which in the line before; 255: none */
} tk_parser;

typedef struct {
    void *columns[TK_COLUMNS]; /* arrays; what is behind `rows`, and a column that is not `present`, is not set */
    int64_t capacity;
    int64_t rows;
    int64_t lines;    /* lines that are done */
    size_t position;  /* where the next line begins */
    uint32_t present; /* bit by column: all rows are set, to -1 where there is no value */
    bool no_memory;
} tk_parsed;

int tk_parser_open(tk_parser *parser);
void tk_parser_close(tk_parser *parser);
void tk_parse(tk_parser *parser, const char *text, size_t length, tk_parsed *parsed);

#endif
