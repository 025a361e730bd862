#define _GNU_SOURCE
#include "sightings.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "spool.h"

enum { NAMES = 1 << 17 };

/* By the fingerprint's low bits; one that comes later takes the place. Never cleared: a fingerprint belongs to one process
   and one working directory. Only the pages in use exist. */
static _Atomic uint64_t *seen;

int tk_sightings_start(void)
{
    void *table = mmap(NULL, NAMES * sizeof *seen, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        return -1;
    seen = table;
    return 0;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    a = (a ^ a >> 32) * b;
    return a ^ a >> 29;
#endif
}

static inline uint64_t eight(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Sixteen bytes per multiplication; the constants are odd and have no pattern. Two of a million names share all 64 bits
   once in 37 million runs. */
uint64_t tk_fingerprint(const char *path, size_t bytes)
{
    uint64_t sum = (uint64_t)tk_generation << 32 ^ UINT64_C(0x9e3779b97f4a7c15) ^ bytes, rest[2] = {0, 0};

    if (bytes >= 5 && memcmp(path, "/dev/", 5) == 0)
        return 0;
    if (path[0] != '/')
        sum ^= mix(atomic_load_explicit(&tk_process->cwd, memory_order_relaxed), UINT64_C(0xbf58476d1ce4e5b9));
    for (; bytes >= 16; path += 16, bytes -= 16)
        sum = mix(eight(path) ^ UINT64_C(0x94d049bb133111eb), eight(path + 8) ^ sum);
    memcpy(rest, path, bytes);
    sum = mix(rest[0] ^ UINT64_C(0xd6e8feb86659fd93), rest[1] ^ sum);
    return sum ? sum : 1;
}

int tk_was_seen(uint64_t fingerprint)
{
    return seen && fingerprint &&
           atomic_load_explicit(&seen[fingerprint % NAMES], memory_order_relaxed) == fingerprint;
}

void tk_saw(uint64_t fingerprint)
{
    if (seen && fingerprint)
        atomic_store_explicit(&seen[fingerprint % NAMES], fingerprint, memory_order_relaxed);
}
