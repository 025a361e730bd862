/* A new file that is mapped to be written: its blocks are there, and so are its pages. */
#ifndef TRACEKIT_MAPFILE_H
#define TRACEKIT_MAPFILE_H

#include <stdint.h>

enum { TK_HUGE = 1 << 21 }; /* from here on one huge page may hold it */

/* A file of `bytes` zero bytes, a multiple of 4096, mapped shared; NULL when it cannot be had. Made by system calls alone:
   no allocation, no lock, no errno. */
void *tk_map_new(const char *path, uint64_t bytes);

/* The same, of a file of so many zero bytes that somebody else has made and that becomes `path`: at most one taker gets it. */
void *tk_map_spare(const char *spare, const char *path, uint64_t bytes);

/* Whether a file may grow to so many bytes. */
int tk_within_limit(uint64_t bytes);

#endif
