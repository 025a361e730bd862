/* Items by whole numbers: open addressing, so that a look costs one line of the cache. */
#ifndef TRACEKIT_INTMAP_H
#define TRACEKIT_INTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t key;
    int64_t moment; /* the caller's own */
    void *item;     /* NULL: nothing is here */
} tk_slot;

/* All zero is an empty map. */
typedef struct {
    tk_slot *slots;
    size_t count, room; /* a power of two, or 0 */
} tk_intmap;

tk_slot *tk_intmap_find(const tk_intmap *map, int64_t key);
bool tk_intmap_put(tk_intmap *map, int64_t key, void *item, int64_t moment);
void tk_intmap_remove(tk_intmap *map, tk_slot *slot);
void tk_intmap_close(tk_intmap *map);

#endif
