/* Real-time priority, and when it has to go.

   The kernel takes a core away from SCHED_FIFO threads that keep it busy for 95 % of a second (sched(7), and the fair
   server of newer kernels): 50 ms of standstill. So the priority goes when a thread, or all of them together, used more than
   nine tenths of a window, and comes back after a second of less than eight: more than a thread uses that looks at the
   clock for as long as it may (wake.c). */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

enum { WINDOW_NS = 100000000 };
enum { PRIORITY = 1 };

/* One thread after the other, a ring's helpers last: its id, 0 where there is none, and where its CPU time is kept. */
static int32_t thread_at(tk_run *run, int at, int64_t **cpu)
{
    bool worker = at < run->worker_count;
    tk_helper *helper = worker ? NULL : &run->helpers[at - run->worker_count];
    *cpu = worker ? &run->workers[at].cpu : &helper->cpu;
    return atomic_load(worker ? &run->workers[at].tid : &helper->tid);
}

static int set_policy(tk_run *run, int policy)
{
    struct sched_param parameter = {.sched_priority = policy == SCHED_FIFO ? PRIORITY : 0};
    int64_t *cpu;
    for (int i = 0; i < run->worker_count + TK_HELPERS; i++) {
        int32_t tid = thread_at(run, i, &cpu);
        if (tid && sched_setscheduler(tid, policy, &parameter) < 0 && errno != ESRCH)
            return errno;
    }
    return 0;
}

/* What threads have without it: that of whoever called, unless it is real-time priority too. */
static int plain_policy(const tk_guard *guard)
{
    return guard->policy == SCHED_BATCH || guard->policy == SCHED_IDLE ? guard->policy : SCHED_OTHER;
}

/* Raise every thread, and this one above them: the errno when that is not permitted. */
int tk_guard_raise(tk_run *run, tk_guard *guard)
{
    struct sched_param above = {.sched_priority = PRIORITY + 1};
    guard->policy = sched_getscheduler(0);
    sched_getparam(0, &guard->parameter);
    int error = set_policy(run, SCHED_FIFO);
    if (!error && sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &above) < 0)
        error = errno;
    if (error)
        set_policy(run, plain_policy(guard));
    guard->held = guard->wanted = error == 0;
    guard->checked = guard->calm_since = tk_now_ns();
    return error;
}

void tk_guard_lower(tk_guard *guard)
{
    if (guard->wanted)
        sched_setscheduler(0, guard->policy, &guard->parameter);
}

/* By the thread's number, because a helper may be gone at any time; 0 then. */
static int64_t cpu_time(int32_t tid)
{
    clockid_t clock = (clockid_t)((~(unsigned)tid << 3) | 6); /* as pthread_getcpuclockid makes it: scheduled time of a thread */
    struct timespec used;
    if (tid == 0 || clock_gettime(clock, &used))
        return 0;
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

void tk_guard_look(tk_run *run, tk_guard *guard)
{
    int64_t now = tk_now_ns(), span = now - guard->checked, most = 0, sum = 0;
    if (!guard->wanted || span < WINDOW_NS)
        return;
    for (int i = 0; i < run->worker_count + TK_HELPERS; i++) {
        int64_t *before, cpu = cpu_time(thread_at(run, i, &before)), used = cpu > *before ? cpu - *before : 0;
        *before = cpu;
        most = used > most ? used : most;
        sum += used;
    }
    guard->checked = now;
    bool busy = most > span / 10 * 9 || sum > span / 10 * 9 * run->cores;
    bool calm = most < span / 10 * 8 && sum < span / 10 * 8 * run->cores;
    if (!calm)
        guard->calm_since = now;
    if (guard->held && busy) {
        set_policy(run, plain_policy(guard));
        guard->held = false;
        guard->taken_away++;
        atomic_store(&run->post.permitted, false);
        tk_watch_leave(run);
        tk_run_call(run, tk_run_first(run, false));
    } else if (!guard->held && now - guard->calm_since > 1000000000) {
        guard->held = set_policy(run, SCHED_FIFO) == 0;
        atomic_store(&run->post.permitted, guard->held);
    }
}
