/* One worker keeps watch for all streams, and others are called when it alone would be late.

   Reads that the page cache serves take a microsecond or two. A thread that waits for each of them wakes a processor each
   time, and the wake-up costs ten times the read. So where all threads have real-time priority, whoever is free watches for
   the next moment, claims what is due then and issues it himself; nobody holds a claim while he sleeps, so whoever is awake
   at that moment has the op. Others sleep until they are called: because several ops will be due at one moment (they then wake
   by a timer of their own, not by an interrupt from here), because an op takes longer than the next can wait, or because
   what is due has piled up.

   It holds as long as hardly a read blocks. Reads are asked for with RWF_NOWAIT; for one that would block somebody is called to
   watch meanwhile. When there is nobody, or the last such read was not long ago, the watch is over: the workers wait each
   for a moment of their own (workers.c), and after many ops in a row that were quick the watch is taken up again. Not every
   file system says beforehand that a read will take long: a read that did counts as one that blocked, and while all who
   take part are in such reads the supervisor ends the watch (tk_worker_relief). Times are ns. */
#define _GNU_SOURCE
#include "engine.h"
#include "raw.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef RWF_NOWAIT
enum { RWF_NOWAIT = 8 };
#endif

/* What a cached read takes, to tell beforehand who will be late; no result depends on it. */
enum { READ_NS = 1500, BYTES_PER_NS = 8 };
/* What one worker does alone, because nobody who is called would come before that is done; the span before a moment whose ops
   are looked at together; how long somebody who was called may take to come. */
enum { ALONE_NS = 20000, CROWD_NS = 20000, COMING_NS = 30000 };
/* So many ops are looked at while there is so much time. */
enum { AHEAD = 32, AHEAD_NS = 8000 };
/* After so many ops in a row that did not block the watch is taken up, or goes on with one that does. */
enum { QUICK_OPS = 4096, QUICK_BETWEEN = 256 };
/* A read that did not block and took longer than that all the same (and 1 ns a byte) was held up by something. */
enum { SLOW_NS = 100000 };

enum next { OVER, CLAIMED, WATCH, HELP, IDLE };
typedef struct {
    enum next what;
    tk_claim claim;
    int64_t until; /* what to watch for */
    uint32_t seen; /* of the calls */
    int helpers;   /* how many to call */
} step;

bool tk_post_held(const tk_run *run)
{
    return atomic_load_explicit(&run->post.on, memory_order_acquire);
}

static void set_active(tk_run *run, uint32_t count)
{
    uint32_t active = atomic_load(&run->active);
    while (active != INT_MAX && !atomic_compare_exchange_weak(&run->active, &active, count))
        ;
}

/* Everybody looks again at what is to be done. */
void tk_post_rouse(tk_run *run)
{
    atomic_fetch_add(&run->post.call, 1);
    atomic_fetch_add(&run->alarm, 1);
    atomic_fetch_add(&run->bell, 1);
    tk_futex_wake(&run->post.call, INT_MAX);
    tk_futex_wake(&run->alarm, INT_MAX);
    tk_futex_wake(&run->bell, INT_MAX);
}

void tk_post_take(tk_run *run)
{
    uint32_t count = (uint32_t)(run->worker_count < run->cores ? run->worker_count : run->cores);
    if (!run->post.possible || atomic_load(&run->stop) != TK_RUNNING)
        return;
    tk_lock_take(&run->lock);
    run->post.watched = INT64_MAX;
    run->post.called = 0;
    atomic_store(&run->post.quick, QUICK_BETWEEN); /* one that blocks is no reason yet */
    atomic_store(&run->post.on, true);
    tk_lock_leave(&run->lock);
    atomic_store(&run->least, count);
    set_active(run, count);
    tk_post_rouse(run);
}

/* From now on every worker waits for a moment of its own. */
void tk_post_leave(tk_run *run)
{
    if (!atomic_exchange(&run->post.on, false))
        return;
    atomic_store(&run->post.quick, 0);
    tk_run_call(run, run->post.usual);
    tk_post_rouse(run);
}

/* An op was issued without the watch; many in a row that did not block bring it back. */
void tk_post_count(tk_run *run, const tk_result *result)
{
    if (!run->post.possible || !atomic_load_explicit(&run->post.permitted, memory_order_relaxed))
        return;
    if (tk_took_longer(result, TK_QUICK_NS))
        atomic_store_explicit(&run->post.quick, 0, memory_order_relaxed);
    else if (atomic_fetch_add_explicit(&run->post.quick, 1, memory_order_relaxed) + 1 == QUICK_OPS)
        tk_post_take(run);
}

/* -- who is to do what; under the lock -- */

static int64_t cost(const tk_op *op)
{
    return READ_NS + op->length / BYTES_PER_NS;
}

/* What the ops in the heap take that are due up to `until`, as far as that is below `enough`. */
static int64_t load_until(const tk_streams *streams, int32_t at, int64_t until, int64_t enough)
{
    if (at >= streams->heap.count || enough <= 0 || streams->heap.entries[at].key > until)
        return 0;
    const tk_state *state = &streams->states[streams->heap.entries[at].stream];
    int64_t load = cost(&streams->ops[state->plan->first + state->position]);
    load += load_until(streams, 2 * at + 1, until, enough - load);
    return load + load_until(streams, 2 * at + 2, until, enough - load);
}

static void want_help(tk_run *run, step *next, int64_t at, int count)
{
    int idle = atomic_load_explicit(&run->post.idle, memory_order_relaxed);
    next->helpers = count < idle ? count : idle;
    atomic_store_explicit(&run->post.help_at, at, memory_order_relaxed);
}

static void claim_due(tk_worker *worker, step *next, int64_t now)
{
    tk_run *run = worker->run;
    tk_post *post = &run->post;
    int32_t stream = tk_streams_pop(&run->streams);
    const tk_entry *after = tk_streams_top(&run->streams);
    tk_streams_look(&run->streams, stream, &next->claim);
    next->what = CLAIMED;
    int64_t alone = worker->wake.less == TK_WAKE_PARTS ? ALONE_NS / 2 : ALONE_NS; /* two busy cores are better than a full one */
    int64_t takes = cost(next->claim.op), ends = (next->claim.due > now ? next->claim.due : now) + takes;
    if (after == NULL || after->key > ends || after->key >= post->watched || now - post->called < COMING_NS)
        return;
    if (now - after->key > COMING_NS || takes + load_until(&run->streams, 0, ends, alone) >= alone) {
        post->called = now;
        want_help(run, next, after->key > now ? after->key : now, 1);
    }
}

static void watch_for(tk_run *run, step *next, int64_t key)
{
    int64_t enough = ALONE_NS * (int64_t)run->cores;
    next->what = WATCH;
    next->until = run->post.watched = key;
    int64_t load = load_until(&run->streams, 0, key + CROWD_NS, enough);
    if (load < ALONE_NS)
        return;
    int count = load >= enough ? run->cores - 1 : (int)(load / ALONE_NS);
    want_help(run, next, key, count);
    run->post.missing = count - next->helpers; /* whoever becomes idle until then */
    run->post.called = key; /* they come by themselves */
}

/* `watched`: what this worker has watched for, 0: nothing. `awake`: the moments it is awake for go up to this one. `stream`:
   has an op to issue again, -1: none has. */
static step next_step(tk_worker *worker, int64_t watched, int64_t awake, int32_t stream)
{
    tk_run *run = worker->run;
    step next = {.what = IDLE};
    tk_lock_take(&run->lock);
    if (stream >= 0)
        tk_streams_push(&run->streams, stream);
    if (run->post.watched == watched) {
        run->post.watched = INT64_MAX;
        run->post.missing = 0;
    }
    int64_t now = tk_now_ns();
    const tk_entry *top = tk_streams_top(&run->streams);
    if (!tk_post_held(run))
        next.what = OVER;
    else if (top && (top->key <= awake || top->key <= now + tk_wake_early(&worker->wake, 0)))
        claim_due(worker, &next, now);
    else if (top && top->key < run->post.watched)
        watch_for(run, &next, top->key);
    else if (run->post.missing > 0 && run->post.missing--)
        next.what = HELP;
    else
        atomic_fetch_add(&run->post.idle, 1);
    next.seen = atomic_load(&run->post.call);
    tk_lock_leave(&run->lock);
    return next;
}

/* -- waiting -- */

/* Wait until just before help is wanted: for the moments up to which one. */
static int64_t come(tk_worker *worker, uint32_t alarm)
{
    int64_t wanted = atomic_load_explicit(&worker->run->post.help_at, memory_order_relaxed);
    tk_wake_for(worker, wanted, alarm, 1);
    return wanted + CROWD_NS;
}

static int64_t await_help(tk_worker *worker, uint32_t seen, uint32_t alarm)
{
    tk_post *post = &worker->run->post;
    tk_futex_wait(&post->call, seen, 0);
    atomic_fetch_sub(&post->idle, 1);
    return tk_post_held(worker->run) ? come(worker, alarm) : 0;
}

/* -- an op -- */

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

static void call(tk_run *run, int count)
{
    atomic_fetch_add(&run->post.call, 1);
    tk_futex_wake(&run->post.call, count);
}

/* This worker is going to block: another one watches, or the watch is over. */
static void step_aside(tk_run *run)
{
    tk_lock_take(&run->lock);
    int idle = atomic_load_explicit(&run->post.idle, memory_order_relaxed);
    bool rare = atomic_exchange_explicit(&run->post.quick, 0, memory_order_relaxed) >= QUICK_BETWEEN;
    atomic_store_explicit(&run->post.help_at, 0, memory_order_relaxed);
    tk_lock_leave(&run->lock);
    if (idle > 0 && rare)
        call(run, 1);
    else
        tk_post_leave(run);
}

/* A read that has another worker watch before it blocks; `aside`: it did. */
static int64_t read_watching(tk_run *run, const tk_aim *aim, char *address, int *error, bool *aside)
{
    int fd = aim->handle->fd;
    int64_t moved = read_cached(fd, address, aim->span, aim->first, error);
    if (moved == (int64_t)aim->span || moved == 0)
        return moved;
    /* Less than was asked for: the file ends there, or a page is not in memory. */
    if (moved > 0 && read_cached(fd, address + moved, aim->span - (size_t)moved, aim->first + moved, error) == 0)
        return moved;
    step_aside(run);
    *aside = true;
    return tk_read_at(fd, address, aim->span, aim->first, error);
}

/* A read is over that did not block, or should not have. */
static void count_read(tk_run *run, const tk_result *result)
{
    if (!tk_took_longer(result, SLOW_NS))
        atomic_fetch_add_explicit(&run->post.quick, 1, memory_order_relaxed);
    else if (atomic_exchange_explicit(&run->post.quick, 0, memory_order_relaxed) < QUICK_BETWEEN)
        tk_post_leave(run);
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
        const tk_state *state = &streams->states[streams->heap.entries[i].stream];
        const tk_op *op = &streams->ops[state->plan->first + state->position];
        __builtin_prefetch(&run->issue.files[op->file]);
        __builtin_prefetch(run->handles[streams->heap.entries[i].stream].slots);
    }
    tk_lock_leave(&run->lock);
}

/* Issue the claimed read at its moment; false when the run was stopped before. */
static bool issue(tk_worker *worker, const tk_claim *claim, int64_t waited, int64_t *complete)
{
    tk_run *run = worker->run;
    tk_aim aim;
    bool aside = false;
    tk_result result = {.result = -1, .worker = waited};
    int64_t key = tk_key(&run->issue, claim->stream, claim->op);
    tk_aim_at(&run->issue, tk_handles_of(worker, claim->stream), key, claim->op, &aim);
    tk_worker_allocate(worker, claim->op, &aim);
    if (claim->due - tk_now_ns() > AHEAD_NS)
        look_ahead(run);
    if (!await_moment(run, claim->due, &result.submit))
        return false;
    tk_streams_ready(&run->streams, claim->stream, claim->due, result.submit);
    result.error = aim.error;
    if (!aim.error) {
        int64_t moved = read_watching(run, &aim, worker->buffer.address, &result.error, &aside);
        result.result = (int32_t)tk_delivered(&run->issue, claim->op, moved);
    }
    result.complete = *complete = tk_now_ns();
    if (!aside)
        count_read(run, &result);
    if (aim.span > TK_SMALL)
        tk_pool_give(&run->pool, &worker->buffer);
    tk_run_record(worker, claim, &aim, &result);
    return true;
}

/* Open what the stream's next op uses while nobody else has the stream. */
static void aim_ahead(tk_worker *worker, int32_t stream)
{
    tk_run *run = worker->run;
    tk_claim claim;
    tk_aim aim;
    tk_streams_look(&run->streams, stream, &claim);
    tk_aim_at(&run->issue, tk_handles_of(worker, stream), tk_key(&run->issue, stream, claim.op), claim.op, &aim);
}

/* The op is done. The stream that has one to issue again, -1: none has, or it is in the heap. */
static int32_t go_on(tk_worker *worker, int32_t stream, int64_t complete)
{
    tk_run *run = worker->run;
    if (tk_streams_next(&run->streams, stream, complete)) {
        if (!run->opened)
            aim_ahead(worker, stream);
        return stream;
    }
    tk_lock_take(&run->lock);
    tk_streams_end(&run->streams, stream, complete);
    bool over = run->streams.unfinished == 0;
    tk_lock_leave(&run->lock);
    if (over)
        tk_run_finish(run);
    return -1;
}

static int64_t waited_for_worker(const tk_claim *claim, bool busy)
{
    int64_t could = claim->due > claim->free ? claim->due : claim->free, now = busy ? tk_now_ns() : 0;
    return now > could ? now - could : 0;
}

/* Take part until the watch is over. */
void tk_post_work(tk_worker *worker)
{
    tk_run *run = worker->run;
    int64_t watched = 0, awake = 0, complete = 0;
    int32_t stream = -1;
    bool busy = false;
    tk_worker_await_call(worker);
    for (;;) {
        uint32_t alarm = atomic_load(&run->alarm);
        if (atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING)
            return;
        step next = next_step(worker, watched, awake, stream);
        watched = awake = 0;
        stream = -1;
        if (next.what == OVER)
            return;
        if (next.helpers > 0)
            call(run, next.helpers);
        if (next.what == WATCH) {
            tk_wake_for(worker, watched = awake = next.until, alarm, 1);
        } else if (next.what == HELP) {
            awake = come(worker, alarm);
        } else if (next.what == IDLE) {
            awake = await_help(worker, next.seen, alarm);
        } else if (!issue(worker, &next.claim, waited_for_worker(&next.claim, busy), &complete)) {
            return;
        } else {
            stream = go_on(worker, next.claim.stream, complete);
        }
        busy = next.what == CLAIMED;
    }
}
