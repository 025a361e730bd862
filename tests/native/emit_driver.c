/* Random rows through the writer of lines, each array and each room of exactly its size, for sanitizers. Prints how many calls
   wrote lines, had no room, and refused a code.

   usage: emit_driver SEED CALLS */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tracekit/_native/emit.h"
#include "chance.h"

static int64_t value(int column, int64_t strings)
{
    if (draw(3) == 0)
        return -1;
    switch (TK_COLUMN[column].kind) {
    case TK_TEXT: return (int64_t)draw((uint64_t)strings + (draw(20) == 0));
    case TK_SAMPLE: return draw(2) ? (int64_t)(draw(UINT64_MAX) >> draw(63)) & INT64_MAX : -2 - (int64_t)draw((uint64_t)strings);
    case TK_INT32: return (int64_t)(draw(UINT32_MAX) & INT32_MAX) >> draw(31);
    default: return (int64_t)(draw(UINT64_MAX) >> draw(63)) & INT64_MAX;
    }
}

int main(int count, char **arguments)
{
    long lines = 0, no_room = 0, bad = 0;
    if (count != 3)
        return 2;
    sow(strtoull(arguments[1], NULL, 10));
    for (long left = strtol(arguments[2], NULL, 10); left; left--) {
        int64_t rows = 1 + (int64_t)draw(4), strings = 1 + (int64_t)draw(3), from = 0;
        tk_emitter emitter = {0};
        char *text = malloc((size_t)strings * 9);
        int64_t *starts = malloc((size_t)(strings + 1) * sizeof *starts);
        memset(text, 'x', (size_t)strings * 9);
        for (int64_t i = 0; i <= strings; i++)
            starts[i] = i * 9;
        for (int i = 0; i < TK_COLUMNS; i++) {
            int wide = TK_COLUMN[i].kind == TK_INT64 || TK_COLUMN[i].kind == TK_SAMPLE;
            void *cells = draw(4) ? malloc((size_t)rows * (wide ? 8 : 4)) : NULL;
            emitter.columns[i] = cells;
            emitter.texts[i] = (tk_texts){text, starts, strings};
            for (int64_t row = 0; cells && row < rows; row++)
                if (wide)
                    ((int64_t *)cells)[row] = value(i, strings);
                else
                    ((int32_t *)cells)[row] = (int32_t)value(i, strings);
        }
        size_t room = draw(4000);
        char *out = malloc(room + !room);
        int64_t written = tk_emit(&emitter, &from, rows, out, (int64_t)room);
        if (written > 0)
            lines++;
        else if (written == TK_EMIT_NO_ROOM)
            no_room++;
        else if (written == TK_EMIT_BAD_CODE)
            bad++;
        if (written > (int64_t)room || (written > 0 && out[written - 1] != '\n'))
            return 1;
        for (int i = 0; i < TK_COLUMNS; i++)
            free((void *)(uintptr_t)emitter.columns[i]);
        free(out);
        free(text);
        free(starts);
    }
    printf("%ld %ld %ld\n", lines, no_room, bad);
    return 0;
}
