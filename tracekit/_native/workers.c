/* Engine "native": threads that claim the next due op, wait for its moment themselves, and issue it.

   With as many workers as streams each one keeps its stream and no lock is taken between ops. With fewer, the heap of due
   times says who is next; a worker that waits for a moment still to come gives its claim back when something due earlier
   turns up (`alarm`). Reads through the page cache copy, and a copy is best made by the thread that waits for it: a ring
   would make one copy wait for the other. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* Wake those who can take what was just put into the heap. */
static void announce(tk_run *run, int pushed)
{
    if (pushed <= 0)
        return;
    if (atomic_load(&run->idle) > 0) {
        atomic_fetch_add(&run->bell, 1);
        tk_futex_wake(&run->bell, run->streams.in_order ? INT_MAX : pushed);
    }
    if (run->worker_count < run->streams.stream_count) {
        atomic_fetch_add(&run->alarm, 1);
        tk_futex_wake(&run->alarm, INT_MAX);
    }
}

static bool stopped(const tk_run *run)
{
    return atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING;
}

/* The next op of the stream that is next; false when there will be none for this worker. */
static bool claim_next(tk_worker *worker, tk_claim *claim, uint32_t *alarm)
{
    tk_run *run = worker->run;
    for (;;) {
        uint32_t rung = atomic_load(&run->bell);
        *alarm = atomic_load(&run->alarm);
        pthread_mutex_lock(&run->lock);
        bool any = tk_streams_top(&run->streams) != NULL, over = run->streams.unfinished == 0;
        if (any)
            tk_streams_look(&run->streams, tk_streams_pop(&run->streams), claim);
        else
            atomic_fetch_add(&run->idle, 1);
        pthread_mutex_unlock(&run->lock);
        if (any)
            return true;
        if (!over && !stopped(run))
            tk_futex_wait(&run->bell, rung, 0);
        atomic_fetch_sub(&run->idle, 1);
        if (over || stopped(run))
            return false;
        worker->idle_since = tk_now_ns();
    }
}

static void give_back(tk_run *run, const tk_claim *claim)
{
    pthread_mutex_lock(&run->lock);
    tk_streams_push(&run->streams, claim->stream);
    pthread_mutex_unlock(&run->lock);
}

/* Wait for the claim's moment; false when the worker is to look again (or the run was stopped). */
static bool await_due(tk_run *run, const tk_claim *claim, uint32_t alarm)
{
    if (claim->due == TK_NOW)
        return !stopped(run);
    while (tk_now_ns() < claim->due) {
        if (atomic_load(&run->alarm) != alarm)
            return false;
        tk_futex_wait(&run->alarm, alarm, claim->due);
    }
    return !stopped(run);
}

/* Order across streams: wait until every op before this one has been issued. */
static bool await_turn(tk_run *run, const tk_claim *claim)
{
    if (!run->streams.in_order)
        return true;
    for (;;) {
        uint32_t rung = atomic_load(&run->bell);
        if (atomic_load(&run->in_turn) == claim->number)
            return true;
        if (stopped(run))
            return false;
        atomic_fetch_add(&run->idle, 1);
        if (atomic_load(&run->in_turn) != claim->number)
            tk_futex_wait(&run->bell, rung, 0);
        atomic_fetch_sub(&run->idle, 1);
    }
}

static void pass_turn(tk_run *run)
{
    if (!run->streams.in_order)
        return;
    atomic_fetch_add(&run->in_turn, 1);
    atomic_fetch_add(&run->bell, 1);
    tk_futex_wake(&run->bell, INT_MAX);
}

/* Open and allocate what the op needs. */
static void prepare(tk_worker *worker, const tk_claim *claim, int64_t key, tk_aim *aim)
{
    tk_run *run = worker->run;
    tk_aim_at(&run->issue, &run->handles[claim->stream], key, claim->op, aim);
    if (claim->op->kind == TK_READ && !aim->error && !tk_pool_fit(&run->pool, aim->span, &worker->buffer))
        aim->error = ENOMEM;
}

/* Issue the claimed op, note what became of it; false when the run was stopped before. */
static bool perform(tk_worker *worker, const tk_claim *claim, tk_aim *aim, int64_t key, tk_result *result)
{
    tk_run *run = worker->run;
    tk_ticket ticket;
    int32_t group = run->streams.plans[claim->stream].group;
    int64_t ready = 0;
    if (!await_turn(run, claim))
        return false;
    if (aim->error) /* another stream may have made the file since */
        prepare(worker, claim, key, aim);
    int64_t weight = aim->handle && tk_moves(claim->op) ? aim->span : 0;
    if (run->gated || run->streams.pace == TK_THINK) {
        ready = tk_now_ns();
        tk_streams_ready(&run->streams, claim->stream, claim->due, ready);
    }
    if (run->gated && !tk_gate_enter(&run->gate, &ticket, weight))
        return false;
    result->submit = tk_now_ns();
    pass_turn(run); /* after the clock reading, so that times and order agree */
    result->result = (int32_t)tk_issue_op(&run->issue, &run->handles[claim->stream], group, key, claim->op, aim,
                                          worker->buffer.address, &result->error);
    result->complete = tk_now_ns();
    if (run->gated) {
        tk_gate_leave(&run->gate, weight);
        result->stall = result->submit - ready;
    }
    return true;
}

/* Wait for a free worker: from the moment the op could be issued to when this one claimed it. */
static int64_t waited(tk_worker *worker, const tk_claim *claim, int64_t claimed)
{
    int64_t could = claim->due > claim->free ? claim->due : claim->free;
    return worker->idle_since == 0 && claimed > could ? claimed - could : 0;
}

/* The stream's next op, if this worker keeps it; false: claim another. */
static bool go_on(tk_worker *worker, tk_claim *claim, int64_t complete, uint32_t *alarm)
{
    tk_run *run = worker->run;
    bool alone = run->worker_count >= run->streams.stream_count;
    if (tk_streams_next(&run->streams, claim->stream, complete)) {
        if (alone) {
            *alarm = atomic_load_explicit(&run->alarm, memory_order_relaxed);
            tk_streams_look(&run->streams, claim->stream, claim);
            return true;
        }
        give_back(run, claim);
        return false;
    }
    pthread_mutex_lock(&run->lock);
    int pushed = tk_streams_end(&run->streams, claim->stream, complete);
    bool over = run->streams.unfinished == 0;
    pthread_mutex_unlock(&run->lock);
    announce(run, over ? INT_MAX : pushed);
    return false;
}

static void work(tk_worker *worker)
{
    tk_run *run = worker->run;
    bool have = false, shared = run->worker_count < run->streams.stream_count;
    tk_claim claim;
    uint32_t alarm = 0;
    for (;;) {
        if (!have && !claim_next(worker, &claim, &alarm))
            return;
        tk_result result = {0};
        tk_aim aim;
        int64_t key = tk_key(&run->issue, claim.stream, claim.op);
        if (shared)
            result.worker = waited(worker, &claim, tk_now_ns());
        prepare(worker, &claim, key, &aim);
        if (!await_due(run, &claim, alarm)) {
            if (stopped(run))
                return;
            give_back(run, &claim);
            have = false;
            continue;
        }
        if (!perform(worker, &claim, &aim, key, &result))
            return;
        worker->idle_since = 0;
        tk_run_record(worker, &claim, &aim, &result);
        have = go_on(worker, &claim, result.complete, &alarm);
    }
}

void tk_worker_main(tk_worker *worker)
{
    work(worker);
    tk_pool_give(&worker->run->pool, &worker->buffer);
}
