/* The reads of who watches for all streams (post.c). They are asked for with RWF_NOWAIT: one that would block has somebody else
   watch first. Times are ns. */
#define _GNU_SOURCE
#include "hand.h"
#include "raw.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef RWF_NOWAIT
enum { RWF_NOWAIT = 8 };
#endif

/* A buffer of up to this size stays with its worker while there is a watch, hence one per core: given back, the other would be the next to
   use it, on another core. */
enum { KEPT = 2 << 20 };
/* So many ops are looked at while there is so much time. */
enum { AHEAD = 32, AHEAD_NS = 8000 };

static int64_t read_cached(int fd, void *address, size_t length, int64_t offset, int *error)
{
    struct iovec to = {address, length};
#if defined(__LP64__) && !defined(TRACEKIT_NO_RAW)
    int64_t result = TK_RAW(SYS_preadv2, fd, &to, 1, offset, 0, RWF_NOWAIT);
    *error = result < 0 ? (int)-result : 0;
#else
    int64_t result = preadv2(fd, &to, 1, offset, RWF_NOWAIT);
    *error = result < 0 ? errno : 0;
#endif
    return result;
}

/* Read what is in memory; false where not all of it is, so that to read it would block. */
bool tk_cached_read(const tk_aim *aim, char *address, int64_t *moved, int *error)
{
    int fd = aim->handle->fd;
    *moved = read_cached(fd, address, aim->span, aim->first, error);
    if (*moved == (int64_t)aim->span || *moved == 0)
        return true;
    /* Less than was asked for: the file ends there, or a page is not in memory. */
    return *moved > 0 && read_cached(fd, address + *moved, aim->span - (size_t)*moved, aim->first + *moved, error) == 0;
}

/* A read that has another worker watch before it blocks; `aside`: it did. */
static int64_t read_watching(tk_run *run, tk_hand *hand, const tk_aim *aim, char *address, int *error, bool *aside)
{
    int64_t moved;
    if (tk_cached_read(aim, address, &moved, error))
        return moved;
    tk_post_step_aside(run, hand);
    *aside = true;
    return tk_read_at(aim->handle->fd, address, aim->span, aim->first, error);
}

static bool await_moment(tk_run *run, int64_t due, int64_t *now)
{
    while ((*now = tk_now_ns()) < due) {
        if (atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING)
            return false;
        tk_pause();
    }
    return true;
}

/* While there is time: what the next ops are is read from memory, where it may not have been for long. */
static void look_ahead(tk_run *run)
{
    const tk_streams *streams = &run->streams;
    tk_lock_take(&run->lock);
    for (int32_t i = 0; i < streams->heap.count && i < AHEAD; i++) {
        int32_t stream = streams->heap.entries[i].stream;
        const tk_state *state = &streams->states[stream];
        const tk_op *op = &streams->ops[state->plan->first + state->position];
        __builtin_prefetch(&run->issue.files[op->file]);
        tk_aim_prefetch(&run->issue, &run->handles[stream], tk_key(&run->issue, stream, op), op);
    }
    tk_lock_leave(&run->lock);
}

/* Wait for a free worker: this one was doing another op when this one could be done. */
static int64_t waited(const tk_claim *claim, int64_t now, bool busy)
{
    int64_t could = claim->due > claim->free ? claim->due : claim->free;
    return busy && now > could ? now - could : 0;
}

/* Issue the next read in hand at its moment; false when the run was stopped before. `busy`: this worker was, up to `now`. */
bool tk_cached_issue(tk_worker *worker, tk_hand *hand, int64_t now, bool busy, int64_t *complete)
{
    tk_run *run = worker->run;
    const tk_claim *claim = &hand->claims[hand->next++];
    tk_aim aim;
    bool aside = false;
    tk_result result = {.result = -1, .worker = waited(claim, now, busy)};
    int64_t key = tk_key(&run->issue, claim->stream, claim->op);
    tk_aim_at(&run->issue, tk_handles_of(worker, claim->stream), key, claim->op, &aim);
    tk_worker_allocate(worker, claim->op, &aim);
    if (claim->due - now > AHEAD_NS)
        look_ahead(run);
    if (!await_moment(run, claim->due, &result.submit))
        return false;
    tk_streams_ready(&run->streams, claim->stream, claim->due, result.submit);
    result.error = aim.error;
    if (!aim.error) {
        int64_t moved = read_watching(run, hand, &aim, tk_worker_buffer(worker, &aim)->address, &result.error, &aside);
        result.result = (int32_t)tk_delivered(&run->issue, claim->op, moved);
    }
    result.complete = *complete = tk_now_ns();
    if (!aside)
        tk_watch_count(run, &result, false);
    if (aim.span > KEPT)
        tk_pool_give(&run->pool, &worker->large);
    tk_run_record(worker, claim, &aim, &result);
    return true;
}
