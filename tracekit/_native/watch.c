/* Whether one worker watches for all streams (post.c), or each waits for moments of its own (workers.c).

   The watch is for reads that do not block, and it is paid for by them: one that blocked costs what many earned that did not. When
   more is to be paid than there is the watch is over, and once enough has been earned without it, it is taken up again. Whether a read
   blocks is asked for with RWF_NOWAIT, in the watch and without it, and not told from how long it took: for minutes on end reads of
   cached pages can take ten times as long as they should where a hypervisor has to find the memory first, and one by one they do when
   it takes the processor away. Not every file system answers that question rightly, so a read that was much too slow counts, too, but
   for little; and while all who take part are in reads that do not end the supervisor ends the watch (tk_worker_relief). */
#define _GNU_SOURCE
#include "engine.h"
#include "standstill.h"

#include <limits.h>

/* What a read that blocks costs, and one that was only slow: took more than so many ns, and one more for each byte. With so much earned
   the watch is taken up; more than that is not kept. What it begins with lets a few block while nothing is known yet. */
enum { BLOCKED_COSTS = 256, SLOW_COSTS = 32, SLOW_NS = 100000, QUICK_OPS = 4096, FIRST_QUICK = 4 * BLOCKED_COSTS };
/* Who is idle looks now and then whether who watches is there. A look costs as much as to be woken for an op, or a fifth of that where the same
   interrupt wakes a sentinel: so his looks are parts of a sentinel's period, and mostly the whole of it. He looks more often where ops are so
   close that many would be overdue meanwhile, and where they are far apart: then when one would be (post.c), hence not more than once for
   each. Where a core was taken away it will be again: he is then alert for so long, and for half of that at the start, until something
   is known of the machine. */
enum { CLOSE_NS = 31250, FAR_NS = 400000, ALERT_NS = 500000000 };

/* How often, where ops are so far apart. */
static void plan_looks(tk_post *post, int64_t apart)
{
    if (apart >= CLOSE_NS && apart <= FAR_NS) {
        post->alert_every = TK_SENTINEL_NS / 4;
        post->calm_every = TK_SENTINEL_NS;
    } else {
        post->alert_every = TK_SENTINEL_NS / (apart < CLOSE_NS ? 8 : 16);
        post->calm_every = 2 * post->alert_every;
    }
}

/* Whether there can be a watch, and how often those who are idle look after who keeps it. That takes a second worker on another core. */
void tk_watch_plan(tk_run *run, bool possible)
{
    cpu_set_t ours;
    int64_t ops = run->streams.op_count > 0 ? run->streams.op_count : 1, apart = run->streams.period / ops;
    run->post.possible = possible;
    if (!possible || sched_getaffinity(0, sizeof ours, &ours) < 0 || CPU_COUNT(&ours) < 2)
        return;
    plan_looks(&run->post, apart);
    if (run->worker_count < 2)
        run->worker_count = 2;
}

bool tk_watch_held(const tk_run *run)
{
    return atomic_load_explicit(&run->post.on, memory_order_acquire);
}

/* Whether it may be taken up again. */
bool tk_watch_awaited(const tk_run *run)
{
    return run->post.possible && atomic_load_explicit(&run->post.permitted, memory_order_relaxed);
}

static void set_active(tk_run *run, uint32_t count)
{
    uint32_t active = atomic_load(&run->active);
    while (active != INT_MAX && !atomic_compare_exchange_weak(&run->active, &active, count))
        ;
}

/* Everybody looks again at what is to be done. */
static void rouse(tk_run *run)
{
    atomic_fetch_add(&run->post.call, 1);
    atomic_fetch_add(&run->alarm, 1);
    atomic_fetch_add(&run->bell, 1);
    tk_futex_wake(&run->post.call, INT_MAX);
    tk_futex_wake(&run->alarm, INT_MAX);
    tk_futex_wake(&run->bell, INT_MAX);
}

void tk_watch_take(tk_run *run)
{
    uint32_t count = (uint32_t)(run->worker_count < run->cores ? run->worker_count : run->cores);
    if (!run->post.possible || atomic_load(&run->stop) != TK_RUNNING)
        return;
    tk_lock_take(&run->lock);
    run->post.watched = INT64_MAX;
    run->post.called = 0;
    run->post.alert = tk_now_ns() + ALERT_NS / 2;
    atomic_store(&run->post.quick, FIRST_QUICK);
    atomic_store(&run->post.on, true);
    tk_lock_leave(&run->lock);
    atomic_store(&run->least, count);
    set_active(run, count);
    rouse(run);
}

/* From now on every worker waits for a moment of its own. */
void tk_watch_leave(tk_run *run)
{
    if (!atomic_exchange(&run->post.on, false))
        return;
    atomic_store(&run->post.quick, 0);
    tk_run_call(run, run->post.usual);
    rouse(run);
}

/* A read blocked, or was only slow; false: that was not earned. */
bool tk_watch_spend(tk_post *post, bool blocked)
{
    int32_t costs = blocked ? BLOCKED_COSTS : SLOW_COSTS, had = atomic_load_explicit(&post->quick, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&post->quick, &had, had > costs ? had - costs : 0, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
    return had >= costs;
}

static bool earn(tk_post *post)
{
    return atomic_load_explicit(&post->quick, memory_order_relaxed) < QUICK_OPS &&
           atomic_fetch_add_explicit(&post->quick, 1, memory_order_relaxed) + 1 == QUICK_OPS;
}

/* A read is over that did not have another worker watch. */
void tk_watch_count(tk_run *run, const tk_result *result, bool blocked)
{
    bool held = tk_watch_held(run);
    if (blocked || tk_took_longer(result, SLOW_NS)) {
        if (!tk_watch_spend(&run->post, blocked) && held)
            tk_watch_leave(run);
    } else if (earn(&run->post) && !held) {
        tk_watch_take(run);
    }
}

/* When who is idle looks again, having seen whether an op was overdue; the more are idle the later. 0: never. Under the lock. */
int64_t tk_watch_look(tk_post *post, int64_t now, bool overdue)
{
    if (!post->calm_every)
        return 0;
    if (overdue)
        post->alert = now + ALERT_NS;
    int64_t every = now < post->alert ? post->alert_every : post->calm_every;
    int64_t soon = now + every * atomic_load_explicit(&post->idle, memory_order_relaxed) - every / 2;
    return post->looks + ((soon - post->looks) / every + 1) * every;
}
