/* One worker keeps watch for all streams, and others are called when it alone would be late.

   Reads that the page cache serves take a microsecond or two. A thread that waits for each of them wakes a processor each
   time, and the wake-up costs ten times the read. So where all threads have real-time priority, whoever is free watches for
   the next moment, claims what is due then and issues it himself; nobody holds a claim while he sleeps, so whoever is awake
   at that moment has the op. Others sleep until they are called: because several ops will be due at one moment (they then wake
   by a timer of their own, not by an interrupt from here), because an op takes longer than the next can wait, or because
   what is due has piled up.

   A core may be taken away from who watches, by the hypervisor or by a part of the kernel that lets nobody in: for milliseconds,
   mostly one core alone. So every worker keeps to a core of its own, and while one watches another who is idle looks now and then
   whether an op is overdue. It then watches in the other's place; he finds that out when he is back. Only the op that he had begun
   waits for him, and those behind it in its stream.

   It holds as long as hardly a read blocks (watch.c). Reads are asked for with RWF_NOWAIT; for one that would block somebody is called
   to watch meanwhile. When there is nobody, or there were too many of them, the watch is over: the workers wait each for a moment of
   their own (workers.c). Times are ns. */
#define _GNU_SOURCE
#include "hand.h"

#include <limits.h>
#include <sched.h>

/* What a cached read takes, to tell beforehand who will be late; no result depends on it. */
enum { READ_NS = 1500, BYTES_PER_NS = 8 };
/* What one worker does alone, because nobody who is called would come before that is done; the span before a moment whose ops
   are looked at together; how long somebody who was called may take to come. */
enum { ALONE_NS = 20000, CROWD_NS = 20000, COMING_NS = 30000 };
/* How much a worker takes at once in a burst: the lock and what it guards then go from core to core once for several ops. */
enum { HAND_NS = TK_HAND * READ_NS };
/* So long after its moment an op is overdue. */
enum { GONE_NS = 100000 };

enum next { OVER, CLAIMED, WATCH, HELP, IDLE };
typedef struct {
    enum next what;
    int64_t now;
    int64_t until; /* what to watch for */
    int64_t after; /* and, as far as that is known, what then; 0: not known */
    uint32_t seen; /* of the calls */
    int helpers;   /* how many to call */
} step;

/* -- who is to do what; under the lock -- */

static int64_t cost(uint32_t length)
{
    return READ_NS + length / BYTES_PER_NS;
}

/* What the ops in the heap take that are due up to `until`, as far as that is below `enough`. */
static int64_t load_until(const tk_heap *heap, int32_t at, int64_t until, int64_t enough)
{
    if (at >= heap->count || enough <= 0 || heap->entries[at].key > until)
        return 0;
    int64_t load = cost(heap->entries[at].length);
    load += load_until(heap, 2 * at + 1, until, enough - load);
    return load + load_until(heap, 2 * at + 2, until, enough - load);
}

static void want_help(tk_run *run, step *next, int64_t at, int count)
{
    int idle = atomic_load_explicit(&run->post.idle, memory_order_relaxed);
    next->helpers = count < idle ? count : idle;
    atomic_store_explicit(&run->post.help_at, at, memory_order_relaxed);
}

/* Take what is due, and several where so much has piled up that every core has as many. When that will be done. */
static int64_t take_in_hand(tk_run *run, tk_hand *hand, int64_t now)
{
    tk_heap *heap = &run->streams.heap;
    int64_t enough = HAND_NS * (int64_t)run->cores, share = load_until(heap, 0, now, enough) >= enough ? HAND_NS : 0;
    int64_t ends = heap->entries[0].key > now ? heap->entries[0].key : now, begun = ends;
    hand->count = hand->next = 0;
    do {
        tk_entry entry = tk_heap_pop(heap);
        ends += cost(entry.length);
        hand->claims[hand->count++].stream = entry.stream;
    } while (hand->count < TK_HAND && ends - begun < share && heap->count && heap->entries[0].key <= now);
    return ends;
}

/* Who comes from an op and finds another one long overdue has reads that take longer than was thought: he is not to do what is due alone. Who was
   woken late has nothing against him but that, and what a wake-up costs does two or three ops. */
static void claim_due(tk_worker *worker, tk_hand *hand, step *next, bool busy)
{
    tk_run *run = worker->run;
    tk_post *post = &run->post;
    int64_t now = next->now, ends = take_in_hand(run, hand, now);
    const tk_entry *after = tk_streams_top(&run->streams);
    next->what = CLAIMED;
    int64_t alone = worker->wake.less == TK_WAKE_PARTS ? ALONE_NS / 2 : ALONE_NS; /* two busy cores are better than a full one */
    if (after == NULL || after->key > ends || after->key >= post->watched || now - post->called < COMING_NS)
        return;
    int64_t takes = ends - now;
    if ((busy && now - after->key > COMING_NS) || takes + load_until(&run->streams.heap, 0, ends, alone) >= alone) {
        post->called = now;
        want_help(run, next, after->key > now ? after->key : now, 1);
    }
}

static void watch_for(tk_worker *worker, step *next, int64_t key)
{
    tk_run *run = worker->run;
    int64_t enough = ALONE_NS * (int64_t)run->cores;
    next->what = WATCH;
    next->until = run->post.watched = key;
    next->after = tk_streams_foresee(&run->streams, key, tk_wake_apart(&worker->wake, READ_NS));
    int64_t load = load_until(&run->streams.heap, 0, key + CROWD_NS, enough);
    if (load < ALONE_NS)
        return;
    int count = load >= enough ? run->cores - 1 : (int)(load / ALONE_NS);
    want_help(run, next, key, count);
    run->post.missing = count - next->helpers; /* whoever becomes idle until then */
    run->post.called = key; /* they come by themselves */
}

/* Streams in hand go back into the heap, with the ops that were not begun. */
void tk_hand_put_back(tk_run *run, tk_hand *hand)
{
    for (; hand->count > hand->next; hand->count--)
        tk_streams_push(&run->streams, hand->claims[hand->count - 1].stream);
    for (; hand->backs > 0; hand->backs--)
        tk_streams_push(&run->streams, hand->back[hand->backs - 1]);
}

/* `watched`: what this worker has watched for, 0: nothing. `awake`: the moments it is awake for go up to this one. `busy`: it comes from an op. */
static step next_step(tk_worker *worker, tk_hand *hand, int64_t watched, int64_t awake, bool busy)
{
    tk_run *run = worker->run;
    step next = {.what = IDLE};
    tk_lock_take(&run->lock);
    tk_hand_put_back(run, hand);
    next.now = tk_now_ns();
    if (run->post.watched == watched || next.now - run->post.watched > GONE_NS) {
        run->post.watched = INT64_MAX;
        run->post.missing = 0;
    }
    const tk_entry *top = tk_streams_top(&run->streams);
    if (!tk_watch_held(run))
        next.what = OVER;
    else if (top && (top->key <= awake || top->key - next.now <= tk_wake_pays(&worker->wake, top->key)))
        claim_due(worker, hand, &next, busy);
    else if (top && top->key < run->post.watched)
        watch_for(worker, &next, top->key);
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
    tk_wake_for(worker, wanted, 0, alarm, 1);
    return wanted + CROWD_NS;
}

/* Whether an op is overdue: who watches, or had it in hand, has lost his core. If not, when to look again, 0: never; the more are idle
   the later, and not before what is watched for would be overdue. */
static bool is_overdue(tk_run *run, int64_t *look)
{
    tk_post *post = &run->post;
    tk_lock_take(&run->lock);
    const tk_entry *top = tk_streams_top(&run->streams);
    int64_t now = tk_now_ns(), late = post->watched == INT64_MAX ? 0 : post->watched + GONE_NS;
    bool overdue = post->calm_every && top && now - top->key > GONE_NS;
    *look = tk_watch_look(post, now, overdue);
    tk_lock_leave(&run->lock);
    if (*look && late > *look)
        *look = late;
    return overdue;
}

/* Until somebody calls, or nobody else is there. */
static int64_t await_help(tk_worker *worker, uint32_t seen, uint32_t alarm)
{
    tk_run *run = worker->run;
    tk_post *post = &run->post;
    int64_t look;
    bool overdue;
    while (!(overdue = is_overdue(run, &look)) && atomic_load(&post->call) == seen)
        tk_futex_wait(&post->call, seen, look);
    atomic_fetch_sub(&post->idle, 1);
    return tk_watch_held(run) && !overdue ? come(worker, alarm) : 0;
}

static void call(tk_run *run, int count)
{
    atomic_fetch_add(&run->post.call, 1);
    tk_futex_wake(&run->post.call, count);
}

/* This worker is going to block: another one watches and does what it has in hand, or the watch is over. */
void tk_post_step_aside(tk_run *run, tk_hand *hand)
{
    tk_lock_take(&run->lock);
    tk_hand_put_back(run, hand);
    int idle = atomic_load_explicit(&run->post.idle, memory_order_relaxed);
    bool rare = tk_watch_spend(&run->post, true);
    atomic_store_explicit(&run->post.help_at, 0, memory_order_relaxed);
    tk_lock_leave(&run->lock);
    if (idle > 0 && rare)
        call(run, 1);
    else
        tk_watch_leave(run);
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

/* The op is done; its stream is kept in hand if it has another one to issue. */
static void go_on(tk_worker *worker, tk_hand *hand, int32_t stream, int64_t complete)
{
    tk_run *run = worker->run;
    if (tk_streams_next(&run->streams, stream, complete)) {
        if (!run->opened)
            aim_ahead(worker, stream);
        hand->back[hand->backs++] = stream;
        return;
    }
    tk_lock_take(&run->lock);
    tk_streams_end(&run->streams, stream, complete);
    bool over = run->streams.unfinished == 0;
    tk_lock_leave(&run->lock);
    if (over)
        tk_run_finish(run);
}

/* Look up the ops in hand; what they need is fetched side by side. */
static void look_at(const tk_run *run, tk_hand *hand)
{
    for (int i = 1; i < hand->count; i++) {
        __builtin_prefetch(&run->streams.states[hand->claims[i].stream]);
        __builtin_prefetch(&run->handles[hand->claims[i].stream]);
    }
    for (int i = 0; i < hand->count; i++)
        tk_streams_look(&run->streams, hand->claims[i].stream, &hand->claims[i]);
    for (int i = 1; i < hand->count; i++) {
        const tk_claim *claim = &hand->claims[i];
        tk_aim_prefetch(&run->issue, &run->handles[claim->stream], tk_key(&run->issue, claim->stream, claim->op), claim->op);
    }
}

/* Issue what is in hand; false when the run was stopped before. */
static bool issue_all(tk_worker *worker, tk_hand *hand, int64_t now, bool busy)
{
    look_at(worker->run, hand);
    for (; hand->next < hand->count; busy = true) {
        int32_t stream = hand->claims[hand->next].stream;
        if (!tk_cached_issue(worker, hand, now, busy, &now))
            return false;
        go_on(worker, hand, stream, now);
    }
    return true;
}

static void take_part(tk_worker *worker)
{
    tk_run *run = worker->run;
    int64_t watched = 0, awake = 0;
    bool busy = false;
    tk_hand hand = {0};
    for (;;) {
        uint32_t alarm = atomic_load(&run->alarm);
        if (atomic_load_explicit(&run->stop, memory_order_relaxed) != TK_RUNNING)
            return;
        step next = next_step(worker, &hand, watched, awake, busy);
        watched = awake = 0;
        if (next.what == OVER)
            return;
        if (next.helpers > 0)
            call(run, next.helpers);
        if (next.what == WATCH)
            tk_wake_for(worker, watched = awake = next.until, next.after, alarm, 1);
        else if (next.what == HELP)
            awake = come(worker, alarm);
        else if (next.what == IDLE)
            awake = await_help(worker, next.seen, alarm);
        else if (!issue_all(worker, &hand, next.now, busy))
            return;
        busy = next.what == CLAIMED;
    }
}

/* Keep to one of the cores that the process may use. */
static void settle(const tk_worker *worker, const cpu_set_t *ours)
{
    cpu_set_t mine;
    int left = (int)worker->index % CPU_COUNT(ours), core = 0;
    while (!CPU_ISSET(core, ours) || left-- > 0)
        core++;
    CPU_ZERO(&mine);
    CPU_SET(core, &mine);
    sched_setaffinity(0, sizeof mine, &mine);
}

/* Take part until the watch is over. */
void tk_post_work(tk_worker *worker)
{
    cpu_set_t ours;
    tk_worker_await_call(worker);
    bool known = sched_getaffinity(0, sizeof ours, &ours) == 0 && CPU_COUNT(&ours) > 1;
    if (known)
        settle(worker, &ours);
    take_part(worker);
    tk_pool_give(&worker->run->pool, &worker->large);
    if (known)
        sched_setaffinity(0, sizeof ours, &ours);
}
