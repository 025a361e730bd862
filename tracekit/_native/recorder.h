/* The recorder as the rest of the core sees it. */
#ifndef TRACEKIT_RECORDER_H
#define TRACEKIT_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#include "interpose.h"

/* Spool into `directory` and hook the C library. Once per process; whatever cannot be done leaves the process as it was
   and says why in `out`. */
void tk_recorder_start(const char *directory, int tsc, int detour, int got, struct tk_interposed *out);
void tk_recorder_pause(int paused);

/* The kernel's count of bytes read, from a file like /proc/self/io; -1 where it does not tell. What this look itself adds to
   the count is left in `cost`, where that is not NULL. */
int64_t tk_bytes_read(const char *path, int64_t *cost);

/* Whether children are looked at when they end. */
void tk_recorder_children(int wanted);

void tk_recorder_context(int64_t sample, int32_t step, int32_t epoch, int32_t worker, uint32_t run);
void tk_exec_environment(char **variables, const char *path_entry, const char *preload_entry);

/* Whether this thread notes names it looks up and directories it lists; returns how it was. */
int tk_recorder_hush(int hushed);

/* CLOCK_MONOTONIC in ns and the time stamp counter (0 where there is none) at one moment. */
int64_t tk_anchor(uint64_t *ticks);

/* What, with the pid, names this process's part of the spool; 0 when it has none. `born`, unless it is NULL, gets
   CLOCK_MONOTONIC ns of the part's start. */
uint64_t tk_recorder_process(int64_t *born);

#endif
