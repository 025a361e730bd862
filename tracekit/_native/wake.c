/* How long before a moment a thread wakes. A sleep ends late by what the machine needs to wake a processor, much the same each
   time, and more after a long sleep. Woken earlier by that, a thread is on time, and looks at the clock only for what is left:
   that costs no more than to be late, up to the point where most of a core's time goes into it. */
#define _GNU_SOURCE
#include "engine.h"

#include <time.h>

enum { LONG_NS = 500000, COLD_NS = 20000, MOST_NS = 60000, LEAST_NS = 3000, WINDOW_NS = 5000000 };
/* A sleep counts for an eighth of what is known, the first ones for more; by so much it may be off, because one that a
   preempted thread slept says little of the machine. */
enum { SLEEPS = 8, CLIP_NS = 8000 };

/* How long before a moment that is `sleep` away: three quarters of what sleeps are late by, because half of them are late by
   less and the rest would be waited for. After a long sleep others have used the core, and what is wanted at the moment is
   looked up in cold caches before it: there is time for that, seldom as it is. For a few microseconds a sleep never pays. */
int64_t tk_wake_early(const tk_wake *wake, int64_t sleep)
{
    if (sleep >= LONG_NS)
        return wake->late[1] + COLD_NS;
    int64_t early = wake->late[0] / (4 * TK_WAKE_PARTS) * 3 * (TK_WAKE_PARTS - wake->less);
    return early > LEAST_NS ? early : LEAST_NS;
}

/* A sleep of `sleep` ended so long after it was to end. */
void tk_wake_ended(tk_wake *wake, int64_t sleep, int64_t late)
{
    bool is_long = sleep >= LONG_NS;
    int64_t off = late - wake->late[is_long], clip = wake->sleeps[is_long] < SLEEPS ? MOST_NS : CLIP_NS;
    if (wake->sleeps[is_long] < SLEEPS)
        wake->sleeps[is_long]++;
    off = off > clip ? clip : off < -clip ? -clip : off;
    wake->late[is_long] += off / wake->sleeps[is_long];
}

static int64_t own_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

/* A thread that hardly sleeps any more must not keep its core to look at the clock: it would lose its real-time priority by
   that. So it looks for a smaller part of the time, down to none. To be called by the thread itself. */
void tk_wake_look(tk_wake *wake, int64_t now)
{
    int64_t span = now - wake->looked;
    if (span < WINDOW_NS)
        return;
    int64_t cpu = own_cpu_ns(), used = cpu - wake->cpu;
    bool first = wake->looked == 0;
    wake->looked = now;
    wake->cpu = cpu;
    if (first)
        return;
    if (used > span / 100 * 85 && wake->less < TK_WAKE_PARTS / 2)
        wake->less = TK_WAKE_PARTS / 2;
    else if (used > span / 100 * 70 && wake->less < TK_WAKE_PARTS)
        wake->less++;
    else if (used < span / 100 * 50 && wake->less > 0)
        wake->less--;
}

/* Wake in time for `moment`; sooner when everybody is to look again. `sleepers` threads wait for moments of their own: then the
   cores rest for no longer than from one of them to the next. */
void tk_wake_for(tk_worker *worker, int64_t moment, uint32_t alarm, int32_t sleepers)
{
    tk_run *run = worker->run;
    int64_t begun = tk_now_ns(), rest = (moment - begun) / (sleepers > 1 ? sleepers : 1);
    int64_t wake = moment - tk_wake_early(&worker->wake, rest);
    if (begun >= wake || atomic_load(&run->alarm) != alarm)
        return;
    tk_futex_wait(&run->alarm, alarm, wake);
    int64_t now = tk_now_ns();
    if (now >= wake)
        tk_wake_ended(&worker->wake, rest, now - wake);
    tk_wake_look(&worker->wake, now);
}

/* For a wait that looks at the clock. */
void tk_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
