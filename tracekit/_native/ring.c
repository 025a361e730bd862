/* One io_uring by its raw system calls; no liburing. The rings are shared memory with a head and a tail each: the kernel
   moves one, we the other. */
#define _GNU_SOURCE
#include "ring.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pace.h"

/* From the best setup to the plainest; what a kernel does not know it refuses with EINVAL.
   DEFER_TASKRUN (6.1): completions are worked on only when we ask for them, so they never interrupt a wait for a moment.
   COOP_TASKRUN (5.19): at least not by an interrupt to this core. */
static const uint32_t SETUPS[] = {URING_SETUP_SINGLE_ISSUER | URING_SETUP_DEFER_TASKRUN, URING_SETUP_COOP_TASKRUN, 0};

static int set_up(tk_ring *ring, unsigned entries, uring_params *params)
{
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < sizeof SETUPS / sizeof *SETUPS; i++) {
        *params = (uring_params){.flags = SETUPS[i] | URING_SETUP_CLAMP | URING_SETUP_CQSIZE, .cq_entries = 2 * entries};
        fd = (int)syscall(URING_SYS_SETUP, entries, params);
        ring->setup = SETUPS[i];
        if (fd < 0 && errno != EINVAL)
            return errno;
    }
    ring->fd = fd;
    return fd < 0 ? errno : 0;
}

int tk_ring_open(tk_ring *ring, unsigned entries)
{
    uring_params params;
    *ring = (tk_ring){.fd = -1, .rings = MAP_FAILED, .sqes = MAP_FAILED};
    int error = set_up(ring, entries, &params);
    if (error)
        return error;
    ring->features = params.features;
    ring->entries = params.sq_entries;
    /* 5.11: waits with a timeout, both rings in one mapping, completions never dropped. */
    uint32_t needed = URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP | URING_FEAT_EXT_ARG;
    size_t sq_bytes = params.sq.array + params.sq_entries * sizeof(uint32_t);
    size_t cq_bytes = params.cq.cqes + params.cq_entries * sizeof(uring_cqe);
    ring->rings_bytes = sq_bytes > cq_bytes ? sq_bytes : cq_bytes;
    if ((params.features & needed) == needed) {
        ring->rings = mmap(NULL, ring->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, URING_OFF_SQ_RING);
        ring->sqes = mmap(NULL, params.sq_entries * sizeof(uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
                          URING_OFF_SQES);
    } else {
        errno = ENOSYS;
    }
    if (ring->rings == MAP_FAILED || ring->sqes == MAP_FAILED) {
        error = errno;
        tk_ring_close(ring);
        return error;
    }
    char *base = ring->rings;
    ring->sq_head = (_Atomic uint32_t *)(base + params.sq.head);
    ring->sq_tail = (_Atomic uint32_t *)(base + params.sq.tail);
    ring->cq_head = (_Atomic uint32_t *)(base + params.cq.head);
    ring->cq_tail = (_Atomic uint32_t *)(base + params.cq.tail);
    ring->sq_mask = *(uint32_t *)(base + params.sq.ring_mask);
    ring->cq_mask = *(uint32_t *)(base + params.cq.ring_mask);
    ring->sq_array = (uint32_t *)(base + params.sq.array);
    ring->cqes = (uring_cqe *)(base + params.cq.cqes);
    return 0;
}

void tk_ring_close(tk_ring *ring)
{
    if (ring->rings != MAP_FAILED)
        munmap(ring->rings, ring->rings_bytes);
    if (ring->sqes != MAP_FAILED)
        munmap(ring->sqes, ring->entries * sizeof(uring_sqe));
    if (ring->fd >= 0)
        close(ring->fd);
    *ring = (tk_ring){.fd = -1, .rings = MAP_FAILED, .sqes = MAP_FAILED};
}

/* A cleared entry to fill in; it goes to the kernel with the next enter. NULL when the ring is full. */
uring_sqe *tk_ring_next(tk_ring *ring)
{
    uint32_t tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed) + ring->filled;
    if (tail - atomic_load_explicit(ring->sq_head, memory_order_acquire) >= ring->entries)
        return NULL;
    uring_sqe *sqe = &ring->sqes[tail & ring->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    ring->sq_array[tail & ring->sq_mask] = tail & ring->sq_mask;
    ring->filled++;
    return sqe;
}

/* Hand over what was filled in and wait for one completion, at most until the moment `until` (0: do not wait). 0, or an errno
   that is not ETIME, EINTR or EAGAIN. What the kernel did not take stays filled in.
   Kernels that know MIN_TIMEOUT (6.12) take the moment itself; before, how long it is until then. */
int tk_ring_enter(tk_ring *ring, int64_t until)
{
    bool absolute = ring->features & URING_FEAT_MIN_TIMEOUT;
    int64_t left = absolute || until == 0 ? until : until - tk_now_ns();
    uring_time time = {left / 1000000000, left % 1000000000};
    uint32_t flags = URING_ENTER_GETEVENTS | URING_ENTER_EXT_ARG | (absolute ? URING_ENTER_ABS_TIMER : 0);
    uring_wait wait = {.timespec = (uint64_t)(uintptr_t)&time};
    uint32_t tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed);
    atomic_store_explicit(ring->sq_tail, tail + ring->filled, memory_order_release);
    uint32_t given = tail + ring->filled - atomic_load_explicit(ring->sq_head, memory_order_acquire);
    ring->filled = 0;
    long taken = syscall(URING_SYS_ENTER, ring->fd, given, left > 0 ? 1 : 0, flags, &wait, sizeof wait);
    if (taken < 0 && errno != ETIME && errno != EINTR && errno != EAGAIN && errno != EBUSY)
        return errno;
    return 0;
}

const uring_cqe *tk_ring_peek(const tk_ring *ring)
{
    uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
    if (head == atomic_load_explicit(ring->cq_tail, memory_order_acquire))
        return NULL;
    return &ring->cqes[head & ring->cq_mask];
}

void tk_ring_seen(tk_ring *ring)
{
    uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
    atomic_store_explicit(ring->cq_head, head + 1, memory_order_release);
}
