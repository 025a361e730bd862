/* The run: threads are started, time begins, and the calling thread supervises: it handles signals, reports progress, and
   takes real-time priority away before the kernel would (guard.c). */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "replay.h"

enum { LOOK_NS = 20000000, SIGNALS_NS = 100000000 };
static const int64_t START_NS = 1000000, START_NS_PER_WORKER = 50000;

/* -- small things every part uses -- */

void tk_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline_ns)
{
    struct timespec due = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen, deadline_ns ? &due : NULL, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

void tk_futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}

int tk_mutex_open(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    int error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error;
}

/* Stop the run; the first reason counts. */
void tk_run_stop(tk_run *run, enum tk_stop why)
{
    int32_t running = TK_RUNNING;
    atomic_compare_exchange_strong(&run->stop, &running, why);
    if (run->gated)
        tk_gate_close(&run->gate);
    tk_watch_leave(run);
    atomic_fetch_add(&run->alarm, 1);
    atomic_fetch_add(&run->bell, 1);
    atomic_store(&run->active, INT_MAX);
    tk_futex_wake(&run->alarm, INT_MAX);
    tk_futex_wake(&run->bell, INT_MAX);
    tk_futex_wake(&run->active, INT_MAX);
}

/* Have so many workers take part from now on. */
void tk_run_call(tk_run *run, uint32_t count)
{
    uint32_t active = atomic_load(&run->active);
    atomic_store(&run->least, count);
    while (active < count && !atomic_compare_exchange_weak(&run->active, &active, count))
        ;
    tk_futex_wake(&run->active, INT_MAX);
}

/* Every op is done: those who are parked may go. */
void tk_run_finish(tk_run *run)
{
    tk_watch_leave(run);
    atomic_store(&run->active, INT_MAX);
    tk_futex_wake(&run->active, INT_MAX);
}

/* Note an op: its record, the counters for progress, and whether the run has failed too often. */
void tk_run_record(tk_worker *worker, const tk_claim *claim, const tk_aim *aim, tk_result *result)
{
    tk_run *run = worker->run;
    result->row = run->results.rows ? claim->row : claim->number;
    result->due = claim->due;
    result->free = claim->free;
    tk_results_put(&run->results, &worker->chunk, result);
    int64_t done = atomic_load_explicit(&worker->done, memory_order_relaxed);
    int64_t bytes = atomic_load_explicit(&worker->bytes, memory_order_relaxed);
    int64_t moved = atomic_load_explicit(&worker->moved, memory_order_relaxed);
    int64_t busy = atomic_load_explicit(&worker->busy, memory_order_relaxed);
    atomic_store_explicit(&worker->done, done + 1, memory_order_relaxed);
    atomic_store_explicit(&worker->bytes, bytes + (tk_moves(claim->op) ? aim->span : 0), memory_order_relaxed);
    atomic_store_explicit(&worker->moved, moved + (result->result > 0 ? result->result : 0), memory_order_relaxed);
    atomic_store_explicit(&worker->busy, busy + result->complete - result->submit, memory_order_relaxed);
    if (claim->due != TK_NOW)
        atomic_store_explicit(&worker->late, result->submit - claim->due, memory_order_relaxed);
    if (result->error && !(claim->op->flags & TK_EXPECTED)) {
        int64_t errors = atomic_fetch_add(&run->errors, 1) + 1;
        if (run->max_errors >= 0 && errors > run->max_errors)
            tk_run_stop(run, TK_ERRORS);
    }
}

/* -- threads -- */

static void await_go(tk_run *run)
{
    atomic_fetch_add(&run->ready, 1);
    tk_futex_wake(&run->ready, 1);
    while (atomic_load(&run->go) == 0)
        tk_futex_wait(&run->go, 0, 0);
}

static void ring_main(tk_worker *worker)
{
    tk_uring *uring = NULL;
    int error = tk_uring_open(&uring, worker);
    if (error) {
        atomic_store(&worker->run->trouble, error);
        tk_run_stop(worker->run, TK_BROKEN);
    }
    await_go(worker->run);
    if (!error)
        tk_uring_main(uring);
    tk_uring_close(uring);
}

static void *thread_main(void *argument)
{
    tk_worker *worker = argument;
    tk_run *run = worker->run;
    atomic_store(&worker->tid, (int32_t)syscall(SYS_gettid));
    tk_precise_timers();
    if (run->how == TK_URING) {
        ring_main(worker);
    } else {
        await_go(run);
        tk_worker_main(worker);
    }
    tk_wake_close(&worker->wake);
    tk_results_flush(&run->results, &worker->chunk);
    atomic_fetch_sub(&run->alive, 1);
    tk_futex_wake(&run->alive, 1);
    return NULL;
}

/* Threads of ours leave signals to Python's. */
static int start_threads(tk_run *run)
{
    sigset_t all, before;
    int error = 0, started = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    error = tk_results_start(&run->results, run->workers, run->worker_count);
    for (; started < run->worker_count && !error; started += !error) {
        run->workers[started].run = run;
        run->workers[started].index = (uint32_t)started;
        atomic_fetch_add(&run->alive, 1);
        error = pthread_create(&run->workers[started].thread, NULL, thread_main, &run->workers[started]);
        if (error)
            atomic_fetch_sub(&run->alive, 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        run->worker_count = started;
        tk_run_stop(run, TK_BROKEN);
    }
    return error;
}

static void await_ready(tk_run *run)
{
    uint32_t ready;
    while ((ready = atomic_load(&run->ready)) < (uint32_t)run->worker_count)
        tk_futex_wait(&run->ready, ready, 0);
}

static int32_t few(const tk_run *run)
{
    return 4 * run->cores;
}

/* Whether every stream has a worker from the start. */
static bool has_few_streams(const tk_run *run)
{
    return run->worker_count >= run->streams.stream_count && run->worker_count <= few(run);
}

/* Ops that the page cache serves keep a core busy each, and more threads than a few per core only make one wake-up per op of
   a burst. With real-time priority one per core is enough: nothing else takes the core from it. Where ops block, more join in
   (workers.c). A thread that waits at the gate or for its turn is not there for others, so then every stream has one from
   the start; and where there are few streams, each has its own, which needs no lock. */
uint32_t tk_run_first(const tk_run *run, bool realtime)
{
    if (run->gated || run->streams.in_order || run->worker_count <= few(run))
        return run->worker_count;
    return realtime ? run->cores : few(run);
}

static void begin(tk_run *run, bool realtime)
{
    uint32_t first = tk_run_first(run, realtime);
    atomic_store(&run->least, first);
    if (atomic_load(&run->stop) == TK_RUNNING) /* else all of them are to go */
        atomic_store(&run->active, first);
    run->post.usual = first;
    atomic_store(&run->post.permitted, realtime);
    bool asap = run->streams.pace == TK_ASAP;
    int64_t start = tk_now_ns() + (asap ? 0 : START_NS + START_NS_PER_WORKER * run->worker_count);
    if (start < run->start_at)
        start = run->start_at;
    if (asap) /* nothing else would wait for it */
        tk_sleep_until(start);
    tk_lock_take(&run->lock);
    tk_streams_start(&run->streams, start);
    tk_lock_leave(&run->lock);
    if (realtime)
        tk_watch_take(run);
    atomic_store(&run->go, 1);
    tk_futex_wake(&run->go, INT_MAX);
}

/* -- the run -- */

static void *filling_of(uint64_t seed)
{
    uint64_t *words = mmap(NULL, TK_FILLING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return NULL;
    /* xorshift64: zeros would be compressed or deduplicated away where the recorded data was not. */
    for (size_t i = 0; i < TK_FILLING / sizeof *words; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        words[i] = seed;
    }
    return words;
}

static bool writes(const tk_replay *replay)
{
    for (int64_t i = 0; i < replay->file_count; i++)
        if (replay->files[i].flags & TK_CHANGED)
            return true;
    return false;
}

/* Whether all there is to do are reads through the page cache at given moments, and every handle stays open. In a closed loop
   how many ops are in flight is the outcome, and only threads that read side by side, as the program's did, have as many. */
static bool only_paced_reads(const tk_run *run, const tk_replay *replay)
{
    for (int64_t i = 0; i < replay->file_count; i++)
        if (replay->files[i].align)
            return false;
    return run->how == TK_WORKERS && replay->pace == TK_RECORDED && !replay->helped && !run->gated && !replay->in_order &&
           run->preopen;
}

/* The handles a worker uses for a stream. */
tk_handles *tk_handles_of(const tk_worker *worker, int32_t stream)
{
    const tk_run *run = worker->run;
    return &run->handles[run->how == TK_URING ? 0 : run->apart ? (int32_t)worker->index : stream];
}

static int open_handles(tk_run *run, const tk_replay *replay)
{
    int32_t count = run->how == TK_URING ? 1 : run->apart ? run->worker_count : replay->stream_count;
    run->handles = calloc((size_t)(count > 0 ? count : 1), sizeof(tk_handles));
    for (; run->handles && run->tables < count; run->tables++)
        if (tk_handles_open(&run->handles[run->tables], replay->handles, replay->keys, replay->file_count))
            return ENOMEM;
    return run->handles ? 0 : ENOMEM;
}

/* For all streams together, where mostly one thread at a time issues ops: cores that all read without a pause would hinder each other by it. */
static int open_common(tk_run *run, const tk_replay *replay)
{
    bool any = false;
    for (int32_t i = 0; i < run->file_count; i++)
        any = any || replay->files[i].flags & TK_RESIDENT;
    if (!any || !run->preopen || !(run->post.possible || run->how == TK_URING))
        return 0;
    run->issue.common = tk_common_open(replay->files, run->file_count);
    return run->issue.common ? 0 : ENOMEM;
}

static int open_run(tk_run *run, const tk_replay *replay)
{
    run->streams = (tk_streams){.ops = replay->ops, .plans = replay->streams, .op_count = replay->op_count,
                                .stream_count = replay->stream_count, .pace = replay->pace, .turns = replay->turns,
                                .period = replay->period, .in_order = replay->in_order, .release = replay->release};
    run->cores = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    run->how = replay->how;
    run->start_at = replay->start_at;
    run->max_errors = replay->max_errors;
    run->gated = replay->max_ops || replay->max_bytes;
    run->quick = replay->pace == TK_ASAP && !run->gated && !replay->in_order;
    run->worker_count = replay->how == TK_URING ? 1 : replay->workers;
    run->file_count = replay->file_count;
    run->helped = replay->helped;
    run->apart = run->quick && run->how == TK_WORKERS && !replay->helped && !replay->recorded && has_few_streams(run);
    run->preopen = replay->handles >= replay->keys;
    tk_watch_plan(run, only_paced_reads(run, replay));
    run->issue.files = replay->files;
    tk_gate_open(&run->gate, replay->max_ops, replay->max_bytes);
    int error = tk_streams_open(&run->streams, run->worker_count);
    error = error ? error : tk_results_open(&run->results, replay->results, replay->op_count * replay->turns, replay->results_fd, replay->chunks);
    tk_pool_open(&run->pool, replay->spare_bytes, replay->how == TK_WORKERS);
    error = error ? error : tk_recorded_open(&run->issue.recorded);
    error = error ? error : open_handles(run, replay);
    error = error ? error : open_common(run, replay);
    if (!error && posix_memalign((void **)&run->workers, 64, (size_t)run->worker_count * sizeof(tk_worker)))
        error = ENOMEM;
    if (!error)
        memset(run->workers, 0, (size_t)run->worker_count * sizeof(tk_worker));
    if (!error && !run->apart)
        tk_ahead(run, (int64_t)replay->handles * (run->how == TK_URING ? 1 : replay->stream_count));
    if (!error && writes(replay) && (run->issue.filling = filling_of((uint64_t)tk_now_ns() | 1)) == NULL)
        error = ENOMEM;
    return error;
}

static void close_run(tk_run *run)
{
    for (int32_t i = 0; i < run->tables; i++)
        tk_handles_close(&run->handles[i]);
    free(run->handles);
    tk_common_close(run->issue.common, run->file_count);
    free(run->workers);
    if (run->issue.recorded.buckets)
        tk_recorded_free(&run->issue.recorded);
    if (run->issue.filling)
        munmap((void *)run->issue.filling, TK_FILLING);
    tk_pool_close(&run->pool);
    tk_results_free(&run->results);
    tk_streams_free(&run->streams);
}

static void look(tk_run *run, tk_progress *progress)
{
    *progress = (tk_progress){0};
    for (int i = 0; i < run->worker_count; i++) {
        const tk_worker *worker = &run->workers[i];
        int64_t late = atomic_load_explicit(&worker->late, memory_order_relaxed);
        progress->done += atomic_load_explicit(&worker->done, memory_order_relaxed);
        progress->bytes += atomic_load_explicit(&worker->bytes, memory_order_relaxed);
        progress->moved += atomic_load_explicit(&worker->moved, memory_order_relaxed);
        progress->busy += atomic_load_explicit(&worker->busy, memory_order_relaxed);
        progress->late = late > progress->late ? late : progress->late;
    }
}

/* Until every thread has ended. What is heard (a signal whose handler raised) stops the run. */
static void supervise(tk_run *run, const tk_replay *replay, tk_guard *guard)
{
    int64_t heard = tk_now_ns();
    uint32_t alive;
    while ((alive = atomic_load(&run->alive)) != 0) {
        tk_futex_wait(&run->alive, alive, tk_now_ns() + LOOK_NS);
        if (atomic_load(&run->results.error))
            tk_run_stop(run, TK_BROKEN);
        tk_guard_look(run, guard);
        tk_worker_relief(run);
        if (tk_now_ns() - heard >= SIGNALS_NS) {
            tk_progress progress;
            look(run, &progress);
            heard = tk_now_ns();
            if (replay->listen && !replay->listen(replay->listener, &progress))
                tk_run_stop(run, TK_ASKED);
        }
    }
}

/* Do what `replay` says. 0, or the errno that kept the run from starting. */
int tk_replay_run(const tk_replay *replay, tk_outcome *outcome)
{
    tk_run run = {0};
    tk_guard guard = {0};
    tk_standstill watch = {0};
    *outcome = (tk_outcome){0};
    int error = open_run(&run, replay);
    if (!error) {
        error = start_threads(&run);
        await_ready(&run);
        outcome->priority_error = replay->realtime && !error ? tk_guard_raise(&run, &guard) : 0;
        outcome->realtime = guard.held;
        if (guard.held)
            tk_standstill_start(&watch);
        run.post.looks = watch.begun;
        begin(&run, guard.held);
        supervise(&run, replay, &guard);
        tk_standstill_end(&watch);
        outcome->sentinels = watch.count;
        tk_standstill_report(&watch, outcome->late_counts, outcome->late);
        tk_guard_lower(&guard);
        for (int i = 0; i < run.worker_count; i++)
            pthread_join(run.workers[i].thread, NULL);
        int unwritten = tk_results_close(&run.results);
        if (unwritten)
            tk_run_stop(&run, TK_BROKEN);
        look(&run, &outcome->progress);
        outcome->workers = run.worker_count;
        outcome->start = run.streams.start;
        outcome->stopped = atomic_load(&run.stop);
        outcome->trouble = unwritten ? unwritten : atomic_load(&run.trouble);
        outcome->peak_ops = run.gate.peak_ops;
        outcome->peak_bytes = run.gate.peak_bytes;
        outcome->unmatched = run.issue.recorded.unmatched;
        outcome->stalls = atomic_load(&run.results.stalls);
        outcome->taken_away = guard.taken_away;
    }
    tk_standstill_free(&watch);
    close_run(&run);
    return error;
}
