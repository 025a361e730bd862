#define _GNU_SOURCE
#include "sightings.h"

#include <sys/mman.h>

#include "spool.h"

/* By the fingerprint's low bits; one that comes later takes the place. Never cleared: a fingerprint belongs to one process
   and one working directory. Only the pages in use exist. */
_Atomic uint64_t *tk_seen;

int tk_sightings_start(void)
{
    void *table = mmap(NULL, TK_NAMES * sizeof *tk_seen, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        return -1;
    tk_seen = table;
    return 0;
}

void tk_saw(uint64_t fingerprint)
{
    if (tk_seen && fingerprint)
        atomic_store_explicit(&tk_seen[fingerprint % TK_NAMES], fingerprint, memory_order_relaxed);
}
