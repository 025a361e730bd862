#define _GNU_SOURCE
#include "intmap.h"

#include <stdlib.h>

enum { FIRST_ROOM = 8 };

static size_t place_of(const tk_intmap *map, int64_t key)
{
    uint64_t mixed = (uint64_t)key * 0x9E3779B97F4A7C15ULL;
    return (size_t)(mixed ^ mixed >> 32) & (map->room - 1);
}

/* Where a key is, or where it would be put. */
static tk_slot *slot_for(const tk_intmap *map, int64_t key)
{
    size_t at = place_of(map, key);
    while (map->slots[at].item && map->slots[at].key != key)
        at = (at + 1) & (map->room - 1);
    return &map->slots[at];
}

/* The slot of a key; NULL if it is not there. */
tk_slot *tk_intmap_find(const tk_intmap *map, int64_t key)
{
    tk_slot *slot = map->room ? slot_for(map, key) : NULL;
    return slot && slot->item ? slot : NULL;
}

static bool grow(tk_intmap *map)
{
    tk_intmap larger = {.count = map->count, .room = map->room ? map->room * 2 : FIRST_ROOM};
    larger.slots = calloc(larger.room, sizeof *larger.slots);
    if (larger.slots == NULL)
        return false;
    for (size_t i = 0; i < map->room; i++)
        if (map->slots[i].item)
            *slot_for(&larger, map->slots[i].key) = map->slots[i];
    free(map->slots);
    *map = larger;
    return true;
}

/* Put an item, which is not NULL, in the place of the key's; false when there is no memory. */
bool tk_intmap_put(tk_intmap *map, int64_t key, void *item, int64_t moment)
{
    if ((map->count + 1) * 4 > map->room * 3 && !grow(map))
        return false;
    tk_slot *slot = slot_for(map, key);
    map->count += slot->item == NULL;
    *slot = (tk_slot){key, moment, item};
    return true;
}

/* Take a slot out, which may be filled again at once by one that stood behind it. */
void tk_intmap_remove(tk_intmap *map, tk_slot *slot)
{
    size_t hole = (size_t)(slot - map->slots), last = map->room - 1;
    for (size_t at = (hole + 1) & last; map->slots[at].item; at = (at + 1) & last) {
        size_t wanted = place_of(map, map->slots[at].key);
        if (((at - wanted) & last) < ((at - hole) & last))
            continue; /* it would stand before its own place */
        map->slots[hole] = map->slots[at];
        hole = at;
    }
    map->slots[hole].item = NULL;
    map->count--;
}

void tk_intmap_close(tk_intmap *map)
{
    free(map->slots);
    *map = (tk_intmap){0};
}
