/* The watch that one worker keeps for all streams, as the run sees it. */
#ifndef TRACEKIT_POST_H
#define TRACEKIT_POST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tk_run tk_run;
typedef struct tk_worker tk_worker;

typedef struct {
    bool possible;             /* for this plan */
    _Atomic bool permitted;    /* all workers have real-time priority */
    _Atomic bool on;
    uint32_t usual;            /* how many workers take part without it */
    int64_t calm_every;        /* how often one who is idle looks whether who watches is there, ns; 0: never */
    int64_t alert_every;       /* and while he is alert */
    int64_t alert;             /* until when he is, because somebody was not there; under the run's lock */
    int64_t looks;             /* the moment from which the looks are counted: that of the sentinels (standstill.h) */
    int64_t watched;           /* the moment that is watched for, INT64_MAX: none; under the run's lock */
    int missing;               /* how many are wanted for it that were not idle; under the lock */
    int64_t called;            /* when somebody was last called because an op takes long; under the lock */
    _Atomic int64_t help_at;   /* for when those who are called are wanted */
    _Atomic uint32_t call;     /* futex: somebody is called */
    _Atomic int32_t idle;      /* how many can be */
    _Atomic int32_t quick;     /* ops that did not block, as far as others that did have left of them */
} tk_post;

/* -- watch.c -- */
void tk_watch_plan(tk_run *run, bool possible);
bool tk_watch_held(const tk_run *run);
bool tk_watch_awaited(const tk_run *run);
void tk_watch_take(tk_run *run);
void tk_watch_leave(tk_run *run);
bool tk_watch_spend(tk_post *post, bool blocked);
int64_t tk_watch_look(tk_post *post, int64_t now, bool overdue);

/* -- post.c -- */
void tk_post_work(tk_worker *worker);

#endif
