/* The quick way through a file of dftracer's: lines that are plain events become columns; at any other line the scanner stops and
   Python looks at it. Nothing is guessed: an escape, a key twice, a value of an unusual type, whatever is unusual is Python's. What
   is taken here is what Python would have taken, value for value (tests/property/test_dftracer_columns.py). */
#define _GNU_SOURCE
#include "events.h"

#include <stdlib.h>
#include <string.h>

#include "scan.h"

enum scope { OUTSIDE, ARGUMENTS };
enum kind { IGNORED, TEXT, IDENTITY, NUMBER, TIME, PHASE, NESTED };

/* What a line may say. The names of files wait until it is known which of them counts, and whether they are wanted. */
enum { FILE_NAME = TK_EVENT_COLUMNS, OTHER_NAME, CELLS };
#define KEY(scope, name, kind, cell) {scope, kind, cell, #name, sizeof #name - 1}
#define NUMBERED(name) KEY(ARGUMENTS, name, NUMBER, TK_EVENT_##name)
#define PASSED(scope, name) KEY(scope, name, IGNORED, CELLS)
static const struct {
    enum scope scope;
    enum kind kind;
    uint8_t cell;
    const char *name;
    size_t length;
} KEYS[TK_EVENT_KEYS] = {
    KEY(OUTSIDE, name, TEXT, TK_EVENT_name), KEY(OUTSIDE, cat, TEXT, TK_EVENT_cat), KEY(OUTSIDE, pid, IDENTITY, TK_EVENT_pid),
    KEY(OUTSIDE, tid, IDENTITY, TK_EVENT_tid), KEY(OUTSIDE, ts, TIME, TK_EVENT_ts), KEY(OUTSIDE, dur, TIME, TK_EVENT_dur),
    KEY(OUTSIDE, ph, PHASE, TK_EVENT_naming), KEY(OUTSIDE, args, NESTED, CELLS), PASSED(OUTSIDE, id), PASSED(OUTSIDE, type),
    KEY(ARGUMENTS, fname, TEXT, FILE_NAME), KEY(ARGUMENTS, filename, TEXT, OTHER_NAME),
    KEY(ARGUMENTS, fhash, IDENTITY, TK_EVENT_fhash), KEY(ARGUMENTS, hostname, TEXT, TK_EVENT_hostname),
    KEY(ARGUMENTS, value, IDENTITY, TK_EVENT_value), KEY(ARGUMENTS, name, TEXT, TK_EVENT_label),
    NUMBERED(ret), NUMBERED(size), NUMBERED(count), NUMBERED(nmemb), NUMBERED(offset), NUMBERED(whence), NUMBERED(fd),
    NUMBERED(flags), NUMBERED(length),
    {ARGUMENTS, NUMBER, TK_EVENT_error, "errno", 5}, NUMBERED(epoch), NUMBERED(step), NUMBERED(image_idx),
    PASSED(ARGUMENTS, hhash), PASSED(ARGUMENTS, level), PASSED(ARGUMENTS, cmd_hash), PASSED(ARGUMENTS, mode), PASSED(ARGUMENTS, p_idx),
};
enum { UNKNOWN = TK_EVENT_KEYS };

#define TEXT_OF(name) #name,
const char *const TK_EVENT_COLUMN[TK_EVENT_COLUMNS] = {TK_EVENT_TEXTS(TEXT_OF) TK_EVENT_NUMBERS(TEXT_OF)};

/* No number of a source goes further (tracekit.formats.foreign.MAX_NS), and there are so many ns in the times' unit. */
static const int64_t MOST = (int64_t)1 << 62, UNIT = 1000;

typedef struct {
    int64_t numbers[TK_EVENT_COLUMNS];
    const char *text[CELLS]; /* NULL: none */
    uint32_t length[CELLS];
    uint64_t seen; /* keys of the line */
} line;

int tk_events_open(tk_events *events)
{
    int failed = 0;
    memset(events, 0, sizeof *events);
    memset(events->expected, UNKNOWN, sizeof events->expected);
    for (int i = 0; i < TK_EVENT_KEYS; i++)
        events->keys[i] = tk_json_key_of(KEYS[i].name, KEYS[i].length);
    for (int i = 0; i < TK_EVENT_FIRST_NUMBER; i++) {
        events->last[i] = -1;
        failed |= tk_strings_open(&events->tables[i]);
    }
    events->plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    return failed || events->plain == (locale_t)0 ? -1 : 0;
}

void tk_events_close(tk_events *events)
{
    for (int i = 0; i < TK_EVENT_FIRST_NUMBER; i++)
        tk_strings_close(&events->tables[i]);
    if (events->plain != (locale_t)0)
        freelocale(events->plain);
}

tk_strings *tk_events_table(tk_events *events, int column)
{
    return &events->tables[column == TK_EVENT_value ? TK_EVENT_fhash : column == TK_EVENT_label ? TK_EVENT_path : column];
}

static int key_named(enum scope scope, const char *name, size_t length)
{
    for (int i = 0; i < TK_EVENT_KEYS; i++)
        if (KEYS[i].scope == scope && KEYS[i].length == length && memcmp(KEYS[i].name, name, length) == 0)
            return i;
    return UNKNOWN;
}

/* The key at `at`, and where its colon ends; NULL when it is not plain. The one that followed in the line before is tried first. */
static inline const char *key_at(tk_events *events, enum scope scope, const char *at, const char *end, int *key)
{
    int guess = events->expected[*key];
    if (guess != UNKNOWN && KEYS[guess].scope == scope && end - at >= TK_KEY_BYTES && tk_is_json_key(&events->keys[guess], at)) {
        *key = guess;
        return at + KEYS[guess].length + 3;
    }
    if (at >= end || *at != '"')
        return NULL;
    const char *quote = tk_end_of_text(at + 1, end);
    if (quote == NULL)
        return NULL;
    int found = key_named(scope, at + 1, (size_t)(quote - at - 1));
    if (found != UNKNOWN)
        events->expected[*key] = (uint8_t)found;
    *key = found;
    at = tk_skip_blanks(quote + 1, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

/* A whole number that may be below zero; what is beyond any column is Python's. */
static inline const char *whole_at(const char *at, const char *end, int64_t *value)
{
    bool negative = at < end && *at == '-';
    const char *next = tk_number_at(at + negative, end, value);
    if (next == NULL || *value >= MOST)
        return NULL;
    *value = negative ? -*value : *value;
    return next;
}

static const char *digits_at(const char *at, const char *end)
{
    while (at < end && (unsigned char)(*at - '0') <= 9)
        at++;
    return at;
}

/* Microseconds with a fraction: a double as Python has it, times a thousand, to the nearest whole number, of two the even one. */
static const char *fraction_at(const tk_events *events, const char *at, const char *end, int64_t *value)
{
    char copy[32];
    const char *point = digits_at(at, end);
    if (point == at || point >= end || *point != '.' || (*at == '0' && point - at > 1))
        return NULL;
    const char *next = digits_at(point + 1, end);
    if (next == point + 1 || (size_t)(next - at) >= sizeof copy || (next < end && tk_goes_on(*next)))
        return NULL;
    memcpy(copy, at, (size_t)(next - at));
    copy[next - at] = '\0';
    double number = strtod_l(copy, NULL, events->plain) * (double)UNIT;
    if (number >= (double)MOST)
        return NULL;
    const volatile double half = 4503599627370496.0; /* 2^52: from there on there are no fractions */
    *value = (int64_t)(number < half ? (number + half) - half : number);
    return next;
}

static const char *time_at(const tk_events *events, const char *at, const char *end, int64_t *value)
{
    const char *next = tk_number_at(at, end, value);
    if (next == NULL)
        return fraction_at(events, at, end, value);
    if (*value > (MOST - 1) / UNIT)
        return NULL;
    *value *= UNIT;
    return next;
}

/* A number may stand between quotes. */
static const char *number_value(const tk_events *events, enum kind kind, const char *at, const char *end, int64_t *value)
{
    bool quoted = *at == '"';
    at = kind == TIME ? time_at(events, at + quoted, end, value) : whole_at(at + quoted, end, value);
    return !quoted ? at : at && at < end && *at == '"' ? at + 1 : NULL;
}

/* The digits of a number as a text; digests of 64 bits are among them. */
static const char *end_of_digits(const char *at, const char *end)
{
    bool negative = at < end && *at == '-';
    const char *begin = at + negative, *behind = digits_at(begin, end);
    if (behind == begin || (*begin == '0' && (negative || behind - begin > 1)) || (behind < end && tk_goes_on(*behind)))
        return NULL;
    if (behind - begin > (negative ? 18 : 20) || (behind - begin == 20 && memcmp(begin, "18446744073709551615", 20) > 0))
        return NULL;
    return behind;
}

static const char *text_value(line *mine, int key, const char *at, const char *end)
{
    bool quoted = *at == '"';
    if (!quoted && KEYS[key].kind == TEXT)
        return NULL;
    at += quoted;
    const char *behind = quoted ? tk_end_of_text(at, end) : end_of_digits(at, end);
    if (behind == NULL)
        return NULL;
    mine->text[KEYS[key].cell] = at;
    mine->length[KEYS[key].cell] = (uint32_t)(behind - at);
    return behind + quoted;
}

/* Events that name files and hosts have the phase "M", since 2.2 the number 4. */
static const char *phase_value(line *mine, const char *at, const char *end)
{
    int64_t number = 0;
    const char *next = *at == '"' ? tk_end_of_text(at + 1, end) : tk_number_at(at, end, &number);
    if (next == NULL)
        return NULL;
    mine->numbers[TK_EVENT_naming] = *at == '"' ? next == at + 2 && at[1] == 'M' : number == 4;
    return next + (*at == '"');
}

/* The value of a key that is of no use is passed over if it is plain. */
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
    return whole_at(at, end, &number);
}

static const char *members_at(tk_events *events, line *mine, enum scope scope, int key, const char *at, const char *end);

static inline const char *value_at(tk_events *events, line *mine, int key, const char *at, const char *end)
{
    if (at >= end)
        return NULL;
    if (key == UNKNOWN)
        return pass_over(at, end);
    if (mine->seen >> key & 1)
        return NULL;
    mine->seen |= (uint64_t)1 << key;
    switch (KEYS[key].kind) {
    case TEXT: case IDENTITY:
        return text_value(mine, key, at, end);
    case NUMBER: case TIME:
        return number_value(events, KEYS[key].kind, at, end, &mine->numbers[KEYS[key].cell]);
    case PHASE:
        return phase_value(mine, at, end);
    case NESTED:
        return *at == '{' ? members_at(events, mine, ARGUMENTS, key, at + 1, end) : NULL;
    default:
        return pass_over(at, end);
    }
}

/* From behind the brace of an object to behind its end. */
static const char *members_at(tk_events *events, line *mine, enum scope scope, int key, const char *at, const char *end)
{
    at = tk_skip_blanks(at, end);
    if (at < end && *at == '}')
        return at + 1;
    for (;; at++) {
        at = key_at(events, scope, tk_skip_blanks(at, end), end, &key);
        if (at == NULL)
            return NULL;
        at = value_at(events, mine, key, tk_skip_blanks(at, end), end);
        if (at == NULL)
            return NULL;
        at = tk_skip_blanks(at, end);
        if (at < end && *at == ',')
            continue;
        return at < end && *at == '}' ? at + 1 : NULL;
    }
}

/* Where the line's newline is, NULL when it is not a plain event. None of what is passed over on the way can be one. */
static const char *read_line(tk_events *events, line *mine, const char *at, const char *end)
{
    for (int i = TK_EVENT_FIRST_NUMBER; i < TK_EVENT_COLUMNS; i++)
        mine->numbers[i] = TK_EVENT_ABSENT;
    memset(mine->text, 0, sizeof mine->text);
    memset(mine->length, 0, sizeof mine->length);
    mine->numbers[TK_EVENT_naming] = 0;
    mine->seen = 0;
    at = members_at(events, mine, OUTSIDE, UNKNOWN, at, end);
    if (at == NULL || (!mine->numbers[TK_EVENT_naming] && mine->numbers[TK_EVENT_ts] == TK_EVENT_ABSENT))
        return NULL;
    at = tk_skip_blanks(at, end);
    if (at < end && *at == ',')
        at = tk_skip_blanks(at + 1, end);
    return at < end && *at == '\n' ? at : NULL;
}

/* A text that a line does not have is empty. */
static void say_nothing(line *mine, int cell)
{
    if (mine->text[cell])
        return;
    mine->text[cell] = "";
    mine->length[cell] = 0;
}

/* What a text cell says in the end, in `text` and `length` of the column. */
static void settle_texts(line *mine)
{
    int file = mine->text[FILE_NAME] && mine->length[FILE_NAME] ? FILE_NAME : OTHER_NAME;
    mine->text[TK_EVENT_path] = mine->text[file] && mine->length[file] ? mine->text[file] : NULL;
    mine->length[TK_EVENT_path] = mine->length[file];
    say_nothing(mine, TK_EVENT_name);
    say_nothing(mine, TK_EVENT_cat);
    if (mine->length[TK_EVENT_hostname] == 0 || mine->numbers[TK_EVENT_naming])
        mine->text[TK_EVENT_hostname] = NULL;
    if (mine->numbers[TK_EVENT_naming]) {
        mine->text[TK_EVENT_path] = NULL;
        say_nothing(mine, TK_EVENT_label);
    } else {
        mine->text[TK_EVENT_value] = mine->text[TK_EVENT_label] = NULL;
    }
}

static int32_t code_of(tk_events *events, int column, const char *text, uint32_t length)
{
    tk_strings *table = tk_events_table(events, column);
    if (events->last[column] >= 0) {
        const tk_string *last = &table->strings[events->last[column]];
        if (last->length == length && memcmp(table->bytes + last->at, text, length) == 0)
            return events->last[column];
    }
    return events->last[column] = tk_strings_code(table, text, length);
}

static bool put_line(tk_events *events, line *mine, tk_event_rows *rows)
{
    int64_t *cell = rows->columns + rows->rows;
    settle_texts(mine);
    for (int i = 0; i < TK_EVENT_FIRST_NUMBER; i++, cell += rows->capacity) {
        *cell = mine->text[i] ? code_of(events, i, mine->text[i], mine->length[i]) : -1;
        if (mine->text[i] && *cell < 0)
            return false;
    }
    for (int i = TK_EVENT_FIRST_NUMBER; i < TK_EVENT_COLUMNS; i++, cell += rows->capacity)
        *cell = mine->numbers[i];
    rows->rows++;
    return true;
}

/* Read lines from `position` on, up to the end of the text, the capacity, or a line that is for Python: that one begins at
   `position` then. The text ends with a newline. */
void tk_events_read(tk_events *events, const char *text, size_t length, tk_event_rows *rows)
{
    line mine;
    const char *end = text + length;
    while (rows->position < length && rows->rows < rows->capacity) {
        const char *at = tk_skip_blanks(text + rows->position, end);
        if (at == end)
            return;
        if (*at != '\n') {
            at = *at == '{' ? read_line(events, &mine, at + 1, end) : NULL;
            if (at == NULL)
                return;
            if (!put_line(events, &mine, rows)) {
                rows->no_memory = true;
                return;
            }
        }
        rows->lines++;
        rows->position = (size_t)(at + 1 - text);
    }
}
