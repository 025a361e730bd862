/* Chance from a seed, and lines that it changes: what the drivers have in common. */
#ifndef TRACEKIT_TESTS_CHANCE_H
#define TRACEKIT_TESTS_CHANCE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint64_t chance;

static inline void sow(uint64_t seed)
{
    chance = seed * 0x9E3779B97F4A7C15ULL + 1;
}

static inline uint64_t draw(uint64_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % below;
}

/* Change a text in up to two places, by letters of an alphabet; its length afterwards. */
static inline size_t mutate(char *text, size_t length, const char *alphabet)
{
    for (uint64_t edits = draw(3); edits && length > 1; edits--) {
        size_t at = (size_t)draw(length);
        if (draw(3) == 0) {
            memmove(text + at, text + at + 1, length - at - 1);
            length--;
        } else {
            text[at] = alphabet[draw(strlen(alphabet))];
        }
    }
    return length;
}

/* What changes a line of JSON. */
#define JSON_LETTERS "{}[]\",:\\ \t\r\n0123456789.eE-nultrfas\x01\x7f\x80\xc3\xff"

#endif
