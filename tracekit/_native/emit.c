/* The quick way to a trace file: byte for byte what the Python writer writes (tests/property/test_native_writer.py). A value
   that is missing leaves its key out, but for the offset: a reader must see that the place is not known, not assume 0. */
#define _GNU_SOURCE
#include "emit.h"

#include <string.h>

enum { OFFSET = 1, DIGITS = 20, KEYS_AND_NUMBERS = TK_COLUMNS * (24 + DIGITS) + 4 };

static const char PAIRS[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static char *put_number(char *at, int64_t value)
{
    char digits[DIGITS];
    int place = DIGITS;
    uint64_t left = (uint64_t)value;
    if (value < 0) {
        *at++ = '-';
        left = 0 - left;
    }
    while (left >= 100) {
        unsigned pair = (unsigned)(left % 100) * 2;
        left /= 100;
        digits[--place] = PAIRS[pair + 1];
        digits[--place] = PAIRS[pair];
    }
    if (left >= 10)
        digits[--place] = PAIRS[left * 2 + 1];
    digits[--place] = left >= 10 ? PAIRS[left * 2] : (char)('0' + left);
    memcpy(at, digits + place, (size_t)(DIGITS - place));
    return at + (DIGITS - place);
}

static char *put_key(char *at, int column)
{
    *at++ = ',';
    *at++ = '"';
    memcpy(at, TK_COLUMN[column].name, TK_COLUMN[column].length);
    at += TK_COLUMN[column].length;
    *at++ = '"';
    *at++ = ':';
    return at;
}

static int64_t value_of(const tk_emitter *emitter, int column, int64_t row)
{
    const void *values = emitter->columns[column];
    enum tk_column_kind kind = TK_COLUMN[column].kind;
    return kind == TK_INT64 || kind == TK_SAMPLE ? ((const int64_t *)values)[row] : ((const int32_t *)values)[row];
}

/* Where in its table the text of a value is; -1 for a value that is a number itself. */
static int64_t text_of(int column, int64_t value)
{
    enum tk_column_kind kind = TK_COLUMN[column].kind;
    return kind == TK_TEXT ? value : kind == TK_SAMPLE && value < 0 ? -2 - value : -1;
}

/* Bytes that the texts of a row take; negative when one is not in its table. */
static int64_t text_bytes(const tk_emitter *emitter, int64_t row)
{
    int64_t sum = 0;
    for (int column = 0; column < TK_COLUMNS; column++) {
        enum tk_column_kind kind = TK_COLUMN[column].kind;
        if (emitter->columns[column] == NULL || (kind != TK_TEXT && kind != TK_SAMPLE))
            continue;
        int64_t value = value_of(emitter, column, row), text = text_of(column, value);
        if (value == -1 || (kind == TK_SAMPLE && value >= 0))
            continue;
        if (text < 0 || text >= emitter->texts[column].count)
            return -1;
        sum += emitter->texts[column].starts[text + 1] - emitter->texts[column].starts[text];
    }
    return sum;
}

static char *put_row(const tk_emitter *emitter, int64_t row, char *at)
{
    char *begin = at;
    for (int column = 0; column < TK_COLUMNS; column++) {
        if (emitter->columns[column] == NULL)
            continue;
        int64_t value = value_of(emitter, column, row), text = text_of(column, value);
        if (value == -1) {
            if (column == OFFSET) {
                at = put_key(at, column);
                memcpy(at, "null", 4);
                at += 4;
            }
            continue;
        }
        at = put_key(at, column);
        if (text < 0) {
            at = put_number(at, value);
            continue;
        }
        const tk_texts *texts = &emitter->texts[column];
        size_t bytes = (size_t)(texts->starts[text + 1] - texts->starts[text]);
        memcpy(at, texts->text + texts->starts[text], bytes);
        at += bytes;
    }
    if (at == begin)
        at++;
    *begin = '{'; /* over the first comma */
    *at++ = '}';
    *at++ = '\n';
    return at;
}

int64_t tk_emit(const tk_emitter *emitter, int64_t *from, int64_t to, char *out, int64_t room)
{
    char *at = out;
    while (*from < to) {
        int64_t texts = text_bytes(emitter, *from);
        bool fits = texts >= 0 && texts + KEYS_AND_NUMBERS <= room - (at - out);
        if (!fits && at > out)
            break; /* the next call says what is wrong, if anything is */
        if (!fits)
            return texts < 0 ? TK_EMIT_BAD_CODE : TK_EMIT_NO_ROOM;
        at = put_row(emitter, *from, at);
        ++*from;
    }
    return at - out;
}
