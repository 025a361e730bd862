/* Engine "uring": one thread, one io_uring. All ops that are due go to the kernel in one system call, which also waits for
   the next completion or the next moment, whichever comes first. For O_DIRECT and deep queues: the device works while we
   wait. Reads go through the ring; what has names, changes or maps something is done by a few threads beside it (helpers.c). */
#define _GNU_SOURCE
#include "helpers.h"

#include <errno.h>
#include <stdlib.h>

enum { MOST_ENTRIES = 4096 };
static const uint64_t WAKE_UP = UINT64_MAX;
static const int64_t LONGEST_WAIT_NS = 20000000;
enum { OP_NS = 2000 }; /* what it takes to issue one */
/* While ops are in the ring a sleep pays only for so many times as long: a completion is likely to end it, and then the clock has been set and
   set back for nothing, at a moment when the next op is waited for. Twenty thousand O_DIRECT reads a second had a p99 of 35 us by that instead
   of 48, for 1.1 us more CPU time an op. */
enum { IN_RING_TIMES = 3 };

struct tk_uring {
    tk_worker *worker;
    tk_ring ring;
    tk_flight *flights; /* by stream */
    tk_queue due;       /* waiting for the gate or the ring, first come first served */
    int64_t in_ring, next_number;
    tk_flight **batch; /* filled in since the last enter */
    int batched;
    tk_helpers helpers;
    bool armed; /* streams were put into the heap since it was last looked at */
};

/* -- from known to done -- */

/* Look up what the op needs, opening its file if it is not open yet. */
static void aim(tk_uring *uring, tk_flight *one)
{
    tk_run *run = uring->worker->run;
    tk_aim_at(&run->issue, run->handles, one->key, one->claim.op, &one->aim);
}

static void know(tk_uring *uring, int32_t stream)
{
    tk_run *run = uring->worker->run;
    tk_flight *one = &uring->flights[stream];
    *one = (tk_flight){0};
    tk_streams_look(&run->streams, stream, &one->claim);
    one->key = tk_key(&run->issue, stream, one->claim.op);
    aim(uring, one); /* while there is time; the handle may be gone again when the op is due */
}

/* Everything in the heap that is due joins the queue. Returns the next moment, 0 when there is none to wait for. */
static int64_t collect_due(tk_uring *uring, int64_t now)
{
    tk_streams *streams = &uring->worker->run->streams;
    const tk_entry *top;
    uring->armed = false;
    while ((top = tk_streams_top(streams)) != NULL) {
        const tk_state *state = &streams->states[top->stream];
        if (streams->in_order && top->key != uring->next_number)
            return 0;
        if (state->due > now)
            return state->due;
        int32_t stream = tk_streams_pop(streams);
        tk_flight *one = &uring->flights[stream];
        if (one->claim.op == NULL)
            know(uring, stream);
        one->ready = now;
        tk_streams_ready(streams, stream, one->claim.due, now);
        uring->next_number++;
        tk_queue_append(&uring->due, one);
    }
    return 0;
}

static void fill_in(tk_uring *uring, uring_sqe *sqe, tk_flight *one)
{
    sqe->opcode = URING_READ;
    sqe->fd = one->aim.handle->fd;
    sqe->off = (uint64_t)one->aim.first;
    sqe->addr = (uint64_t)(uintptr_t)one->buffer.address;
    sqe->len = one->aim.span;
    sqe->user_data = (uint64_t)(uintptr_t)one;
    uring->batch[uring->batched++] = one;
    uring->in_ring++;
}

static void finish(tk_uring *uring, tk_flight *one);

/* The first in the queue is issued if the caps and the ring let it; false when it has to wait. */
static bool issue_first(tk_uring *uring)
{
    tk_run *run = uring->worker->run;
    tk_flight *one = uring->due.first;
    bool read = one->claim.op->kind == TK_READ;
    aim(uring, one);
    if (one->aim.error == TK_PINNED)
        return false;
    one->weight = one->aim.handle && tk_moves(one->claim.op) ? one->aim.span : 0;
    if (run->gated && !tk_gate_try(&run->gate, one->weight))
        return false;
    if (read && !one->aim.error && !tk_pool_fit(&run->pool, one->aim.span, &one->buffer))
        one->aim.error = ENOMEM;
    int64_t admitted = run->gated ? tk_now_ns() : one->ready;
    uring_sqe *sqe = read && !one->aim.error ? tk_ring_next(&uring->ring) : NULL;
    if (sqe == NULL && read && !one->aim.error) {
        tk_pool_give(&run->pool, &one->buffer);
        if (run->gated)
            tk_gate_leave(&run->gate, one->weight);
        return false;
    }
    tk_queue_take(&uring->due);
    if (one->aim.handle)
        one->aim.handle->users++;
    one->result.stall = admitted - one->ready;
    if (sqe) {
        fill_in(uring, sqe, one);
    } else if (one->aim.error) {
        one->result.submit = one->result.complete = tk_now_ns();
        one->result.result = -1;
        one->result.error = one->aim.error;
        finish(uring, one);
    } else {
        tk_helpers_give(&uring->helpers, one);
    }
    return true;
}

/* An op is done: note it, give back what it held, and arm what comes next. */
static void finish(tk_uring *uring, tk_flight *one)
{
    tk_run *run = uring->worker->run;
    int32_t stream = one->claim.stream;
    int64_t complete = one->result.complete;
    tk_run_record(uring->worker, &one->claim, &one->aim, &one->result);
    tk_pool_give(&run->pool, &one->buffer);
    if (one->aim.handle)
        one->aim.handle->users--;
    if (run->gated)
        tk_gate_leave(&run->gate, one->weight);
    one->claim.op = NULL;
    uring->armed = true;
    if (tk_streams_next(&run->streams, stream, complete)) {
        tk_streams_push(&run->streams, stream);
        know(uring, stream);
    } else {
        tk_streams_end(&run->streams, stream, complete);
    }
}

static void reap_helpers(tk_uring *uring)
{
    for (tk_flight *one = tk_helpers_take(&uring->helpers), *next; one; one = next) {
        next = one->next;
        uring->helpers.busy--;
        finish(uring, one);
    }
}

static void reap(tk_uring *uring)
{
    const uring_cqe *cqe = tk_ring_peek(&uring->ring);
    int64_t now = cqe ? tk_now_ns() : 0;
    for (; cqe; cqe = tk_ring_peek(&uring->ring)) {
        uint64_t whose = cqe->user_data;
        int32_t result = cqe->res;
        tk_ring_seen(&uring->ring);
        if (whose == WAKE_UP) {
            reap_helpers(uring);
            continue;
        }
        tk_flight *one = (tk_flight *)(uintptr_t)whose;
        uring->in_ring--;
        one->result.complete = now;
        one->result.error = result < 0 ? -result : 0;
        one->result.result = result < 0 ? -1 : (int32_t)tk_delivered(&uring->worker->run->issue, one->claim.op, result);
        finish(uring, one);
    }
}

/* Until when the next wait may last: shortly before the next moment, or a while when only a signal could come. 0: no wait. Before
   the moment we do not wait, but see whether something is done, again and again. */
static int64_t wait_until(tk_uring *uring, int64_t now, int64_t next, bool blocked)
{
    int64_t latest = now + LONGEST_WAIT_NS;
    if (blocked)
        return latest;
    if (uring->armed)
        return 0;
    const tk_wake *wake = &uring->worker->wake;
    if (next && next - now <= tk_wake_pays(wake, next) * (uring->in_ring ? IN_RING_TIMES : 1))
        return 0;
    int64_t until = next ? tk_wake_at(wake, next, next - now) : latest;
    return until <= now ? 0 : until < latest ? until : latest;
}

/* A wait that nothing is to end before its moment: set the timer of the one behind it ahead. */
static void set_ahead(tk_uring *uring, int64_t next)
{
    tk_wake *wake = &uring->worker->wake;
    int64_t after = tk_streams_foresee(&uring->worker->run->streams, next, tk_wake_apart(wake, OP_NS));
    if (after)
        tk_wake_ahead(wake, after);
}

/* Hand the batch over and wait. What a wait that nothing ended is late by tells how much earlier to end the next ones. */
static int submit_and_wait(tk_uring *uring, int64_t next, bool blocked)
{
    tk_wake *wake = &uring->worker->wake;
    int64_t now = tk_now_ns(), until = wait_until(uring, now, next, blocked);
    if (next && until && uring->in_ring == 0)
        set_ahead(uring, next);
    for (int i = 0; i < uring->batched; i++)
        uring->batch[i]->result.submit = now;
    uring->batched = 0;
    int error = tk_ring_enter(&uring->ring, until);
    if (until == 0)
        return error;
    int64_t woken = tk_now_ns();
    if (woken >= until && tk_ring_peek(&uring->ring) == NULL)
        tk_wake_ended(wake, until - now, woken - until);
    tk_wake_look(wake, woken);
    return error;
}

void tk_uring_main(tk_uring *uring)
{
    tk_run *run = uring->worker->run;
    for (;;) {
        bool stop = atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING, blocked = false;
        if ((stop || run->streams.unfinished == 0) && uring->in_ring == 0 && uring->helpers.busy == 0)
            return;
        int64_t next = stop ? 0 : collect_due(uring, tk_now_ns());
        while (!stop && !blocked && uring->due.first)
            blocked = !issue_first(uring);
        tk_helpers_listen(&uring->helpers, &uring->ring, WAKE_UP);
        int error = submit_and_wait(uring, next, blocked);
        if (error) {
            atomic_store(&run->trouble, error);
            tk_run_stop(run, TK_BROKEN);
            return;
        }
        reap(uring);
    }
}

/* -- opening and closing -- */

int tk_uring_open(tk_uring **opened, tk_worker *worker)
{
    tk_run *run = worker->run;
    int32_t streams = run->streams.stream_count > 0 ? run->streams.stream_count : 1;
    unsigned entries = 64;
    while (entries < (unsigned)streams + 1 && entries < MOST_ENTRIES)
        entries *= 2;
    tk_uring *uring = calloc(1, sizeof *uring);
    if (uring == NULL)
        return ENOMEM;
    *opened = uring;
    uring->worker = worker;
    uring->ring = (tk_ring){.fd = -1};
    tk_helpers_open(&uring->helpers, run);
    uring->flights = calloc((size_t)streams, sizeof(tk_flight));
    uring->batch = calloc((size_t)streams, sizeof(tk_flight *));
    if (uring->flights == NULL || uring->batch == NULL)
        return ENOMEM;
    int error = tk_ring_open(&uring->ring, entries);
    error = error || !run->helped ? error : tk_helpers_start(&uring->helpers);
    if (!error)
        tk_ahead_direct(run);
    return error;
}

void tk_uring_close(tk_uring *uring)
{
    if (uring == NULL)
        return;
    tk_helpers_close(&uring->helpers); /* in any case: they use what the run is about to free */
    if (uring->in_ring) /* the ring broke: the kernel may still write to what is in flight, so that memory stays */
        return;
    if (uring->ring.fd >= 0)
        tk_ring_close(&uring->ring);
    for (int32_t i = 0; uring->flights && i < uring->worker->run->streams.stream_count; i++)
        tk_pool_give(&uring->worker->run->pool, &uring->flights[i].buffer);
    free(uring->flights);
    free(uring->batch);
    free(uring);
}
