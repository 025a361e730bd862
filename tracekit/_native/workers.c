/* Engine "native": threads that claim the next due op, wait for its moment themselves, and issue it.

   With as many workers as streams each one keeps its stream and no lock is taken between ops. With fewer, the heap of due
   times says who is next; a worker that waits for a moment still to come gives its claim back when something due earlier
   turns up (`alarm`), and loses it to one that is awake when it oversleeps (waits.c). A run begins with a few workers per
   core and takes in more when ops are overdue while others block. Reads through the page cache copy, and a copy is best made
   by the thread that waits for it: a ring would make one copy wait for the other. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>

/* Whether a worker may only ever have one stream. */
static bool is_alone(const tk_run *run)
{
    return run->worker_count >= run->streams.stream_count &&
           atomic_load_explicit(&run->active, memory_order_relaxed) >= (uint32_t)run->worker_count;
}

/* Wake those who can take what was just put into the heap. */
static void announce(tk_run *run, int pushed)
{
    if (pushed <= 0)
        return;
    if (atomic_load(&run->idle) > 0) {
        atomic_fetch_add(&run->bell, 1);
        tk_futex_wake(&run->bell, run->streams.in_order ? INT_MAX : pushed);
    }
    if (!is_alone(run)) {
        atomic_fetch_add(&run->alarm, 1);
        tk_futex_wake(&run->alarm, INT_MAX);
    }
}

static bool stopped(const tk_run *run)
{
    return atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING;
}

/* Take part, or be parked until the run needs more. */
void tk_worker_await_call(tk_worker *worker)
{
    tk_run *run = worker->run;
    uint32_t active;
    while ((active = atomic_load(&run->active)) <= worker->index)
        tk_futex_wait(&run->active, active, 0);
}

/* The last of those who take part is parked again where its claim was taken: the others are enough. */
static void retire(tk_worker *worker)
{
    tk_run *run = worker->run;
    uint32_t last = worker->index + 1;
    if (run->gated || last <= atomic_load_explicit(&run->least, memory_order_relaxed))
        return;
    if (atomic_compare_exchange_strong(&run->active, &last, worker->index))
        tk_worker_await_call(worker);
}

static int32_t ops_in_call(const tk_run *run, uint32_t active)
{
    int32_t count = 0;
    for (uint32_t i = 0; i < active && count < run->cores; i++)
        count += atomic_load_explicit(&run->workers[i].in_call, memory_order_relaxed);
    return count;
}

enum { OVERDUE_NS = 20000, STRANDED_NS = 10000000 };

/* An op was overdue when a worker became free. If more ops are being done than there are cores, some of them wait for
   storage, and one worker more can do what is overdue. The op this worker is about to do counts where its last one blocked:
   with as many workers as cores the others' alone are never that many. */
static void call_another(tk_worker *worker, int64_t now)
{
    tk_run *run = worker->run;
    uint32_t active = atomic_load_explicit(&run->active, memory_order_relaxed);
    if (active >= (uint32_t)run->worker_count || now - worker->called < OVERDUE_NS)
        return;
    worker->called = now;
    if (ops_in_call(run, active) + worker->blocked < run->cores)
        return;
    if (atomic_compare_exchange_strong(&run->active, &active, active + 1))
        tk_futex_wake(&run->active, INT_MAX);
}

/* The supervisor's look: an op is long overdue, and all who take part are in an op that does not end. Then as many again are
   called; and nobody watches for the others any more (post.c), unless that was over by the next look: a pause of the machine. */
void tk_worker_relief(tk_run *run)
{
    uint32_t active = atomic_load(&run->active), most = (uint32_t)run->worker_count;
    if (run->how != TK_WORKERS || run->streams.in_order || run->gated || (active >= most && !tk_watch_held(run)))
        return;
    tk_lock_take(&run->lock);
    const tk_entry *top = tk_streams_top(&run->streams);
    bool stranded = top && tk_now_ns() - top->key > STRANDED_NS;
    tk_lock_leave(&run->lock);
    bool again = run->stranded;
    run->stranded = stranded;
    if (!stranded)
        return;
    if (tk_watch_held(run)) {
        if (again)
            tk_watch_leave(run);
        return;
    }
    if (ops_in_call(run, active) >= run->cores && atomic_compare_exchange_strong(&run->active, &active, 2 * active < most ? 2 * active : most))
        tk_futex_wake(&run->active, INT_MAX);
}

/* The stream whose op is to be done next, -1 where there is none: one that is overdue while its owner sleeps, or else the
   first of the heap. Under the lock. */
static int32_t next_stream(tk_run *run, int64_t now)
{
    const tk_entry *top = tk_streams_top(&run->streams);
    int32_t late = tk_waits_take(&run->streams, now, top ? top->key : INT64_MAX);
    if (late >= 0)
        return late;
    return top ? tk_streams_pop(&run->streams) : -1;
}

/* The next op of the stream that is next; false when there will be none for this worker. */
static bool claim_next(tk_worker *worker, tk_claim *claim, uint32_t *alarm)
{
    tk_run *run = worker->run;
    for (;;) {
        if (tk_watch_held(run) && !stopped(run))
            tk_post_work(worker);
        uint32_t rung = atomic_load(&run->bell);
        *alarm = atomic_load(&run->alarm);
        tk_lock_take(&run->lock);
        int32_t stream = next_stream(run, tk_now_ns());
        bool over = run->streams.unfinished == 0;
        if (stream >= 0)
            tk_streams_look(&run->streams, stream, claim);
        else
            atomic_fetch_add(&run->idle, 1);
        tk_lock_leave(&run->lock);
        if (stream >= 0)
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
    tk_lock_take(&run->lock);
    tk_streams_push(&run->streams, claim->stream);
    tk_lock_leave(&run->lock);
}

/* Wait for what a sleep has left, no more threads at once than there are cores. */
static void await_moment(tk_run *run, int64_t due, uint32_t alarm)
{
    if (atomic_fetch_add(&run->watching, 1) >= run->cores)
        tk_futex_wait(&run->alarm, alarm, due);
    else
        while (tk_now_ns() < due && atomic_load_explicit(&run->alarm, memory_order_relaxed) == alarm)
            tk_pause();
    atomic_fetch_sub(&run->watching, 1);
}

/* Wait for the claim's moment; false when something due earlier turned up. */
static bool wait_until_due(tk_worker *worker, const tk_claim *claim, uint32_t alarm)
{
    tk_run *run = worker->run;
    for (;;) {
        int32_t sleepers = atomic_fetch_add_explicit(&run->sleepers, 1, memory_order_relaxed) + 1;
        tk_wake_for(worker, claim->due, 0, alarm, sleepers);
        atomic_fetch_sub_explicit(&run->sleepers, 1, memory_order_relaxed);
        if (tk_now_ns() >= claim->due)
            return true;
        if (atomic_load(&run->alarm) != alarm)
            return false;
        await_moment(run, claim->due, alarm);
    }
}

/* Wait for the claim's moment; false when the worker is to look again (or the run was stopped). */
static bool await_due(tk_worker *worker, const tk_claim *claim, uint32_t alarm)
{
    tk_run *run = worker->run;
    if (claim->due == TK_NOW || claim->due <= tk_now_ns())
        return !stopped(run);
    if (run->streams.in_order || is_alone(run)) {
        bool due = wait_until_due(worker, claim, alarm);
        if (!due)
            give_back(run, claim);
        return due && !stopped(run);
    }
    tk_lock_take(&run->lock);
    uint32_t ticket = tk_waits_add(&run->streams, claim);
    tk_lock_leave(&run->lock);
    bool due = wait_until_due(worker, claim, alarm);
    if (!tk_waits_over(&run->streams, claim->stream, ticket)) {
        retire(worker);
        return false;
    }
    if (!due)
        give_back(run, claim);
    return due && !stopped(run);
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

/* Memory for a read. One buffer for all small reads is taken ahead and kept: where sizes differ from one to the next, workers would
   meet at the pool twice for each. A large one belongs to the bytes in flight, so it is taken when the gate is passed and given back
   at once. */
tk_buffer *tk_worker_buffer(tk_worker *worker, const tk_aim *aim)
{
    return aim->span > TK_SMALL ? &worker->large : &worker->small;
}

void tk_worker_allocate(tk_worker *worker, const tk_op *op, tk_aim *aim)
{
    uint32_t size = aim->span > TK_SMALL ? aim->span : TK_SMALL;
    if (op->kind == TK_READ && !aim->error && !tk_pool_fit(&worker->run->pool, size, tk_worker_buffer(worker, aim)))
        aim->error = ENOMEM;
}

/* Open and allocate ahead of time what the op needs. */
static void prepare(tk_worker *worker, const tk_claim *claim, int64_t key, tk_aim *aim)
{
    tk_run *run = worker->run;
    tk_aim_at(&run->issue, tk_handles_of(worker, claim->stream), key, claim->op, aim);
    if (aim->span <= TK_SMALL)
        tk_worker_allocate(worker, claim->op, aim);
}

/* Do it. Where the watch may be taken up again a read is asked for without waiting first: so it is known whether it blocked. */
static void issue(tk_worker *worker, const tk_claim *claim, const tk_aim *aim, int64_t key, tk_result *result)
{
    tk_run *run = worker->run;
    void *address = tk_worker_buffer(worker, aim)->address;
    int64_t moved;
    worker->cached = tk_watch_awaited(run) && !aim->error && tk_cached_read(aim, address, &moved, &result->error);
    if (worker->cached)
        result->result = (int32_t)tk_delivered(&run->issue, claim->op, moved);
    else
        result->result = (int32_t)tk_issue_op(&run->issue, tk_handles_of(worker, claim->stream), run->streams.plans[claim->stream].group,
                                              key, claim->op, aim, address, &result->error);
}

/* Issue the claimed op, note what became of it; false when the run was stopped before. */
static bool perform(tk_worker *worker, const tk_claim *claim, tk_aim *aim, int64_t key, tk_result *result)
{
    tk_run *run = worker->run;
    tk_ticket ticket;
    bool shared = !is_alone(run);
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
    if (aim->span > TK_SMALL)
        tk_worker_allocate(worker, claim->op, aim);
    if (shared)
        atomic_store_explicit(&worker->in_call, true, memory_order_relaxed);
    result->submit = tk_now_ns();
    pass_turn(run); /* after the clock reading, so that times and order agree */
    issue(worker, claim, aim, key, result);
    result->complete = tk_now_ns();
    if (shared)
        atomic_store_explicit(&worker->in_call, false, memory_order_relaxed);
    tk_pool_give(&run->pool, &worker->large);
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

/* What this worker does next: its stream's next op where it is alone, else whichever op is next. False: look again. */
static bool go_on(tk_worker *worker, tk_claim *claim, int64_t complete, uint32_t *alarm)
{
    tk_run *run = worker->run;
    bool alone = is_alone(run);
    *alarm = atomic_load(&run->alarm);
    if (!tk_streams_next(&run->streams, claim->stream, complete)) {
        tk_lock_take(&run->lock);
        int pushed = tk_streams_end(&run->streams, claim->stream, complete);
        bool over = run->streams.unfinished == 0;
        tk_lock_leave(&run->lock);
        if (over)
            tk_run_finish(run);
        announce(run, over ? INT_MAX : pushed);
        return false;
    }
    int32_t stream = claim->stream;
    if (tk_watch_held(run)) {
        give_back(run, claim);
        return false;
    }
    if (!alone) {
        tk_lock_take(&run->lock);
        tk_streams_push(&run->streams, stream);
        stream = next_stream(run, complete);
        tk_lock_leave(&run->lock);
    }
    tk_streams_look(&run->streams, stream, claim);
    return true;
}

static void work(tk_worker *worker)
{
    tk_run *run = worker->run;
    bool have = false;
    tk_claim claim;
    uint32_t alarm = 0;
    for (;;) {
        if (!have && !claim_next(worker, &claim, &alarm))
            return;
        if (run->quick && is_alone(run))
            tk_quick_reads(worker, &claim);
        tk_result result = {0};
        tk_aim aim;
        int64_t key = tk_key(&run->issue, claim.stream, claim.op);
        int64_t now = is_alone(run) ? 0 : tk_now_ns();
        if (now && (result.worker = waited(worker, &claim, now)) > OVERDUE_NS)
            call_another(worker, now);
        prepare(worker, &claim, key, &aim);
        if (!await_due(worker, &claim, alarm)) {
            if (stopped(run))
                return;
            have = false;
            continue;
        }
        if (!perform(worker, &claim, &aim, key, &result))
            return;
        worker->idle_since = 0;
        worker->blocked = tk_took_longer(&result, TK_QUICK_NS);
        tk_run_record(worker, &claim, &aim, &result);
        if (tk_watch_awaited(run))
            tk_watch_count(run, &result, !worker->cached);
        have = go_on(worker, &claim, result.complete, &alarm);
    }
}

/* A thread that shares its table of descriptors counts itself in and out of the file at each read: a tenth of a cached one.
   So where every worker keeps its stream and only reads, each gets a copy of the table, and opens and closes in that. Where
   that is not permitted the table is shared as ever. */
static void part(const tk_worker *worker)
{
#ifdef __SANITIZE_THREAD__ /* it takes equal numbers for the same descriptor */
    (void)worker;
#else
    if (worker->run->apart)
        unshare(CLONE_FILES);
#endif
}

void tk_worker_main(tk_worker *worker)
{
    tk_run *run = worker->run;
    tk_worker_await_call(worker);
    part(worker);
    work(worker);
    if (run->apart)
        tk_handles_close(&run->handles[worker->index]);
    tk_pool_give(&run->pool, &worker->small);
}
