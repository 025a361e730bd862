/* Names whose files have been looked at in this process. A file that is opened again and again is identified once: whoever
   reads the spool takes the first identity of a name anyway. */
#ifndef TRACEKIT_SIGHTINGS_H
#define TRACEKIT_SIGHTINGS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "spool.h"

/* Room for the names of a process. 0, or -1 without memory: then every opened file is looked at. */
int tk_sightings_start(void);

enum { TK_NAMES = 1 << 17 };
extern _Atomic uint64_t *tk_seen;

static inline uint64_t tk_mix(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    a = (a ^ a >> 32) * b;
    return a ^ a >> 29;
#endif
}

static inline uint64_t tk_eight(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* What stands for a name of `bytes` bytes, relative to the working directory or not at all; 0 for a name that may be
   another thing at each opening (/dev/stdin). Sixteen bytes per multiplication, the last ones perhaps twice; the constants
   are odd and have no pattern. Two of a million names share all 64 bits once in 37 million runs. */
static inline uint64_t tk_fingerprint(const char *path, size_t bytes)
{
    uint64_t sum = (uint64_t)tk_generation << 32 ^ UINT64_C(0x9e3779b97f4a7c15) ^ bytes, rest[2] = {0, 0};

    if (bytes >= 5 && memcmp(path, "/dev/", 5) == 0)
        return 0;
    if (path[0] != '/')
        sum ^= tk_mix(atomic_load_explicit(&tk_process->cwd, memory_order_relaxed), UINT64_C(0xbf58476d1ce4e5b9));
    if (bytes < 16)
        memcpy(rest, path, bytes);
    else
        memcpy(rest, path + bytes - 16, 16);
    for (; bytes > 16; path += 16, bytes -= 16)
        sum = tk_mix(tk_eight(path) ^ UINT64_C(0x94d049bb133111eb), tk_eight(path + 8) ^ sum);
    sum = tk_mix(rest[0] ^ UINT64_C(0xd6e8feb86659fd93), rest[1] ^ sum);
    return sum ? sum : 1;
}

/* Whether a regular file was behind it. */
static inline int tk_was_seen(uint64_t fingerprint)
{
    return tk_seen && fingerprint &&
           atomic_load_explicit(&tk_seen[fingerprint % TK_NAMES], memory_order_relaxed) == fingerprint;
}

void tk_saw(uint64_t fingerprint);

#endif
