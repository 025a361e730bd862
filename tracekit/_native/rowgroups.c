/* Sums by rows of keys (tracekit/metrics/groups.py has the twin, which sorts). Rows that come again soon, as the chunks of a sample
   do, are found in the cache. */
#include "tally.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 1 << 10 };

int tk_groups_open(tk_groups *groups, int keys, int width)
{
    *groups = (tk_groups){.keys = keys, .width = width, .room = FIRST_ROOM, .mask = 2 * FIRST_ROOM - 1};
    groups->rows = malloc(FIRST_ROOM * (size_t)width * sizeof *groups->rows);
    groups->slots = calloc(2 * FIRST_ROOM, sizeof *groups->slots);
    return groups->rows && groups->slots ? 0 : -1;
}

void tk_groups_close(tk_groups *groups)
{
    free(groups->rows);
    free(groups->slots);
    groups->rows = NULL;
    groups->slots = NULL;
}

void tk_groups_clear(tk_groups *groups)
{
    memset(groups->slots, 0, (groups->mask + 1) * sizeof *groups->slots);
    groups->count = 0;
}

static inline uint64_t hash_of(const int64_t *row, int keys)
{
    uint64_t hash = 0;
    for (int i = 0; i < keys; i++) {
        hash = (hash ^ (uint64_t)row[i]) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 29;
    }
    hash *= 0xBF58476D1CE4E5B9ULL;
    return hash ^ (hash >> 32);
}

static int grow(tk_groups *groups)
{
    int64_t room = 2 * groups->room;
    uint64_t mask = 2 * (groups->mask + 1) - 1;
    int64_t *rows = realloc(groups->rows, (size_t)room * (size_t)groups->width * sizeof *rows);
    if (rows == NULL)
        return -1;
    groups->rows = rows;
    int32_t *slots = calloc(mask + 1, sizeof *slots);
    if (slots == NULL)
        return -1;
    for (int64_t i = 0; i < groups->count; i++) {
        uint64_t slot = hash_of(rows + i * groups->width, groups->keys) & mask;
        while (slots[slot])
            slot = (slot + 1) & mask;
        slots[slot] = (int32_t)(i + 1);
    }
    free(groups->slots);
    groups->slots = slots;
    groups->mask = mask;
    groups->room = room;
    return 0;
}

static inline bool same(const int64_t *one, const int64_t *two, int keys)
{
    for (int i = 0; i < keys; i++)
        if (one[i] != two[i])
            return false;
    return true;
}

/* The row of these keys; NULL where there is none, and then *slot is where it goes. */
static inline int64_t *found(const tk_groups *groups, const int64_t *row, uint64_t *slot)
{
    for (*slot = hash_of(row, groups->keys) & groups->mask; groups->slots[*slot]; *slot = (*slot + 1) & groups->mask) {
        int64_t *known = groups->rows + (int64_t)(groups->slots[*slot] - 1) * groups->width;
        if (same(known, row, groups->keys))
            return known;
    }
    return NULL;
}

int64_t tk_groups_add(tk_groups *groups, const int64_t *const *columns, int64_t count, int64_t most)
{
    int64_t row[TK_MOST_WIDTH], *known = NULL;
    for (int64_t i = 0; i < count; i++) {
        for (int c = 0; c < groups->width; c++)
            row[c] = columns[c][i];
        uint64_t slot;
        if (known == NULL || !same(known, row, groups->keys))
            known = found(groups, row, &slot);
        if (known) {
            for (int c = groups->keys; c < groups->width; c++)
                known[c] += row[c];
            continue;
        }
        if (groups->count >= most)
            return i;
        if (groups->count == groups->room) {
            if (grow(groups) < 0)
                return -1;
            found(groups, row, &slot);
        }
        known = memcpy(groups->rows + groups->count * groups->width, row, (size_t)groups->width * sizeof *row);
        groups->slots[slot] = (int32_t)++groups->count;
    }
    return count;
}

void tk_groups_columns(const tk_groups *groups, int64_t *const *columns)
{
    for (int64_t i = 0; i < groups->count; i++)
        for (int c = 0; c < groups->width; c++)
            columns[c][i] = groups->rows[i * groups->width + c];
}
