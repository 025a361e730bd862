/* Loops over ops in order of time, each with a twin in NumPy that passes the same tests (tracekit/metrics/following.py,
   tracekit/histogram.py). */
#include "tally.h"

void tk_follow(const tk_follow_job *job)
{
    for (int64_t i = 0; i < job->count; i++) {
        int64_t group = job->group[i], end = job->last_end[group];
        job->before[i] = end == TK_NULL ? TK_FIRST : job->last_uri[group] == job->uri[i] ? TK_SAME : TK_OTHER;
        job->gap[i] = end == TK_NULL ? 0 : job->offset[i] - end;
        job->last_uri[group] = job->uri[i];
        job->last_end[group] = job->end[i];
    }
}

int64_t tk_runs(const int64_t *uri, const uint8_t *follows, int64_t count, int64_t *open, int64_t *lengths)
{
    int64_t ended = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t *length = &open[uri[i]];
        if (!follows[i] && *length > 0) {
            lengths[ended++] = *length;
            *length = 0;
        }
        ++*length;
    }
    return ended;
}

/* Below 2 * 2^7 a bucket for each integer; above, the first seven bits behind the highest one say which of its octave's. */
static inline int bucket_of(uint64_t value)
{
    if (value < 2u << TK_SUB_BITS)
        return (int)value;
    int shift = 63 - __builtin_clzll(value) - TK_SUB_BITS;
    return (shift << TK_SUB_BITS) + (int)(value >> shift);
}

void tk_histogram(const int64_t *values, int64_t count, int64_t *counts, tk_counted *counted)
{
    int64_t lowest = INT64_MAX, highest = INT64_MIN;
    uint64_t high = 0, low = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t value = values[i];
        lowest = value < lowest ? value : lowest;
        highest = value > highest ? value : highest;
        if (value < 0)
            break;
        counts[bucket_of((uint64_t)value)]++;
        low += (uint64_t)value;
        high += low < (uint64_t)value;
    }
    *counted = (tk_counted){lowest, highest, high, low, count > 0 && lowest < 0};
}
