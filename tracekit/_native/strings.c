#define _GNU_SOURCE
#include "strings.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64, FIRST_BYTES = 4096, FIRST_STRINGS = 32 };

int tk_strings_open(tk_strings *table)
{
    *table = (tk_strings){.room = FIRST_BYTES, .capacity = FIRST_STRINGS, .mask = FIRST_SLOTS - 1, .last = -1};
    table->bytes = malloc(table->room);
    table->strings = malloc(FIRST_STRINGS * sizeof(tk_string));
    table->slots = calloc(FIRST_SLOTS, sizeof(int32_t));
    return table->bytes && table->strings && table->slots ? 0 : -1;
}

void tk_strings_close(tk_strings *table)
{
    free(table->bytes);
    free(table->strings);
    free(table->slots);
    *table = (tk_strings){0};
}

static inline uint64_t word_at(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* Both halves of the product of two words that were mixed with constants. */
static inline uint64_t mixed(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ 0x9E3779B97F4A7C15ULL) * (b ^ 0xD6E8FEB86659FD93ULL);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Sixteen bytes at a time; what is left is looked at in two words that overlap each other or what came before. */
static uint64_t hash_of(const char *text, size_t length)
{
    uint64_t hash = length * 0xA0761D6478BD642FULL, low = 0, high = 0;
    const char *end = text + length;
    for (; end - text > 16; text += 16)
        hash = mixed(word_at(text) ^ hash, word_at(text + 8));
    if (length >= 16) {
        low = word_at(end - 16);
        high = word_at(end - 8);
    } else if (length >= 8) {
        low = word_at(text);
        high = word_at(end - 8);
    } else {
        for (; text < end; text++)
            low = low << 8 | (unsigned char)*text;
    }
    return mixed(low ^ hash, high);
}

static int grow_slots(tk_strings *table)
{
    uint32_t mask = table->mask * 2 + 1;
    int32_t *slots = calloc((size_t)mask + 1, sizeof(int32_t));
    if (slots == NULL)
        return -1;
    for (int32_t code = 0; code < table->count; code++) {
        uint32_t at = (uint32_t)table->strings[code].hash & mask;
        while (slots[at])
            at = (at + 1) & mask;
        slots[at] = code + 1;
    }
    free(table->slots);
    table->slots = slots;
    table->mask = mask;
    return 0;
}

static int make_room(tk_strings *table, size_t length)
{
    if (table->used + length > table->room) {
        size_t room = table->room;
        while (table->used + length > room)
            room *= 2;
        char *bytes = realloc(table->bytes, room);
        if (bytes == NULL)
            return -1;
        table->bytes = bytes;
        table->room = room;
    }
    if (table->count == table->capacity) {
        tk_string *strings = realloc(table->strings, 2 * (size_t)table->capacity * sizeof(tk_string));
        if (strings == NULL)
            return -1;
        table->strings = strings;
        table->capacity *= 2;
    }
    return (uint32_t)table->count * 2 > table->mask ? grow_slots(table) : 0;
}

static int same(const tk_strings *table, int32_t code, const char *text, size_t length)
{
    const tk_string *known = &table->strings[code];
    return known->length == length && memcmp(table->bytes + known->at, text, length) == 0;
}

/* The code of a string, which is added if it is new; -1 when there is no memory. */
int32_t tk_strings_code(tk_strings *table, const char *text, size_t length)
{
    if (table->last >= 0 && same(table, table->last, text, length))
        return table->last;
    uint64_t hash = hash_of(text, length);
    uint32_t at = (uint32_t)hash & table->mask;
    for (; table->slots[at]; at = (at + 1) & table->mask) {
        int32_t code = table->slots[at] - 1;
        if (table->strings[code].hash == hash && same(table, code, text, length))
            return table->last = code;
    }
    if (make_room(table, length) < 0)
        return -1;
    for (at = (uint32_t)hash & table->mask; table->slots[at];)
        at = (at + 1) & table->mask;
    memcpy(table->bytes + table->used, text, length);
    table->strings[table->count] = (tk_string){hash, table->used, (uint32_t)length};
    table->used += length;
    table->slots[at] = table->count + 1;
    return table->last = table->count++;
}
