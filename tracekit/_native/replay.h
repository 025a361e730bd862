/* The engine as others see it: what a run needs and what it answers. */
#ifndef TRACEKIT_REPLAY_H
#define TRACEKIT_REPLAY_H

#include "engine.h"
#include "standstill.h"

typedef struct {
    int64_t done;
    int64_t bytes; /* asked of the system */
    int64_t moved; /* delivered */
    int64_t busy;  /* ns spent in ops, all together */
    int64_t late;  /* most of the threads' last ops, ns */
} tk_progress;

typedef struct {
    enum tk_how how;
    enum tk_pace pace;
    const tk_op *ops;
    int64_t op_count;
    const tk_stream *streams;
    int32_t stream_count;
    const tk_file *files;
    int32_t file_count;
    tk_result *results; /* a row for each op and repetition; NULL: records go to results_fd as they come */
    int results_fd;
    int32_t chunks;     /* how many chunks of TK_CHUNK records may wait for that file */
    int64_t turns, period;
    int64_t start_at;           /* the earliest start on CLOCK_MONOTONIC; 0: at once */
    int64_t max_ops, max_bytes; /* 0: no cap */
    int64_t max_errors;         /* -1: never stop */
    int32_t workers;
    int32_t handles;     /* kept open at once: native by each stream, uring by all */
    int64_t keys;        /* how many different ones are asked for at most, in the same sense */
    int64_t spare_bytes; /* destination memory that may be kept while not in use */
    bool in_order; /* issue order is kept across streams */
    bool release;  /* `ops` is a mapped file: pages are given back behind us */
    bool realtime; /* SCHED_FIFO where it is permitted */
    bool helped;   /* there are ops that are no reads */
    bool recorded; /* this process is being recorded: what a descriptor's number means must be the same for all threads */
    /* Called from the calling thread eight times a second; false stops the run. */
    bool (*listen)(void *listener, const tk_progress *progress);
    void *listener;
} tk_replay;

/* Also tracekit.replay.native.OUTCOME. */
typedef struct {
    int64_t start; /* the run's t0 */
    int32_t stopped; /* enum tk_stop */
    int32_t trouble; /* errno: why it broke */
    int32_t workers;
    int32_t realtime;       /* whether the threads got real-time priority */
    int32_t priority_error; /* errno: why not */
    int32_t taken_away;     /* how often the guard took it away */
    int64_t peak_ops, peak_bytes, unmatched, stalls;
    tk_progress progress;
    int32_t sentinels; /* cores that were looked at for standstills; 0: nobody looked */
    int32_t unused;
    int32_t late_counts[TK_SENTINELS];
    tk_span late[TK_SENTINELS][TK_SPANS]; /* when each was kept waiting */
} tk_outcome;

int tk_replay_run(const tk_replay *replay, tk_outcome *outcome);

#endif
