/* Whether the machine itself stood still during a run. */
#ifndef TRACEKIT_STANDSTILL_H
#define TRACEKIT_STANDSTILL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Between two looks, ns. Not a whole number of anything that schedules are made of. */
enum { TK_SENTINEL_NS = 3937000 };
enum { TK_SENTINELS = 16, TK_SPANS = 64 };
enum { TK_SENTINEL_PRIORITY = 2 }; /* that of the supervisor (guard.c), which whoever has real-time priority may have */
typedef struct {
    int64_t begin, end;
} tk_span;
typedef struct tk_standstill tk_standstill;
typedef struct {
    tk_standstill *watch;
    pthread_t thread;
    int core;
    bool able; /* it got its core and its priority */
    int32_t count;
    tk_span spans[TK_SPANS]; /* from when it should have been woken to when it was */
} tk_sentinel;
struct tk_standstill {
    tk_sentinel *sentinels;
    int32_t count;
    bool whole; /* every core is looked at that was to be */
    int64_t begun;
    _Atomic uint32_t over; /* futex */
};
void tk_standstill_start(tk_standstill *watch);
void tk_standstill_end(tk_standstill *watch);
void tk_standstill_report(const tk_standstill *watch, int32_t *counts, tk_span (*late)[TK_SPANS]);
void tk_standstill_free(tk_standstill *watch);

#endif
