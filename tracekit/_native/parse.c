/* The quick way through a trace file: lines that are plain ops become columns; at any other line the parser stops and the
   Python reader looks at it. Nothing is guessed: an escape, a number with a sign, point or exponent, a key twice, a text that
   is not UTF-8, whatever is unusual is the reader's. What is taken here is what the reader would have taken, value for value
   (tests/property/test_native_reader.py). */
#define _GNU_SOURCE
#include "parse.h"

#include <string.h>

#define COLUMN(name, kind) {#name, sizeof #name - 1, kind}
const tk_column TK_COLUMN[TK_COLUMNS] = {
    COLUMN(uri, TK_TEXT), COLUMN(offset, TK_INT64), COLUMN(len, TK_INT64), COLUMN(t_submit, TK_INT64),
    COLUMN(op, TK_TEXT), COLUMN(t_complete, TK_INT64), COLUMN(ret, TK_INT64), COLUMN(err, TK_TEXT),
    COLUMN(t_due, TK_INT64), COLUMN(t_first_byte, TK_INT64), COLUMN(pid, TK_INT32), COLUMN(tid, TK_INT32),
    COLUMN(rank, TK_INT32), COLUMN(worker, TK_INT32), COLUMN(epoch, TK_INT32), COLUMN(step, TK_INT32),
    COLUMN(sample_id, TK_SAMPLE), COLUMN(layer, TK_TEXT), COLUMN(level, TK_TEXT), COLUMN(attempts, TK_INT32),
    COLUMN(flags, TK_TEXT),
};
enum { URI = 0, LEN = 2, T_SUBMIT = 3, OP = 4, UNKNOWN = TK_COLUMNS, NO_KEY = 255 };
static const uint32_t REQUIRED = 1u << URI | 1u << LEN | 1u << T_SUBMIT;

/* One line's values before anything is written: a line is taken whole or not at all. */
typedef struct {
    int64_t number[TK_COLUMNS];
    const char *text[TK_COLUMNS];
    uint32_t length[TK_COLUMNS];
    uint32_t seen;  /* keys of the line */
    uint32_t valued; /* those whose value is not null */
    uint32_t texts; /* those whose value is a text */
} line;

int tk_parser_open(tk_parser *parser)
{
    int failed = 0;
    memset(parser, 0, sizeof *parser);
    memset(parser->expected, NO_KEY, sizeof parser->expected);
    for (int i = 0; i < TK_COLUMNS; i++)
        if (TK_COLUMN[i].kind == TK_TEXT || TK_COLUMN[i].kind == TK_SAMPLE)
            failed |= tk_strings_open(&parser->tables[i]);
    /* An op without kind is a read. */
    return failed || tk_strings_code(&parser->tables[OP], "read", 4) != 0 ? -1 : 0;
}

void tk_parser_close(tk_parser *parser)
{
    for (int i = 0; i < TK_COLUMNS; i++)
        tk_strings_close(&parser->tables[i]);
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* Whether these bytes are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool is_utf8(const unsigned char *at, const unsigned char *end)
{
    while (at < end) {
        unsigned char lead = *at++;
        if (lead < 0x80)
            continue;
        int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || end - at < more)
            return false;
        if ((lead == 0xE0 && *at < 0xA0) || (lead == 0xED && *at > 0x9F) || (lead == 0xF0 && *at < 0x90) ||
            (lead == 0xF4 && *at > 0x8F))
            return false;
        for (; more; more--, at++)
            if ((*at & 0xC0) != 0x80)
                return false;
    }
    return true;
}

/* Where the text that begins at `at` ends: at its quote. NULL when it holds an escape or a control character, or does not
   end, or is not UTF-8. Eight bytes at a time: a byte is special when it is a quote, a backslash, below 0x20 or above 0x7F. */
static const char *end_of_text(const char *at, const char *end)
{
    const uint64_t ones = 0x0101010101010101ULL, tops = 0x8080808080808080ULL;
    const char *begin = at;
    bool ascii = true;
    for (;;) {
        uint64_t word;
        while (end - at >= 8) {
            memcpy(&word, at, 8);
            uint64_t quote = word ^ (ones * '"'), escape = word ^ (ones * '\\');
            uint64_t special = ((quote - ones) & ~quote) | ((escape - ones) & ~escape) | (word - ones * 0x20) | word;
            if (special & tops)
                break;
            at += 8;
        }
        int left = 8;
        while (at < end && left-- > 0) {
            unsigned char byte = (unsigned char)*at;
            if (byte == '"')
                return ascii || is_utf8((const unsigned char *)begin, (const unsigned char *)at) ? at : NULL;
            if (byte == '\\' || byte < 0x20)
                return NULL;
            ascii = ascii && byte < 0x80;
            at++;
        }
        if (at >= end)
            return NULL;
    }
}

/* A plain number of at most 2^63 - 1; NULL for any other, also for one that goes on with a point or an exponent. */
static const char *number_at(const char *at, const char *end, int64_t *value)
{
    const char *begin = at;
    uint64_t sum = 0;
    while (at < end && (unsigned char)(*at - '0') <= 9 && at - begin < 19)
        sum = sum * 10 + (uint64_t)(*at++ - '0');
    if (at == begin || (*begin == '0' && at - begin > 1) || sum > INT64_MAX)
        return NULL;
    if (at < end && ((unsigned char)(*at - '0') <= 9 || *at == '.' || *at == 'e' || *at == 'E'))
        return NULL;
    *value = (int64_t)sum;
    return at;
}

static const char *word_at(const char *at, const char *end, const char *word, size_t length)
{
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static int column_named(const char *key, size_t length)
{
    for (int i = 0; i < TK_COLUMNS; i++)
        if (TK_COLUMN[i].length == length && memcmp(TK_COLUMN[i].name, key, length) == 0)
            return i;
    return UNKNOWN;
}

/* The key that begins behind the quote at `at`: its column, and where it ends. The key that followed in the line before is
   tried first, which saves looking for the end. NULL when it is not plain. */
static const char *key_at(tk_parser *parser, const char *at, const char *end, int *column)
{
    int guess = parser->expected[*column];
    if (guess != NO_KEY) {
        size_t length = TK_COLUMN[guess].length;
        if ((size_t)(end - at) > length + 1 && at[length + 1] == '"' && memcmp(at + 1, TK_COLUMN[guess].name, length) == 0) {
            *column = guess;
            return at + length + 2;
        }
    }
    const char *quote = end_of_text(at + 1, end);
    if (quote == NULL)
        return NULL;
    int found = column_named(at + 1, (size_t)(quote - at - 1));
    if (found != UNKNOWN)
        parser->expected[*column] = (uint8_t)found;
    *column = found;
    return quote + 1;
}

/* The value of a key nobody knows is passed over if it is plain; a value of any other kind is the reader's. */
static const char *pass_over(const char *at, const char *end)
{
    int64_t number;
    const char *next;
    if (*at == '"') {
        const char *quote = end_of_text(at + 1, end);
        return quote ? quote + 1 : NULL;
    }
    if ((next = word_at(at, end, "null", 4)) || (next = word_at(at, end, "true", 4)) ||
        (next = word_at(at, end, "false", 5)))
        return next;
    return number_at(at, end, &number);
}

static const char *text_value(line *mine, int column, const char *at, const char *end)
{
    const char *quote = end_of_text(at + 1, end);
    if (quote == NULL || (TK_COLUMN[column].kind != TK_TEXT && TK_COLUMN[column].kind != TK_SAMPLE))
        return NULL;
    mine->text[column] = at + 1;
    mine->length[column] = (uint32_t)(quote - at - 1);
    mine->texts |= 1u << column;
    mine->valued |= 1u << column;
    return quote + 1;
}

static const char *value_at(line *mine, int column, const char *at, const char *end)
{
    if (at >= end)
        return NULL;
    if (column == UNKNOWN)
        return pass_over(at, end);
    if (mine->seen & 1u << column)
        return NULL;
    mine->seen |= 1u << column;
    if (*at == '"')
        return text_value(mine, column, at, end);
    if (*at == 'n')
        return word_at(at, end, "null", 4);
    if (TK_COLUMN[column].kind == TK_TEXT)
        return NULL;
    const char *next = number_at(at, end, &mine->number[column]);
    if (next && TK_COLUMN[column].kind == TK_INT32 && mine->number[column] > INT32_MAX)
        return NULL;
    mine->valued |= 1u << column;
    return next;
}

/* Read one line from its brace; false when it is not a plain op. */
static bool read_line(tk_parser *parser, line *mine, const char *at, const char *end)
{
    int column = UNKNOWN; /* before the first key */
    mine->seen = mine->valued = mine->texts = 0;
    at++;
    for (;;) {
        at = skip_blanks(at, end);
        if (at >= end || *at != '"')
            return false;
        at = key_at(parser, at, end, &column);
        if (at == NULL)
            return false;
        at = skip_blanks(at, end);
        if (at >= end || *at != ':')
            return false;
        at = value_at(mine, column, skip_blanks(at + 1, end), end);
        if (at == NULL)
            return false;
        at = skip_blanks(at, end);
        if (at < end && *at == ',') {
            at++;
            continue;
        }
        return at < end && *at == '}' && skip_blanks(at + 1, end) == end && (mine->valued & REQUIRED) == REQUIRED;
    }
}

static bool put(tk_parser *parser, const line *mine, int column, tk_parsed *parsed)
{
    int64_t value = mine->number[column];
    if (mine->texts & 1u << column) {
        value = tk_strings_code(&parser->tables[column], mine->text[column], mine->length[column]);
        if (value < 0)
            return false;
        if (TK_COLUMN[column].kind == TK_SAMPLE)
            value = -2 - value; /* tracekit.trace.name_code */
    }
    if (TK_COLUMN[column].kind == TK_INT64 || TK_COLUMN[column].kind == TK_SAMPLE)
        ((int64_t *)parsed->columns[column])[parsed->rows] = value;
    else
        ((int32_t *)parsed->columns[column])[parsed->rows] = (int32_t)value;
    return true;
}

static bool put_line(tk_parser *parser, const line *mine, tk_parsed *parsed)
{
    for (uint32_t left = mine->valued; left; left &= left - 1)
        if (!put(parser, mine, __builtin_ctz(left), parsed))
            return false;
    if (!(mine->valued & 1u << OP))
        ((int32_t *)parsed->columns[OP])[parsed->rows] = 0;
    parsed->present |= mine->valued;
    parsed->rows++;
    return true;
}

/* Read lines from `parsed->position` on, up to the end of the text, the capacity, or a line that is for the reader: that one
   begins at `position` then. The text ends with a newline. */
void tk_parse(tk_parser *parser, const char *text, size_t length, tk_parsed *parsed)
{
    line mine;
    while (parsed->position < length && parsed->rows < parsed->capacity) {
        const char *begin = text + parsed->position, *end = memchr(begin, '\n', length - parsed->position);
        if (end == NULL)
            return;
        const char *at = skip_blanks(begin, end);
        if (at < end) {
            if (*at != '{' || !read_line(parser, &mine, at, end))
                return;
            if (!put_line(parser, &mine, parsed)) {
                parsed->no_memory = true;
                return;
            }
        }
        parsed->lines++;
        parsed->position = (size_t)(end + 1 - text);
    }
}
