/* What a worker who takes part in the watch has taken: ops that it issues one after another, and the streams they were of. */
#ifndef TRACEKIT_HAND_H
#define TRACEKIT_HAND_H

#include "engine.h"

enum { TK_HAND = 6 };
typedef struct {
    tk_claim claims[TK_HAND];
    int count, next;       /* how many there are, and how many of them were begun */
    int32_t back[TK_HAND]; /* streams that have an op to issue again */
    int backs;
} tk_hand;

void tk_hand_put_back(tk_run *run, tk_hand *hand);                                              /* post.c */
void tk_post_step_aside(tk_run *run, tk_hand *hand);                                            /* post.c */
bool tk_cached_issue(tk_worker *worker, tk_hand *hand, int64_t now, bool busy, int64_t *complete); /* cached.c */

#endif
