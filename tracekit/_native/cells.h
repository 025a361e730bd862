/* Lines of cells, such as a table's rows or a log's, to columns: numbers as numbers, texts as codes. */
#ifndef TRACEKIT_CELLS_H
#define TRACEKIT_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "strings.h"

enum tk_cell_kind {
    TK_CELL_ANY,     /* not looked at */
    TK_CELL_TEXT,    /* as a code, in order of first appearance */
    TK_CELL_WHOLE,   /* digits, times the scale */
    TK_CELL_NUMBER,  /* digits, perhaps with a fraction, times the scale and rounded */
    TK_CELL_SECONDS, /* digits, a point and at most nine digits, in nanoseconds */
    TK_CELL_KINDS
};

typedef struct {
    uint8_t kind;
    bool needed;   /* may not be empty */
    bool present;  /* some row had a value: all rows of its array are set */
    int64_t scale; /* above 0 */
    int64_t most;  /* the largest whole number whose product with the scale fits */
    const char *text; /* of the line at hand: */
    uint32_t length;
    int64_t value; /* -1: none */
    tk_strings table;
} tk_cell;

typedef struct {
    tk_cell *cells;
    int width;
    int least;     /* so many cells a line has at the least; fewer only where blanks stand between them */
    bool open_end; /* what is behind `least` is there whole or not at all, and anything may follow it */
    char between;  /* 0: any number of blanks and tabs */
    uint8_t ends[256]; /* of each byte, whether a text may end there or is odd because of it */
} tk_cells;

typedef struct {
    int64_t *const *columns; /* of each cell its array, or NULL; one whose cell is not `present` afterwards is not set */
    int64_t capacity;
    int64_t rows;
    int64_t lines;   /* lines that are done, blank ones included */
    size_t position; /* where the next line begins: that of the end, or of a line that is odd */
    bool no_memory;
} tk_scanned;

int tk_cells_open(tk_cells *scanner, int width, int least, char between, bool open_end);
int tk_cells_set(tk_cells *scanner, int place, int kind, bool needed, int64_t scale);
void tk_cells_close(tk_cells *scanner);
void tk_cells_scan(tk_cells *scanner, const char *text, size_t length, tk_scanned *scanned);

#endif
