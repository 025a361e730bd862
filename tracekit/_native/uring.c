/* Engine "uring": one thread, one io_uring. All ops that are due go to the kernel in one system call, which also waits for
   the next completion or the next moment, whichever comes first. For O_DIRECT and deep queues: the device works while we
   wait. Reads go through the ring; what has names, changes or maps something is done by a few helper threads, because it
   would hold the ring up. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring.h"

enum { HELPERS = 4, MOST_ENTRIES = 4096 };
static const uint64_t WAKE_UP = UINT64_MAX;
static const int64_t LONGEST_WAIT_NS = 20000000;

/* One stream's op, from when it is known to when it is done. A stream has one at a time. */
typedef struct flight {
    struct flight *next; /* in the queue, or in a helper's list */
    tk_claim claim;
    tk_aim aim;
    tk_result result;
    tk_buffer buffer;
    int64_t key, ready, weight;
} flight;

typedef struct {
    flight *first, *last;
} queue;

struct tk_uring {
    tk_worker *worker;
    tk_ring ring;
    flight *flights; /* by stream */
    queue due;       /* waiting for the gate or the ring, first come first served */
    int64_t in_ring, with_helpers, next_number;
    flight **batch; /* filled in since the last enter */
    int batched;
    pthread_t helpers[HELPERS];
    int helper_count;
    pthread_mutex_t lock; /* guards the two lists below */
    pthread_cond_t work;
    queue to_do, done;
    bool over;
    int bell; /* eventfd: a helper is done */
    uint64_t bell_count;
    bool listening;
    bool armed; /* streams were put into the heap since it was last looked at */
};

static void append(queue *line, flight *one)
{
    one->next = NULL;
    if (line->last)
        line->last->next = one;
    else
        line->first = one;
    line->last = one;
}

static flight *take_first(queue *line)
{
    flight *one = line->first;
    if (one) {
        line->first = one->next;
        if (line->first == NULL)
            line->last = NULL;
    }
    return one;
}

/* -- helpers -- */

static void *helper_main(void *argument)
{
    tk_uring *uring = argument;
    tk_run *run = uring->worker->run;
    pthread_mutex_lock(&uring->lock);
    for (;;) {
        flight *one = take_first(&uring->to_do);
        if (one == NULL && uring->over)
            break;
        if (one == NULL) {
            pthread_cond_wait(&uring->work, &uring->lock);
            continue;
        }
        pthread_mutex_unlock(&uring->lock);
        int32_t group = run->streams.plans[one->claim.stream].group;
        uint64_t one_more = 1;
        one->result.submit = tk_now_ns();
        one->result.result = (int32_t)tk_issue_op(&run->issue, NULL, group, one->key, one->claim.op, &one->aim, NULL,
                                                  &one->result.error);
        one->result.complete = tk_now_ns();
        pthread_mutex_lock(&uring->lock);
        append(&uring->done, one);
        if (write(uring->bell, &one_more, sizeof one_more) < 0)
            tk_run_stop(run, TK_BROKEN);
    }
    pthread_mutex_unlock(&uring->lock);
    return NULL;
}

static int start_helpers(tk_uring *uring)
{
    tk_run *run = uring->worker->run;
    if (!run->helped)
        return 0;
    uring->bell = eventfd(0, EFD_CLOEXEC);
    if (uring->bell < 0)
        return errno;
    for (; uring->helper_count < HELPERS; uring->helper_count++) {
        int error = pthread_create(&uring->helpers[uring->helper_count], NULL, helper_main, uring);
        if (error)
            return error;
    }
    return 0;
}

static void hand_to_helper(tk_uring *uring, flight *one)
{
    if (one->claim.op->kind == TK_DELETE)
        tk_handle_drop(uring->worker->run->handles, one->key);
    uring->with_helpers++;
    pthread_mutex_lock(&uring->lock);
    append(&uring->to_do, one);
    pthread_cond_signal(&uring->work);
    pthread_mutex_unlock(&uring->lock);
}

/* -- from known to done -- */

/* Look up what the op needs, opening its file if it is not open yet. */
static void aim(tk_uring *uring, flight *one)
{
    tk_run *run = uring->worker->run;
    tk_aim_at(&run->issue, run->handles, one->key, one->claim.op, &one->aim);
}

static void know(tk_uring *uring, int32_t stream)
{
    tk_run *run = uring->worker->run;
    flight *one = &uring->flights[stream];
    *one = (flight){0};
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
        flight *one = &uring->flights[stream];
        if (one->claim.op == NULL)
            know(uring, stream);
        one->ready = now;
        tk_streams_ready(streams, stream, one->claim.due, now);
        uring->next_number++;
        append(&uring->due, one);
    }
    return 0;
}

static void fill_in(tk_uring *uring, uring_sqe *sqe, flight *one)
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

static void finish(tk_uring *uring, flight *one);

/* The first in the queue is issued if the caps and the ring let it; false when it has to wait. */
static bool issue_first(tk_uring *uring)
{
    tk_run *run = uring->worker->run;
    flight *one = uring->due.first;
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
    take_first(&uring->due);
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
        hand_to_helper(uring, one);
    }
    return true;
}

/* An op is done: note it, give back what it held, and arm what comes next. */
static void finish(tk_uring *uring, flight *one)
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

static void listen_to_helpers(tk_uring *uring)
{
    uring_sqe *sqe = uring->bell >= 0 && !uring->listening ? tk_ring_next(&uring->ring) : NULL;
    if (sqe == NULL)
        return;
    sqe->opcode = URING_READ;
    sqe->fd = uring->bell;
    sqe->addr = (uint64_t)(uintptr_t)&uring->bell_count;
    sqe->len = sizeof uring->bell_count;
    sqe->off = UINT64_MAX; /* the file's own position: an eventfd has no other */
    sqe->user_data = WAKE_UP;
    uring->listening = true;
}

static void reap_helpers(tk_uring *uring)
{
    pthread_mutex_lock(&uring->lock);
    flight *one = uring->done.first;
    uring->done = (queue){0};
    pthread_mutex_unlock(&uring->lock);
    while (one) {
        flight *next = one->next;
        uring->with_helpers--;
        finish(uring, one);
        one = next;
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
            uring->listening = false;
            reap_helpers(uring);
            continue;
        }
        flight *one = (flight *)(uintptr_t)whose;
        uring->in_ring--;
        one->result.complete = now;
        one->result.error = result < 0 ? -result : 0;
        one->result.result = result < 0 ? -1 : (int32_t)tk_delivered(&uring->worker->run->issue, one->claim.op, result);
        finish(uring, one);
    }
}

/* How long the next wait may be: until shortly before the next moment, or a while when only a signal could come. Before the
   moment we do not wait, but see whether something is done, again and again. */
static int64_t wait_for(tk_uring *uring, int64_t now, int64_t next, bool blocked)
{
    if (blocked)
        return LONGEST_WAIT_NS;
    if (uring->armed)
        return 0;
    int64_t wait = next ? next - now - tk_wake_early(&uring->worker->wake, next - now) : LONGEST_WAIT_NS;
    return wait < 0 ? 0 : wait < LONGEST_WAIT_NS ? wait : LONGEST_WAIT_NS;
}

/* Hand the batch over and wait. What a wait that nothing ended is late by tells how much earlier to end the next ones. */
static int submit_and_wait(tk_uring *uring, int64_t next, bool blocked)
{
    tk_wake *wake = &uring->worker->wake;
    int64_t now = tk_now_ns(), wait = wait_for(uring, now, next, blocked);
    for (int i = 0; i < uring->batched; i++)
        uring->batch[i]->result.submit = now;
    uring->batched = 0;
    int error = tk_ring_enter(&uring->ring, wait);
    if (wait == 0)
        return error;
    int64_t woken = tk_now_ns();
    if (woken >= now + wait && tk_ring_peek(&uring->ring) == NULL)
        tk_wake_ended(wake, wait, woken - now - wait);
    tk_wake_look(wake, woken);
    return error;
}

void tk_uring_main(tk_uring *uring)
{
    tk_run *run = uring->worker->run;
    for (;;) {
        bool stop = atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING, blocked = false;
        if ((stop || run->streams.unfinished == 0) && uring->in_ring == 0 && uring->with_helpers == 0)
            return;
        int64_t next = stop ? 0 : collect_due(uring, tk_now_ns());
        while (!stop && !blocked && uring->due.first)
            blocked = !issue_first(uring);
        listen_to_helpers(uring);
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
    uring->bell = -1;
    uring->ring = (tk_ring){.fd = -1};
    pthread_mutex_init(&uring->lock, NULL);
    pthread_cond_init(&uring->work, NULL);
    uring->flights = calloc((size_t)streams, sizeof(flight));
    uring->batch = calloc((size_t)streams, sizeof(flight *));
    if (uring->flights == NULL || uring->batch == NULL)
        return ENOMEM;
    int error = tk_ring_open(&uring->ring, entries);
    error = error ? error : start_helpers(uring);
    if (!error)
        tk_ahead_direct(run);
    return error;
}

void tk_uring_close(tk_uring *uring)
{
    if (uring == NULL)
        return;
    if (uring->in_ring) /* the ring broke: the kernel may still write to what is in flight, so that memory stays */
        return;
    pthread_mutex_lock(&uring->lock);
    uring->over = true;
    pthread_cond_broadcast(&uring->work);
    pthread_mutex_unlock(&uring->lock);
    for (int i = 0; i < uring->helper_count; i++)
        pthread_join(uring->helpers[i], NULL);
    if (uring->ring.fd >= 0)
        tk_ring_close(&uring->ring);
    if (uring->bell >= 0)
        close(uring->bell);
    for (int32_t i = 0; uring->flights && i < uring->worker->run->streams.stream_count; i++)
        tk_pool_give(&uring->worker->run->pool, &uring->flights[i].buffer);
    pthread_mutex_destroy(&uring->lock);
    pthread_cond_destroy(&uring->work);
    free(uring->flights);
    free(uring->batch);
    free(uring);
}
