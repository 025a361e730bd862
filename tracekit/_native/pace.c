/* Absolute deadlines on CLOCK_MONOTONIC. Relative sleeps add every overshoot to the next delay and drift without bound;
   an absolute one is late once and then on time again. */
#define _GNU_SOURCE
#include "pace.h"

#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

int64_t tk_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* 0 when the deadline has passed, EINTR when a signal came first. */
int tk_sleep_until(int64_t deadline_ns)
{
    struct timespec due = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

/* The kernel may defer a normal thread's wake-up by its timer slack, 50 us by default (prctl(2), PR_SET_TIMERSLACK).
   The setting belongs to the calling thread. */
int tk_precise_timers(void)
{
    return prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0 ? 0 : errno;
}
