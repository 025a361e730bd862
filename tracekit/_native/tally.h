/* What is added up over the ops of a trace: the loops that NumPy needs a sort for, or many passes. Codes (files, streams) are from 0
   and below the length of the arrays that they count in; the caller has seen to that. */
#ifndef TRACEKIT_TALLY_H
#define TRACEKIT_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -1 stands for "not known", as everywhere in a trace. */
enum { TK_NULL = -1 };

/* What is known of the read before one in its group: none, one of another file, one of the same file. */
enum tk_before { TK_FIRST, TK_OTHER, TK_SAME };

typedef struct {
    int64_t count;
    const int64_t *group, *uri, *offset, *end;
    int64_t *last_uri, *last_end; /* of each group; -1 where it has none */
    int64_t *gap;                 /* from the end of the read before to the start of this one; 0 where there is none */
    uint8_t *before;
} tk_follow_job;

void tk_follow(const tk_follow_job *job);

/* Lengths of runs that end, of reads in order of time; `open` has the length so far of each file's. Returns how many ended. */
int64_t tk_runs(const int64_t *uri, const uint8_t *follows, int64_t count, int64_t *open, int64_t *lengths);

typedef struct {
    int64_t lowest, highest;
    uint64_t sum_high, sum_low;
    bool negative;
} tk_counted;

/* Count values by bucket (tracekit/histogram.py); `counts` has room for TK_BUCKETS. */
enum { TK_SUB_BITS = 7, TK_BUCKETS = (64 - TK_SUB_BITS) << TK_SUB_BITS };
void tk_histogram(const int64_t *values, int64_t count, int64_t *counts, tk_counted *counted);

/* Count times (ns, not negative) of keys: `width` buckets for each, 2^bits an octave; what is beyond them is in the last. */
void tk_keyed_times(const int64_t *keys, const int64_t *times, int64_t count, int bits, int64_t width, int64_t *counts);
/* The bucket of each key at which as many are counted as its rank says. */
void tk_keyed_ranks(const int64_t *counts, int64_t width, const int64_t *keys, const int64_t *ranks, int64_t count,
                    int64_t *buckets);
/* Count ops (sizes above 0, times in ns not below) by the powers of two of their sizes and of their microseconds. */
void tk_power_cells(const int64_t *sizes, const int64_t *times, int64_t count, int64_t classes, int64_t *counts);

/* Sums by rows of keys: a hash table that keeps rows in order of first appearance. */
enum { TK_MOST_KEYS = 4, TK_MOST_WIDTH = 8 };

typedef struct {
    int keys, width;      /* columns of a key; of a row, sums included */
    int64_t count, room;
    int64_t *rows;        /* row after row */
    int32_t *slots;       /* row + 1, 0: empty; a power of two of them */
    uint64_t mask;
} tk_groups;

int tk_groups_open(tk_groups *groups, int keys, int width);
void tk_groups_close(tk_groups *groups);
void tk_groups_clear(tk_groups *groups);
/* Add rows whose columns are given until there are `most` distinct ones; how many were taken, or -1 without memory. */
int64_t tk_groups_add(tk_groups *groups, const int64_t *const *columns, int64_t count, int64_t most);
void tk_groups_columns(const tk_groups *groups, int64_t *const *columns);

#endif
