/* Threads that do for a ring what would hold it up: ops on names, changes, mappings. */
#ifndef TRACEKIT_HELPERS_H
#define TRACEKIT_HELPERS_H

#include "engine.h"
#include "ring.h"

/* One stream's op, from when it is known to when it is done. A stream has one at a time. */
typedef struct tk_flight {
    struct tk_flight *next; /* in the queue, or in a helper's list */
    tk_claim claim;
    tk_aim aim;
    tk_result result;
    tk_buffer buffer;
    int64_t key, ready, weight;
} tk_flight;

typedef struct {
    tk_flight *first, *last;
} tk_queue;

typedef struct {
    tk_run *run;
    pthread_t threads[TK_HELPERS];
    int count;
    _Atomic uint32_t places, here; /* threads that have begun; futex: and are known to the run */
    pthread_mutex_t lock; /* guards the two lists below */
    pthread_cond_t work;
    tk_queue to_do, done;
    bool over;
    int64_t busy; /* how many ops they have; the ring's */
    int bell;     /* eventfd: one is done */
    uint64_t bell_count;
    bool listening; /* the ring waits for the bell */
} tk_helpers;

void tk_queue_append(tk_queue *line, tk_flight *one);
tk_flight *tk_queue_take(tk_queue *line);
void tk_helpers_open(tk_helpers *helpers, tk_run *run);
int tk_helpers_start(tk_helpers *helpers);
void tk_helpers_give(tk_helpers *helpers, tk_flight *one);
void tk_helpers_listen(tk_helpers *helpers, tk_ring *ring, uint64_t whose);
tk_flight *tk_helpers_take(tk_helpers *helpers);
void tk_helpers_close(tk_helpers *helpers);

#endif
