/* Destination buffers by size class (powers of two from a page), given back last in first out, so that the one that is still
   in the processor's cache is used next. Spare memory is bounded; what is in flight is bounded by the caller's byte cap. */
#define _GNU_SOURCE
#include "engine.h"

#include <sys/mman.h>

enum { SMALLEST = 12 };

struct tk_block {
    tk_block *next;
};

static int class_of(size_t length)
{
    int bits = SMALLEST;
    while (((size_t)1 << bits) < length)
        bits++;
    return bits;
}

void tk_pool_open(tk_pool *pool, int64_t limit, bool shared)
{
    *pool = (tk_pool){.limit = limit, .shared = shared};
}

void tk_pool_close(tk_pool *pool)
{
    for (int bits = SMALLEST; bits < TK_CLASSES; bits++) {
        while (pool->spare[bits]) {
            tk_block *block = pool->spare[bits];
            pool->spare[bits] = block->next;
            munmap(block, (size_t)1 << bits);
        }
    }
}

static void lock(tk_pool *pool)
{
    if (pool->shared)
        tk_lock_take(&pool->lock);
}

static void unlock(tk_pool *pool)
{
    if (pool->shared)
        tk_lock_leave(&pool->lock);
}

static bool take(tk_pool *pool, size_t length, tk_buffer *buffer)
{
    int bits = class_of(length);
    lock(pool);
    tk_block *block = pool->spare[bits];
    if (block) {
        pool->spare[bits] = block->next;
        pool->held -= (int64_t)1 << bits;
    }
    unlock(pool);
    if (block == NULL) {
        /* Mapped, hence page-aligned for O_DIRECT, and occupied only where something was read into it. */
        void *fresh = mmap(NULL, (size_t)1 << bits, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fresh == MAP_FAILED)
            return false;
        block = fresh;
    }
    *buffer = (tk_buffer){block, bits};
    return true;
}

void tk_pool_give(tk_pool *pool, tk_buffer *buffer)
{
    if (buffer->address == NULL)
        return;
    tk_block *block = buffer->address;
    int64_t size = (int64_t)1 << buffer->size_class;
    lock(pool);
    bool keep = pool->held + size <= pool->limit;
    if (keep) {
        block->next = pool->spare[buffer->size_class];
        pool->spare[buffer->size_class] = block;
        pool->held += size;
    }
    unlock(pool);
    if (!keep)
        munmap(block, (size_t)size);
    buffer->address = NULL;
}

/* Make `buffer` one that holds `length`: the same when its class fits. */
bool tk_pool_fit(tk_pool *pool, size_t length, tk_buffer *buffer)
{
    if (buffer->address && class_of(length) == buffer->size_class)
        return true;
    tk_pool_give(pool, buffer);
    return take(pool, length, buffer);
}
