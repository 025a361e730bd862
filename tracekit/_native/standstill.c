/* Whether the machine itself stood still. A thread on each core, of a priority above that of all who issue ops, sleeps four
   milliseconds at a time and notes when it was woken much too late. Neither they nor threads without real-time priority can keep it
   from its core; so where those of all cores were late at the same time, the hypervisor, the firmware or whoever stopped the whole process did. The kernel's count of
   stolen time has only what a virtual processor waits for a real one, not what it waits for memory. Times are ns. */
#define _GNU_SOURCE
#include "standstill.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/* What is shorter is no standstill. */
enum { LEAST_NS = 500000 };

/* The longest ones are kept. */
static void note(tk_sentinel *sentinel, int64_t begin, int64_t end)
{
    tk_span *spans = sentinel->spans;
    int32_t at = sentinel->count;
    if (at == TK_SPANS) {
        at = 0;
        for (int32_t i = 1; i < TK_SPANS; i++)
            if (spans[i].end - spans[i].begin < spans[at].end - spans[at].begin)
                at = i;
        if (end - begin <= spans[at].end - spans[at].begin)
            return;
    } else {
        sentinel->count++;
    }
    spans[at] = (tk_span){begin, end};
}

/* All wake at the same moments, so that what they note can be compared. */
static void stand_guard(tk_sentinel *sentinel)
{
    tk_standstill *watch = sentinel->watch;
    int64_t next = watch->begun + TK_SENTINEL_NS;
    while (atomic_load(&watch->over) == 0) {
        tk_futex_wait(&watch->over, 0, next);
        int64_t now = tk_now_ns();
        if (now < next)
            continue;
        if (now - next >= LEAST_NS)
            note(sentinel, next, now);
        next += ((now - next) / TK_SENTINEL_NS + 1) * TK_SENTINEL_NS;
    }
}

static void *sentinel_main(void *argument)
{
    tk_sentinel *sentinel = argument;
    struct sched_param above = {.sched_priority = TK_SENTINEL_PRIORITY}, none = {0};
    cpu_set_t mine;
    CPU_ZERO(&mine);
    CPU_SET(sentinel->core, &mine);
    tk_precise_timers();
    sentinel->able = sched_setaffinity(0, sizeof mine, &mine) == 0 && sched_setscheduler(0, SCHED_FIFO, &above) == 0;
    if (sentinel->able)
        stand_guard(sentinel);
    /* What a thread does at its end may wait for a lock by yielding its core: for ever, where the holder has a lower priority. */
    sched_setscheduler(0, SCHED_OTHER, &none);
    return NULL;
}

/* The cores this process may use; where they are many, some that lie evenly among them. */
static int32_t choose_cores(int *cores)
{
    cpu_set_t ours;
    int32_t chosen = 0;
    if (sched_getaffinity(0, sizeof ours, &ours) < 0)
        return 0;
    int step = (CPU_COUNT(&ours) + TK_SENTINELS - 1) / TK_SENTINELS, met = 0;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &ours) && met++ % step == 0)
            cores[chosen++] = core;
    return chosen;
}

/* Look from now on. A run does not fail for want of it. */
void tk_standstill_start(tk_standstill *watch)
{
    sigset_t all, before;
    int cores[TK_SENTINELS];
    int32_t count = choose_cores(cores);
    watch->begun = tk_now_ns();
    watch->sentinels = calloc((size_t)(count > 0 ? count : 1), sizeof(tk_sentinel));
    if (watch->sentinels == NULL)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (; watch->count < count; watch->count++) {
        tk_sentinel *sentinel = &watch->sentinels[watch->count];
        *sentinel = (tk_sentinel){.watch = watch, .core = cores[watch->count]};
        if (pthread_create(&sentinel->thread, NULL, sentinel_main, sentinel))
            break;
    }
    watch->whole = watch->count == count;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* No longer; a second time does nothing. What was seen stays until tk_standstill_free; it says nothing when a core could not be looked at. */
void tk_standstill_end(tk_standstill *watch)
{
    if (atomic_exchange(&watch->over, 1))
        return;
    tk_futex_wake(&watch->over, TK_SENTINELS);
    for (int32_t i = 0; i < watch->count; i++) {
        pthread_join(watch->sentinels[i].thread, NULL);
        watch->whole = watch->whole && watch->sentinels[i].able;
    }
    if (!watch->whole)
        watch->count = 0;
}

/* What each of them saw. */
void tk_standstill_report(const tk_standstill *watch, int32_t *counts, tk_span (*late)[TK_SPANS])
{
    for (int32_t i = 0; i < watch->count; i++) {
        counts[i] = watch->sentinels[i].count;
        memcpy(late[i], watch->sentinels[i].spans, sizeof late[i]);
    }
}

void tk_standstill_free(tk_standstill *watch)
{
    free(watch->sentinels);
}
