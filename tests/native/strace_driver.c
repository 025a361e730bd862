/* Texts through the reader of strace, each in a block of exactly its size and in pieces that end anywhere, for sanitizers. The
   columns are of exactly two rows. Prints texts, ops and bad lines.

   Standard input: for each text its length, a line end, and its bytes. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tracekit/_native/strace.h"

static long ops, bad;

/* All of a text as far as it can be read; how much that is. */
static size_t read_on(tk_strace *state, const char *text, size_t length, bool whole, bool strict)
{
    char *exact = malloc(length ? length : 1); /* a look beyond is found */
    size_t position = 0;
    memcpy(exact, text, length);
    while (position < length) {
        for (int i = 0; i < TK_S_COLUMNS; i++)
            state->columns[i] = malloc(TK_MOST_ROWS * sizeof(int64_t));
        state->rows = 0;
        size_t before = position;
        enum tk_strace_end end = tk_strace_run(state, (tk_span){exact, exact + length}, &position, TK_MOST_ROWS, whole, strict);
        ops += state->rows;
        bad += state->bad;
        if (state->rows > TK_MOST_ROWS || state->no_memory || position > length || (whole && end == TK_S_MORE) || position < before)
            abort();
        state->bad = 0;
        for (int i = 0; i < TK_S_COLUMNS; i++)
            free(state->columns[i]);
        if (end == TK_S_MORE)
            break;
    }
    free(exact);
    return position;
}

/* In pieces of whole lines, as Python gives them; what cannot be read yet comes again with the next. */
static void read_all(const char *text, size_t length, size_t piece, bool strict)
{
    tk_strace state;
    size_t from = 0, to = 0;
    if (!tk_strace_open(&state))
        abort();
    while (to < length) {
        const char *end = length - to > piece ? memchr(text + to + piece, '\n', length - to - piece) : NULL;
        to = end ? (size_t)(end + 1 - text) : length;
        from += read_on(&state, text + from, to - from, to == length, strict);
    }
    if (from != length)
        abort();
    tk_strace_finish(&state);
    tk_strace_close(&state);
}

int main(void)
{
    long texts = 0;
    size_t length;
    while (scanf("%zu", &length) == 1 && getchar() == '\n') {
        char *text = malloc(length ? length : 1);
        if (fread(text, 1, length, stdin) != length)
            return 2;
        read_all(text, length, (size_t)(texts % 400), texts % 3 == 0);
        free(text);
        texts++;
    }
    printf("%ld %ld %ld\n", texts, ops, bad);
    return 0;
}
