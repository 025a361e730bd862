#define _GNU_SOURCE
#include "cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"

/* So many digits fit whatever they are; a double holds all whole numbers up to MOST_EXACT, and all these powers of ten. */
enum { MOST_DIGITS = 18, NANO_DIGITS = 9 };
static const int64_t MOST_EXACT = 1LL << 53, MOST_VALUE = 1LL << 62;
static const int64_t TENS[] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
    10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000,
};

int tk_cells_open(tk_cells *scanner, int width, int least, char between, bool open_end)
{
    *scanner = (tk_cells){.width = width, .least = least, .between = between, .open_end = open_end};
    scanner->cells = calloc((size_t)width, sizeof *scanner->cells);
    for (int byte = 0; byte < 0x20; byte++)
        scanner->ends[byte] = 1;
    if (between) {
        scanner->ends[(unsigned char)between] = 1;
        scanner->ends['"'] = 1;
    } else {
        scanner->ends[' '] = 1;
    }
    return scanner->cells ? 0 : -1;
}

int tk_cells_set(tk_cells *scanner, int place, int kind, bool needed, int64_t scale)
{
    tk_cell *cell = &scanner->cells[place];
    cell->kind = (uint8_t)kind;
    cell->needed = needed;
    cell->scale = scale;
    cell->most = (MOST_VALUE - 1) / scale;
    return kind == TK_CELL_TEXT && cell->table.slots == NULL ? tk_strings_open(&cell->table) : 0;
}

void tk_cells_close(tk_cells *scanner)
{
    for (int i = 0; scanner->cells && i < scanner->width; i++)
        tk_strings_close(&scanner->cells[i].table);
    free(scanner->cells);
    *scanner = (tk_cells){0};
}

static inline bool is_digit(char byte)
{
    return (unsigned char)(byte - '0') <= 9;
}

/* The digits at `at`, of which there may be none; NULL when there are too many. A newline stands before `end`. */
static inline const char *digits_at(const char *at, const char *end, int64_t *value)
{
    const char *begin = at;
    uint64_t word, sum = 0, more = 0;
    for (int count = 8; TK_LITTLE && count == 8 && at - begin < 16 && end - at >= 8; at += count) {
        memcpy(&word, at, 8);
        count = tk_digits_of(word, &more);
        sum = count ? sum * (uint64_t)TENS[count] + more : sum;
    }
    while (is_digit(*at) && at - begin <= MOST_DIGITS)
        sum = sum * 10 + (uint64_t)(*at++ - '0');
    *value = (int64_t)sum;
    return at - begin > MOST_DIGITS ? NULL : at;
}

/* What a number with a fraction is, as strtod and rint would have it: both parts of the quotient are exact. */
static const char *fraction_at(const tk_cell *cell, const char *point, const char *end, int64_t whole, int64_t *value)
{
    int64_t part;
    const char *at = digits_at(point + 1, end, &part);
    ptrdiff_t digits = at ? at - point - 1 : 0;
    if (digits < 1 || part > MOST_EXACT || whole > (MOST_EXACT - part) / TENS[digits])
        return NULL;
    double found = rint((double)(whole * TENS[digits] + part) / (double)TENS[digits] * (double)cell->scale);
    if (!(found < (double)MOST_VALUE))
        return NULL;
    *value = (int64_t)found;
    return at;
}

static const char *seconds_at(const tk_cell *cell, const char *point, const char *end, int64_t whole, int64_t *value)
{
    int64_t part;
    const char *at = *point == '.' ? digits_at(point + 1, end, &part) : NULL;
    ptrdiff_t digits = at ? at - point - 1 : 0;
    if (digits < 1 || digits > NANO_DIGITS || whole >= cell->most)
        return NULL;
    *value = whole * cell->scale + part * TENS[NANO_DIGITS - digits];
    return at;
}

/* A number and where it ends; NULL when it is odd. */
static inline const char *number_at(tk_cell *cell, const char *at, const char *end)
{
    int64_t whole;
    const char *behind = digits_at(at, end, &whole);
    if (behind == NULL || behind == at || whole > cell->most)
        return NULL;
    if (cell->kind == TK_CELL_SECONDS)
        return seconds_at(cell, behind, end, whole, &cell->value);
    if (*behind == '.' && cell->kind == TK_CELL_NUMBER)
        return fraction_at(cell, behind, end, whole, &cell->value);
    cell->value = whole * cell->scale;
    return behind;
}

static inline const char *text_at(const tk_cells *scanner, tk_cell *cell, const char *at)
{
    cell->text = at;
    while (!scanner->ends[(unsigned char)*at])
        at++;
    cell->length = (uint32_t)(at - cell->text);
    return at;
}

/* A text in quotes that has none within; NULL for any other. */
static const char *quoted_at(tk_cell *cell, const char *at)
{
    cell->text = ++at;
    while (*at != '"' && (unsigned char)*at >= 0x20)
        at++;
    cell->length = (uint32_t)(at - cell->text);
    return *at == '"' && cell->length ? at + 1 : NULL;
}

static inline const char *past_blanks(const char *at, bool tabs)
{
    while (*at == ' ' || (tabs && *at == '\t'))
        at++;
    return at;
}

/* The end of a line that ends here, behind its newline; NULL where none does. */
static inline const char *line_end(const char *at)
{
    at += *at == '\r';
    return *at == '\n' ? at + 1 : NULL;
}

/* A cell between delimiters, up to the one behind it; NULL when it is odd. */
static inline const char *delimited(const tk_cells *scanner, tk_cell *cell, const char *at, const char *end)
{
    cell->value = -1;
    cell->length = 0;
    /* In wide tables most are empty. */
    if (*at == scanner->between)
        return cell->needed ? NULL : at;
    if (cell->kind <= TK_CELL_TEXT) {
        at = *at == '"' && scanner->between != '"' ? quoted_at(cell, at) : text_at(scanner, cell, at);
        return at == NULL || (cell->needed && cell->length == 0) ? NULL : at;
    }
    at = past_blanks(at, false);
    if (is_digit(*at))
        at = number_at(cell, at, end);
    else if (cell->needed)
        return NULL;
    return at ? past_blanks(at, false) : NULL;
}

/* A row, and behind its line; NULL when it is odd. */
static const char *row_at(const tk_cells *scanner, const char *at, const char *end)
{
    for (int i = 0; i < scanner->width; i++) {
        if (i > 0 && *at++ != scanner->between)
            return NULL;
        at = delimited(scanner, &scanner->cells[i], at, end);
        if (at == NULL)
            return NULL;
    }
    return line_end(at);
}

/* A cell behind blanks; NULL when there is none, or it is odd. */
static inline const char *word_at(const tk_cells *scanner, tk_cell *cell, const char *at, const char *end)
{
    if (cell->kind > TK_CELL_TEXT) {
        at = number_at(cell, at, end);
        return at && scanner->ends[(unsigned char)*at] ? at : NULL;
    }
    at = text_at(scanner, cell, at);
    return cell->length ? at : NULL;
}

static void forget(const tk_cells *scanner, int from)
{
    for (; from < scanner->width; from++) {
        scanner->cells[from].value = -1;
        scanner->cells[from].length = 0;
    }
}

/* A line of words, and behind it; NULL when it is odd. */
static const char *words_at(const tk_cells *scanner, const char *at, const char *end)
{
    int i = 0;
    for (; i < scanner->width; i++) {
        const char *begin = past_blanks(at, true);
        const char *behind = word_at(scanner, &scanner->cells[i], begin, end);
        if (behind == NULL || (*behind != ' ' && *behind != '\t' && line_end(behind) == NULL))
            break;
        at = behind;
    }
    if (i < scanner->least || (scanner->open_end && i > scanner->least && i < scanner->width))
        return NULL;
    forget(scanner, i);
    if (scanner->open_end) {
        at = memchr(at, '\n', (size_t)(end - at));
        return at + 1;
    }
    return line_end(past_blanks(at, true));
}

/* The values of a line go into their arrays; texts become codes only now that it is not odd. */
static bool keep(const tk_cells *scanner, const tk_scanned *scanned)
{
    for (int i = 0; i < scanner->width; i++) {
        tk_cell *cell = &scanner->cells[i];
        if (scanned->columns[i] == NULL)
            continue;
        if (cell->kind == TK_CELL_TEXT && cell->length) {
            cell->value = tk_strings_code(&cell->table, cell->text, cell->length);
            if (cell->value < 0)
                return false;
        } else if (cell->kind == TK_CELL_TEXT) {
            cell->value = -1;
        }
        if (!cell->present && cell->value >= 0) {
            cell->present = true;
            memset(scanned->columns[i], 0xFF, (size_t)scanned->rows * sizeof(int64_t)); /* -1 */
        }
        if (cell->present)
            scanned->columns[i][scanned->rows] = cell->value;
    }
    return true;
}

void tk_cells_scan(tk_cells *scanner, const char *text, size_t length, tk_scanned *scanned)
{
    const char *last = memrchr(text, '\n', length);
    const char *at = text + scanned->position, *end = last ? last + 1 : text;
    for (int i = 0; i < scanner->width; i++)
        scanner->cells[i].present = false;
    while (at < end && scanned->rows < scanned->capacity) {
        const char *behind = line_end(at);
        if (behind == NULL) {
            behind = scanner->between ? row_at(scanner, at, end) : words_at(scanner, at, end);
            if (behind == NULL)
                break;
            if (!keep(scanner, scanned)) {
                scanned->no_memory = true;
                return;
            }
            scanned->rows++;
        }
        scanned->lines++;
        at = behind;
        scanned->position = (size_t)(at - text);
    }
}
