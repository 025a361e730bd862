/* Ranges of many files into memory, in one call without the interpreter lock: what a loader does for a batch of small files. */
#ifndef TRACEKIT_FETCH_H
#define TRACEKIT_FETCH_H

#include <stdint.h>

/* One range. `name` is where the file's name begins among all names; rows that follow each other with the same name share
   one open file. */
typedef struct {
    int64_t name;
    int64_t offset;
    int64_t length;
    uint64_t address;
    int64_t submitted; /* CLOCK_MONOTONIC, ns */
    int64_t completed;
    int64_t result; /* bytes, or -errno */
} tk_range;

/* What O_DIRECT takes multiples of: it ends a file with less, and to go on from there is EINVAL. */
#define TK_FETCH_BLOCK 4096
/* The most that one read(2) moves, in whole blocks. */
#define TK_FETCH_MOST (1 << 30)
#define TK_FETCH_DIRECT (-2)

/* Read them in order; a range is asked for again where the system gave less, until the file ends. `advice` is one of
   posix_fadvise's, -1 for none, or TK_FETCH_DIRECT for O_DIRECT: then ranges and memory are whole blocks, and up to `depth` of them
   are under way at once where an io_uring is permitted. How many may have been. */
int tk_fetch(const char *names, tk_range *ranges, int64_t count, int advice, int depth);
int tk_fetch_open(const char *name, int advice);

#endif
