/* One io_uring, owned by the thread that opened it. */
#ifndef TRACEKIT_RING_H
#define TRACEKIT_RING_H

#include <stdatomic.h>
#include <stddef.h>

#include "uring_abi.h"

typedef struct {
    int fd;
    uint32_t setup, features, entries;
    void *rings;
    size_t rings_bytes;
    uring_sqe *sqes;
    _Atomic uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
    uint32_t *sq_array;
    uring_cqe *cqes;
    uint32_t sq_mask, cq_mask;
    uint32_t filled; /* entries written and not yet handed to the kernel */
} tk_ring;

int tk_ring_open(tk_ring *ring, unsigned entries);
void tk_ring_close(tk_ring *ring);
uring_sqe *tk_ring_next(tk_ring *ring);
int tk_ring_enter(tk_ring *ring, int64_t until);
const uring_cqe *tk_ring_peek(const tk_ring *ring);
void tk_ring_seen(tk_ring *ring);

#endif
