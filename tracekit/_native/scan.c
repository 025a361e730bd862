#define _GNU_SOURCE
#include "scan.h"

const char *tk_skip_more_blanks(const char *at, const char *end)
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

/* Where a text that has bytes above 0x7F ends, looked at from `at` on. */
static const char *end_of_wide_text(const char *begin, const char *at, const char *end)
{
    for (; at < end && *at != '"'; at++)
        if (*at == '\\' || (unsigned char)*at < 0x20)
            return NULL;
    return at < end && is_utf8((const unsigned char *)begin, (const unsigned char *)at) ? at : NULL;
}

/* Where the text that begins at `at` ends: at its quote. NULL when it holds an escape or a control character, or does not
   end, or is not UTF-8. Eight bytes at a time: a byte is special when it is a quote, a backslash, below 0x20 or above 0x7F,
   and the lowest one that is marked really is. */
const char *tk_end_of_text(const char *at, const char *end)
{
    const uint64_t ones = 0x0101010101010101ULL, tops = 0x8080808080808080ULL;
    const char *begin = at;
    for (; TK_LITTLE && end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ (ones * '"'), escape = word ^ (ones * '\\');
        uint64_t special = ((quote - ones) & ~quote) | ((escape - ones) & ~escape) | (word - ones * 0x20) | word;
        if (special & tops) {
            at += __builtin_ctzll(special & tops) / 8;
            break;
        }
    }
    return at < end && *at == '"' ? at : end_of_wide_text(begin, at, end);
}

const char *tk_any_number_at(const char *at, const char *end, int64_t *value)
{
    static const uint64_t TENS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    const char *begin = at;
    uint64_t sum = 0, word, more = 0;
    for (int words = 0, count = 8; TK_LITTLE && words < 2 && count == 8 && end - at >= 8; words++) {
        memcpy(&word, at, 8);
        count = tk_digits_of(word, &more);
        sum = count ? sum * TENS[count] + more : sum;
        at += count;
    }
    while (at < end && (unsigned char)(*at - '0') <= 9 && at - begin < 19)
        sum = sum * 10 + (uint64_t)(*at++ - '0');
    if (at == begin || (*begin == '0' && at - begin > 1) || sum > INT64_MAX || (at < end && tk_goes_on(*at)))
        return NULL;
    *value = (int64_t)sum;
    return at;
}

/* How many newlines there are, 16 bytes at a time: each lane counts down from 0, and is read before it comes round. */
size_t tk_lines_in(const char *text, size_t length)
{
    typedef unsigned char lanes __attribute__((vector_size(16)));
    const char *end = text + length;
    size_t count = 0;
    while (end - text >= 16) {
        lanes sums = {0}, word;
        for (int steps = 0; steps < 255 && end - text >= 16; steps++, text += 16) {
            memcpy(&word, text, 16);
            sums += (lanes)(word == '\n');
        }
        for (int lane = 0; lane < 16; lane++)
            count += (unsigned char)-sums[lane];
    }
    for (; text < end; text++)
        count += *text == '\n';
    return count;
}
