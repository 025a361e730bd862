/* A trace compiled: columns to rows in the order of time, what the rows want, and the ops stream by stream. The counterparts
   in Python are tracekit.replay.compile, survey and ops; tests hold the two against each other. */
#ifndef TRACEKIT_COMPILE_H
#define TRACEKIT_COMPILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* tracekit.replay.compile.ROW. A value that is not known is -1. */
typedef struct {
    int64_t t_submit, t_complete, offset, len, ret, sample_id;
    int32_t uri, who, epoch, step, op;
    uint8_t kind, failed, unused[2];
} tk_row;

/* Who issues ops: each combination of pid, tid, worker and rank by a number. */
enum { TK_IDENTITIES = 4 };
typedef struct {
    int32_t (*known)[TK_IDENTITIES];
    int32_t count, capacity;
    int32_t *slots; /* number + 1, 0: empty; a power of two of them */
    uint32_t mask;
} tk_people;

int tk_people_open(tk_people *people);
void tk_people_close(tk_people *people);

/* Columns of a piece of a trace; NULL where it does not have one. The layouts of these three are also those of
   tracekit.replay.core. */
typedef struct {
    const int64_t *t_submit, *t_complete, *offset, *len, *ret, *sample_id;
    const int32_t *uri, *epoch, *step, *op, *err;
    const int32_t *identity[TK_IDENTITIES];
    const int8_t *kinds; /* of each name of an op */
    tk_row *rows;
    int64_t count;
} tk_piece;

int tk_compile_rows(tk_people *people, const tk_piece *piece);

enum { TK_GAPS = 7552 }; /* buckets of tracekit.histogram up to 2^63 */
typedef struct {
    const tk_row *rows;
    const int32_t *streams; /* of each row */
    int64_t count;
    int64_t first; /* number of the first row */
    /* one element per stream */
    int64_t *ops, *start, *end, *largest, *touched, *last_end, *who;
    /* one element per file */
    int64_t *first_change, *first_use, *extent, *written;
    uint8_t *used, *listed;
    int64_t *gaps; /* TK_GAPS counts */
    int64_t *running; /* a heap: when the ops in flight end; room for `in_flight` + `count` of them */
    int64_t in_flight, most_in_flight, busy;
    int64_t overlaps, appended, mappings, mapped, held, most_held, last, kinds, untimed, without_offset;
} tk_survey;

void tk_compile_survey(tk_survey *survey);

typedef struct {
    const tk_row *rows;
    const int32_t *streams;
    int64_t count, first, origin;
    double speed;
    int64_t *next;        /* by stream: where its next op goes */
    int64_t *ended;       /* by stream: when its last op ended, and one; 0: it has not begun */
    const int64_t *leads; /* by stream: the pause before its first op */
    int64_t stream_count;
    int32_t pace; /* enum tk_pace */
    int32_t fd;
} tk_deal;

int tk_compile_deal(tk_deal *deal);

#endif
