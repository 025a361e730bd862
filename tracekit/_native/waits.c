/* Claims whose moment has not come. Who claimed an op sleeps until it is due, and may then find every core taken by workers
   that are awake: under SCHED_FIFO until those have nothing more to do. So a claim that waits is nobody's until its owner is
   back: a worker that becomes free takes what is overdue, the owner finds it gone and looks again.

   A claim has a ticket; who sets it to 0 first has the op. Entries whose ticket is no longer the stream's are left behind
   and dropped when they come up. All but tk_waits_over is called under the lock that guards the heaps. */
#define _GNU_SOURCE
#include "engine.h"

void tk_heap_push(tk_heap *heap, tk_entry entry)
{
    tk_entry *entries = heap->entries;
    int32_t at = heap->count++;
    while (at > 0 && entries[(at - 1) / 2].key > entry.key) {
        entries[at] = entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    entries[at] = entry;
}

tk_entry tk_heap_pop(tk_heap *heap)
{
    tk_entry *entries = heap->entries, first = entries[0], entry = entries[--heap->count];
    int32_t count = heap->count, at = 0;
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && entries[child + 1].key < entries[child].key)
            child++;
        if (entries[child].key >= entry.key)
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = entry;
    return first;
}

static bool waits(const tk_streams *streams, const tk_entry *entry)
{
    return atomic_load_explicit(&streams->states[entry->stream].ticket, memory_order_relaxed) == entry->ticket;
}

/* Every worker has one claim at most, so what still waits fits in half the room. */
static void drop_stale(tk_streams *streams)
{
    tk_heap *heap = &streams->waits;
    int32_t count = heap->count;
    heap->count = 0;
    for (int32_t i = 0; i < count; i++)
        if (waits(streams, &heap->entries[i]))
            tk_heap_push(heap, heap->entries[i]);
}

/* The claim waits from now on; its ticket. */
uint32_t tk_waits_add(tk_streams *streams, const tk_claim *claim)
{
    uint32_t ticket = ++streams->tickets ? streams->tickets : ++streams->tickets;
    if (streams->waits.count == streams->room)
        drop_stale(streams);
    atomic_store_explicit(&streams->states[claim->stream].ticket, ticket, memory_order_release);
    tk_heap_push(&streams->waits, (tk_entry){.key = claim->due, .stream = claim->stream, .ticket = ticket});
    return ticket;
}

/* The claim no longer waits: true for whoever says so first. */
bool tk_waits_over(tk_streams *streams, int32_t stream, uint32_t ticket)
{
    return atomic_compare_exchange_strong(&streams->states[stream].ticket, &ticket, 0);
}

/* Take the earliest claim that waits although it is due, if it is before `before`: its stream, or -1. */
int32_t tk_waits_take(tk_streams *streams, int64_t now, int64_t before)
{
    while (streams->waits.count && streams->waits.entries[0].key <= now) {
        if (streams->waits.entries[0].key >= before && waits(streams, &streams->waits.entries[0]))
            return -1;
        tk_entry entry = tk_heap_pop(&streams->waits);
        if (tk_waits_over(streams, entry.stream, entry.ticket))
            return entry.stream;
    }
    return -1;
}
