/* Chunks that another process has made ready (record/spares.py), pages and all. Where memory that nobody uses is taken back
   by the host of a virtual machine, the first touch of two MiB takes 4.5 ms instead of 0.2: not the program's. By system calls
   alone: no allocation, no lock, no errno. */
#ifndef TRACEKIT_SPARES_H
#define TRACEKIT_SPARES_H

#include <stdint.h>

/* They lie in `directory`/spares, if anywhere; its name has less than 512 bytes. Once, at the start. */
void tk_spares_start(const char *directory);

/* Say that some will be needed. */
void tk_spares_want(void);

/* One of `bytes` bytes, which becomes the file `path`, mapped; NULL when there is none. */
void *tk_spares_take(const char *path, uint64_t bytes);

#endif
