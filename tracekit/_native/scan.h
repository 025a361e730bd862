/* What lies in a line of JSON: blanks, texts and numbers, eight bytes at a time. Nothing is looked at from `end` on, and NULL
   says that something is not plain: it is for the Python reader. */
#ifndef TRACEKIT_SCAN_H
#define TRACEKIT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TK_LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ }; /* a word's lowest byte comes first */

const char *tk_skip_more_blanks(const char *at, const char *end);
const char *tk_end_of_text(const char *at, const char *end);
const char *tk_any_number_at(const char *at, const char *end, int64_t *value);
size_t tk_lines_in(const char *text, size_t length);

static inline const char *tk_skip_blanks(const char *at, const char *end)
{
    return at < end && (unsigned char)*at <= ' ' ? tk_skip_more_blanks(at, end) : at;
}

/* How many of a word's first bytes are digits, and what they are as a number. The first that is none is found exactly: what
   the sum carries goes to the bytes behind it. */
static inline int tk_digits_of(uint64_t word, uint64_t *value)
{
    uint64_t digits = word ^ 0x3030303030303030ULL;
    uint64_t others = ((digits + 0x7676767676767676ULL) | digits) & 0x8080808080808080ULL;
    int count = others ? __builtin_ctzll(others) / 8 : 8;
    if (count == 0)
        return 0;
    /* Zeros in front, then pairs, fours and eights at once. */
    digits <<= 64 - 8 * count;
    digits = digits * 10 + (digits >> 8);
    *value = ((digits & 0x000000FF000000FFULL) * (100 + (1000000ULL << 32)) +
              ((digits >> 16) & 0x000000FF000000FFULL) * (1 + (10000ULL << 32))) >> 32;
    return count;
}

static inline bool tk_goes_on(char byte)
{
    return (unsigned char)(byte - '0') <= 9 || byte == '.' || byte == 'e' || byte == 'E';
}

/* A plain number of at most 2^63 - 1; NULL for any other, also for one that goes on with a point or an exponent. Most have
   less than eight digits. */
static inline const char *tk_number_at(const char *at, const char *end, int64_t *value)
{
    uint64_t word, sum = 0;
    if (TK_LITTLE && end - at >= 8) {
        memcpy(&word, at, 8);
        int count = tk_digits_of(word, &sum);
        if (count > 0 && count < 8) {
            *value = (int64_t)sum;
            return (*at == '0' && count > 1) || tk_goes_on(at[count]) ? NULL : at + count;
        }
    }
    return tk_any_number_at(at, end, value);
}

#endif
