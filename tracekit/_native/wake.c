/* How long before a moment a thread wakes. A sleep ends late by what the machine needs to wake a processor, much the same each
   time, and more after a long sleep. Woken earlier by that, a thread is on time, and looks at the clock only for what is left:
   that costs no more than to be late, up to the point where most of a core's time goes into it. */
#define _GNU_SOURCE
#include "engine.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { LONG_NS = 500000, COLD_NS = 20000, MOST_NS = 60000, LEAST_NS = 3000, WINDOW_NS = 5000000 };
/* A sleep counts for an eighth of what is known, the first ones for more; by so much it may be off, because one that a
   preempted thread slept says little of the machine. */
enum { SLEEPS = 8, CLIP_NS = 8000 };

/* What a short sleep is late by, as far as a thread that hardly sleeps any more may look at the clock for it. */
static int64_t affordable(const tk_wake *wake)
{
    return wake->late[0] / TK_WAKE_PARTS * (TK_WAKE_PARTS - wake->less);
}

/* How long before a moment that is `sleep` away: half of what sleeps are late by, because half of them are late by less and the
   rest would be waited for: with five eighths an op at 20,000 a second took 0.3 us more CPU time and was 2 us less
   late. After a long sleep others have used the core, and what is wanted at the moment is looked up in cold caches
   before it: there is time for that, seldom as it is. For a few microseconds a sleep never pays. */
int64_t tk_wake_early(const tk_wake *wake, int64_t sleep)
{
    if (sleep >= LONG_NS)
        return wake->late[1] + COLD_NS;
    int64_t early = affordable(wake) / 2;
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
   that. So it looks for a smaller part of the time, down to none. 76 % is where it must begin for a thread that issues 100,000 cached reads a
   second not to be late by a wake-up. To be called by the thread itself. */
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
    else if (used > span / 100 * 76 && wake->less < TK_WAKE_PARTS)
        wake->less++;
    else if (used < span / 100 * 50 && wake->less > 0)
        wake->less--;
}

/* -- timers set ahead --

   A sleep sets a timer. Where it is the next one to expire, the processor's clock must be set for it, and a virtual processor asks
   the hypervisor to do that: half of what a wake-up costs. But when a timer expires the clock is set for the next one anyhow. So
   before a sleep the timer for the one behind it is set: it is not the first then, and when that sleep comes, the clock has been
   set. Such a timer wakes nobody; a sleep until the same moment finds it there. One for a moment that nobody sleeps until costs an
   interrupt, so only what is all but certain is set ahead (tk_streams_foresee). */

enum { DEAR_NS = 5000 }; /* where sleeps end less late than that, to set the clock is cheap */
enum { SAME_NS = 3000 };

static void open_timers(tk_wake *wake)
{
    for (int i = 0; i < 2; i++)
        wake->timers[i] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    wake->opened = true;
}

void tk_wake_close(tk_wake *wake)
{
    for (int i = 0; i < 2 && wake->opened; i++)
        if (wake->timers[i] >= 0)
            close(wake->timers[i]);
}

/* When to wake for a moment that is `sleep` away: where a timer is set ahead for about then, at that. */
int64_t tk_wake_at(const tk_wake *wake, int64_t moment, int64_t sleep)
{
    int64_t at = moment - tk_wake_early(wake, sleep), off = at - wake->ahead;
    return off < SAME_NS && -off < SAME_NS ? wake->ahead : at;
}

/* How far a moment must be away for a sleep to pay. One whose timer is not set ahead has two calls of the hypervisor in its CPU time, one to
   set the clock and one to set it again when it has rung, and ends late by what they take: in all it costs about as much as it is
   late by, and to look at the clock for so long costs no more and is on time. */
int64_t tk_wake_pays(const tk_wake *wake, int64_t moment)
{
    int64_t early = tk_wake_early(wake, 0), cost = affordable(wake);
    bool is_ahead = tk_wake_at(wake, moment, 0) == wake->ahead;
    return is_ahead || wake->late[0] < DEAR_NS || cost < early ? early : cost;
}

/* After the next sleep there will be one for `moment`. */
void tk_wake_ahead(tk_wake *wake, int64_t moment)
{
    int64_t at = tk_wake_at(wake, moment, 0);
    struct itimerspec when = {.it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
    if (at == wake->ahead || wake->late[0] < DEAR_NS)
        return;
    if (!wake->opened)
        open_timers(wake);
    int timer = wake->timers[0];
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL))
        return;
    wake->timers[0] = wake->timers[1];
    wake->timers[1] = timer;
    wake->ahead = at;
}

/* How far a moment must lie behind the one before it that a thread surely sleeps in between, if an op takes `takes`. */
int64_t tk_wake_apart(const tk_wake *wake, int64_t takes)
{
    return wake->late[0] + 2 * takes;
}

/* Wake in time for `moment`; sooner when everybody is to look again. `sleepers` threads wait for moments of their own: then the
   cores rest for no longer than from one of them to the next. `after`: the moment of the sleep behind this one, 0: not known. */
void tk_wake_for(tk_worker *worker, int64_t moment, int64_t after, uint32_t alarm, int32_t sleepers)
{
    tk_run *run = worker->run;
    int64_t begun = tk_now_ns(), rest = (moment - begun) / (sleepers > 1 ? sleepers : 1);
    int64_t wake = tk_wake_at(&worker->wake, moment, rest);
    if (begun >= wake || atomic_load(&run->alarm) != alarm)
        return;
    if (after)
        tk_wake_ahead(&worker->wake, after);
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
