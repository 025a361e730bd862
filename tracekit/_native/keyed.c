/* Counts by key and bucket, of service times in ns (tracekit/analysis/times.py and tail.py have the twins in NumPy): one pass where NumPy
   needs one for each step of finding the bucket, and another to count. */
#include "tally.h"

#include <string.h>

enum { FLOAT_MANTISSA = 23, FLOAT_BIAS = 127, DOUBLE_MANTISSA = 52, DOUBLE_BIAS = 1022 };

/* The first bits of a single-precision number, less those of 1: so many buckets an octave. */
static inline int64_t octave_bucket(int64_t value, int bits)
{
    float number = (float)(value < 1 ? 1 : value);
    int32_t image;
    memcpy(&image, &number, sizeof image);
    return (image >> (FLOAT_MANTISSA - bits)) - (FLOAT_BIAS << bits);
}

void tk_keyed_times(const int64_t *keys, const int64_t *times, int64_t count, int bits, int64_t width, int64_t *counts)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t bucket = octave_bucket(times[i], bits);
        counts[keys[i] * width + (bucket < width ? bucket : width - 1)]++;
    }
}

void tk_keyed_ranks(const int64_t *counts, int64_t width, const int64_t *keys, const int64_t *ranks, int64_t count,
                    int64_t *buckets)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t *row = counts + keys[i] * width;
        int64_t bucket = 0, below = row[0];
        while (below < ranks[i] && bucket < width - 1)
            below += row[++bucket];
        buckets[i] = bucket;
    }
}

/* How many bits a value has, as the exponent of its nearest double says it: 0 for 0. */
static inline int64_t power_of(int64_t value)
{
    double number = (double)value;
    int64_t image;
    memcpy(&image, &number, sizeof image);
    return value ? (image >> DOUBLE_MANTISSA) - DOUBLE_BIAS : 0;
}

void tk_power_cells(const int64_t *sizes, const int64_t *times, int64_t count, int64_t classes, int64_t *counts)
{
    for (int64_t i = 0; i < count; i++)
        counts[power_of(sizes[i]) * classes + power_of(times[i] / 1000)]++;
}
