/* The quick way through a trace file: lines that are plain ops become columns; at any other line the parser stops and the
   Python reader looks at it. Nothing is guessed: an escape, a number with a sign, point or exponent, a key twice, a text that
   is not UTF-8, whatever is unusual is the reader's. What is taken here is what the reader would have taken, value for value
   (tests/property/test_native_reader.py). */
#define _GNU_SOURCE
#include "parse.h"

#include <string.h>

#include "scan.h"

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

/* What is known of a line while it is read. Numbers go straight to their row, which counts only when the line is whole; texts
   that may be new wait for that. */
typedef struct {
    const char *text[TK_COLUMNS];
    uint32_t length[TK_COLUMNS];
    uint32_t seen;   /* keys of the line */
    uint32_t valued; /* those whose value is not null */
    uint32_t texts;  /* those whose value waits in `text` */
} line;

int tk_parser_open(tk_parser *parser)
{
    int failed = 0;
    memset(parser, 0, sizeof *parser);
    memset(parser->expected, NO_KEY, sizeof parser->expected);
    for (int i = 0; i < TK_COLUMNS; i++) {
        parser->plain[i] = -1;
        parser->keys[i] = tk_json_key_of(TK_COLUMN[i].name, TK_COLUMN[i].length);
        if (TK_COLUMN[i].kind == TK_TEXT || TK_COLUMN[i].kind == TK_SAMPLE)
            failed |= tk_strings_open(&parser->tables[i]);
    }
    /* An op without kind is a read. */
    return failed || tk_strings_code(&parser->tables[OP], "read", 4) != 0 ? -1 : 0;
}

void tk_parser_close(tk_parser *parser)
{
    for (int i = 0; i < TK_COLUMNS; i++)
        tk_strings_close(&parser->tables[i]);
}

static int column_named(const char *key, size_t length)
{
    for (int i = 0; i < TK_COLUMNS; i++)
        if (TK_COLUMN[i].length == length && memcmp(TK_COLUMN[i].name, key, length) == 0)
            return i;
    return UNKNOWN;
}

/* Any key at `at`: its column, and where its colon ends. NULL when it is not plain. */
static const char *any_key_at(tk_parser *parser, const char *at, const char *end, int *column)
{
    if (at >= end || *at != '"')
        return NULL;
    const char *quote = tk_end_of_text(at + 1, end);
    if (quote == NULL)
        return NULL;
    int found = column_named(at + 1, (size_t)(quote - at - 1));
    if (found != UNKNOWN)
        parser->expected[*column] = (uint8_t)found;
    *column = found;
    at = tk_skip_blanks(quote + 1, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

/* The key at `at`, and where its colon ends. The one that followed in the line before is tried first. */
static inline const char *key_at(tk_parser *parser, const char *at, const char *end, int *column)
{
    int guess = parser->expected[*column];
    if (guess == NO_KEY || end - at < TK_KEY_BYTES || !tk_is_json_key(&parser->keys[guess], at))
        return any_key_at(parser, at, end, column);
    *column = guess;
    return at + TK_COLUMN[guess].length + 3;
}

/* The value of a key nobody knows is passed over if it is plain; a value of any other kind is the reader's. */
static const char *pass_over(const char *at, const char *end)
{
    int64_t number;
    const char *next;
    if (*at == '"') {
        const char *quote = tk_end_of_text(at + 1, end);
        return quote ? quote + 1 : NULL;
    }
    if ((next = tk_word_at(at, end, "null", 4)) || (next = tk_word_at(at, end, "true", 4)) ||
        (next = tk_word_at(at, end, "false", 5)))
        return next;
    return tk_number_at(at, end, &number);
}

static inline void set(tk_parsed *parsed, int column, int64_t row, int64_t value)
{
    if (TK_COLUMN[column].kind == TK_INT64 || TK_COLUMN[column].kind == TK_SAMPLE)
        ((int64_t *)parsed->columns[column])[row] = value;
    else
        ((int32_t *)parsed->columns[column])[row] = (int32_t)value;
}

static inline int64_t cell_of(int column, int32_t code)
{
    return TK_COLUMN[column].kind == TK_SAMPLE ? -2 - (int64_t)code : code; /* tracekit.trace.name_code */
}

/* Where the text at `at` ends if it is the one that stood in this column last. */
static inline const char *again(const tk_parser *parser, int column, const char *at, const char *end)
{
    if (parser->plain[column] < 0)
        return NULL;
    const tk_strings *table = &parser->tables[column];
    const tk_string *last = &table->strings[parser->plain[column]];
    const char *quote = at + last->length;
    if ((size_t)(end - at) <= last->length || *quote != '"' || memcmp(at, table->bytes + last->at, last->length) != 0)
        return NULL;
    return quote;
}

static const char *text_value(const tk_parser *parser, line *mine, int column, const char *at, const char *end, tk_parsed *parsed)
{
    if (TK_COLUMN[column].kind != TK_TEXT && TK_COLUMN[column].kind != TK_SAMPLE)
        return NULL;
    const char *quote = again(parser, column, at + 1, end);
    if (quote) {
        set(parsed, column, parsed->rows, cell_of(column, parser->plain[column]));
    } else {
        quote = tk_end_of_text(at + 1, end);
        if (quote == NULL)
            return NULL;
        mine->text[column] = at + 1;
        mine->length[column] = (uint32_t)(quote - at - 1);
        mine->texts |= 1u << column;
    }
    mine->valued |= 1u << column;
    return quote + 1;
}

static inline const char *value_at(const tk_parser *parser, line *mine, int column, const char *at, const char *end, tk_parsed *parsed)
{
    int64_t number;
    if (at >= end)
        return NULL;
    if (column == UNKNOWN)
        return pass_over(at, end);
    if (mine->seen & 1u << column)
        return NULL;
    mine->seen |= 1u << column;
    if (*at == '"')
        return text_value(parser, mine, column, at, end, parsed);
    if (*at == 'n')
        return tk_word_at(at, end, "null", 4);
    if (TK_COLUMN[column].kind == TK_TEXT)
        return NULL;
    const char *next = tk_number_at(at, end, &number);
    if (next == NULL || (TK_COLUMN[column].kind == TK_INT32 && number > INT32_MAX))
        return NULL;
    set(parsed, column, parsed->rows, number);
    mine->valued |= 1u << column;
    return next;
}

/* Read one line from behind its brace: where its newline is, NULL when it is not a plain op. Nothing looks for the newline
   first: in a plain op none of what is passed over on the way can be one. */
static const char *read_line(tk_parser *parser, line *mine, const char *at, const char *end, tk_parsed *parsed)
{
    int column = UNKNOWN; /* before the first key */
    mine->seen = mine->valued = mine->texts = 0;
    for (;; at++) {
        at = key_at(parser, tk_skip_blanks(at, end), end, &column);
        if (at == NULL)
            return NULL;
        at = value_at(parser, mine, column, tk_skip_blanks(at, end), end, parsed);
        if (at == NULL)
            return NULL;
        at = tk_skip_blanks(at, end);
        if (at < end && *at == ',')
            continue;
        if (at >= end || *at != '}' || (mine->valued & REQUIRED) != REQUIRED)
            return NULL;
        at = tk_skip_blanks(at + 1, end);
        return at < end && *at == '\n' ? at : NULL;
    }
}

static bool put_texts(tk_parser *parser, const line *mine, tk_parsed *parsed)
{
    for (uint32_t left = mine->texts; left; left &= left - 1) {
        int column = __builtin_ctz(left);
        int32_t code = tk_strings_code(&parser->tables[column], mine->text[column], mine->length[column]);
        if (code < 0)
            return false;
        parser->plain[column] = code;
        set(parsed, column, parsed->rows, cell_of(column, code));
    }
    return true;
}

/* A column that has its first value: the rows so far have none. */
static void begin_columns(uint32_t columns, tk_parsed *parsed)
{
    for (; columns; columns &= columns - 1)
        for (int64_t row = 0; row < parsed->rows; row++)
            set(parsed, __builtin_ctz(columns), row, -1);
}

static bool put_line(tk_parser *parser, line *mine, tk_parsed *parsed)
{
    if (!put_texts(parser, mine, parsed))
        return false;
    if (!(mine->valued & 1u << OP)) {
        set(parsed, OP, parsed->rows, 0);
        mine->valued |= 1u << OP;
    }
    if (mine->valued & ~parsed->present)
        begin_columns(mine->valued & ~parsed->present, parsed);
    parsed->present |= mine->valued;
    for (uint32_t left = parsed->present & ~mine->valued; left; left &= left - 1)
        set(parsed, __builtin_ctz(left), parsed->rows, -1);
    parsed->rows++;
    return true;
}

/* Read lines from `parsed->position` on, up to the end of the text, the capacity, or a line that is for the reader: that one
   begins at `position` then. The text ends with a newline. */
void tk_parse(tk_parser *parser, const char *text, size_t length, tk_parsed *parsed)
{
    line mine;
    const char *end = text + length;
    while (parsed->position < length && parsed->rows < parsed->capacity) {
        const char *at = tk_skip_blanks(text + parsed->position, end);
        if (at == end)
            return;
        if (*at != '\n') {
            at = *at == '{' ? read_line(parser, &mine, at + 1, end, parsed) : NULL;
            if (at == NULL)
                return;
            if (!put_line(parser, &mine, parsed)) {
                parsed->no_memory = true;
                return;
            }
        }
        parsed->lines++;
        parsed->position = (size_t)(at + 1 - text);
    }
}
