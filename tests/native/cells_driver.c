/* Mutated lines of cells through their reader, each pair in a block of exactly its size, for sanitizers; the columns are of exactly
   two rows. Prints lines taken and refused.

   usage: cells_driver SEED LINES */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tracekit/_native/cells.h"
#include "chance.h"

enum { MOST_CELLS = 10 };

typedef struct {
    const char *lines[3];
    int width, least, kinds[MOST_CELLS];
    char between;
    bool open_end;
} sample;

static const sample SAMPLES[] = {
    {{"/a/b,4096,1700000000.123456,7,x\n", "\"/e,f\", 5 ,1.5,,\r\n", "s3://b/k,123456789012345678,18014398509481984.25,0,\"y\"\n"},
     5, 5, {TK_CELL_TEXT, TK_CELL_WHOLE, TK_CELL_NUMBER, TK_CELL_NUMBER, TK_CELL_ANY}, ',', false},
    {{"0 /d/a add\n", "12345 /d/a read 4096 512\n", " 9 /data/a\twait 77 \r\n"},
     5, 3, {TK_CELL_WHOLE, TK_CELL_TEXT, TK_CELL_TEXT, TK_CELL_WHOLE, TK_CELL_WHOLE}, 0, false},
    {{"  8,0 3 11 0.009507758 697 C W 223490 + 8 [0]\n", "8,0 3 12 4.1 697 P N [fio]\n", "8,0 0 1 99999999999.5 1 D R 1 + 1\n"},
     10, 7, {TK_CELL_TEXT, TK_CELL_WHOLE, TK_CELL_WHOLE, TK_CELL_SECONDS, TK_CELL_WHOLE, TK_CELL_TEXT, TK_CELL_TEXT, TK_CELL_WHOLE,
             TK_CELL_TEXT, TK_CELL_WHOLE}, 0, true},
};
static const char LETTERS[] = "\",;+- \t\r\n0123456789.eExa\x01\x7f\x80\xc3\xff";
enum { SAMPLE_COUNT = sizeof SAMPLES / sizeof SAMPLES[0] };

static int64_t scan(tk_cells *scanner, const char *text, size_t length)
{
    int64_t *columns[MOST_CELLS] = {0};
    for (int i = 0; i < scanner->width; i++)
        columns[i] = scanner->cells[i].kind == TK_CELL_ANY ? NULL : malloc(2 * sizeof(int64_t));
    tk_scanned scanned = {.columns = columns, .capacity = 2};
    tk_cells_scan(scanner, text, length, &scanned);
    if (scanned.position > length || scanned.rows > 2 || scanned.no_memory)
        abort();
    for (int i = 0; i < scanner->width; i++) {
        for (int64_t row = 0; columns[i] && scanner->cells[i].present && row < scanned.rows; row++)
            if (columns[i][row] < -1)
                abort();
        free(columns[i]);
    }
    return scanned.rows;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    long taken = 0, refused = 0;
    tk_cells scanners[SAMPLE_COUNT];
    sow(strtoull(arguments[1], NULL, 10));
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        const sample *one = &SAMPLES[i];
        if (tk_cells_open(&scanners[i], one->width, one->least, one->between, one->open_end) < 0)
            return 2;
        for (int place = 0; place < one->width; place++)
            if (tk_cells_set(&scanners[i], place, one->kinds[place], place == 0, one->kinds[place] > TK_CELL_TEXT ? 1000000000 : 1) < 0)
                return 2;
    }
    for (long left = strtol(arguments[2], NULL, 10); left; left--) {
        size_t which = draw(SAMPLE_COUNT), before = 0, behind;
        char both[512];
        const char *line = SAMPLES[which].lines[draw(3)];
        before = mutate(memcpy(both, line, strlen(line)), strlen(line), LETTERS);
        line = SAMPLES[which].lines[draw(3)];
        behind = mutate(memcpy(both + before, line, strlen(line)), strlen(line), LETTERS);
        char *text = malloc(before + behind); /* exactly: a look beyond is found */
        memcpy(text, both, before + behind);
        int64_t rows = scan(&scanners[which], text, before + behind);
        taken += rows;
        refused += 2 - rows;
        free(text);
    }
    for (int i = 0; i < SAMPLE_COUNT; i++)
        tk_cells_close(&scanners[i]);
    printf("%ld %ld\n", taken, refused);
    return 0;
}
