/* Names whose files have been looked at in this process. A file that is opened again and again is identified once: whoever
   reads the spool takes the first identity of a name anyway. */
#ifndef TRACEKIT_SIGHTINGS_H
#define TRACEKIT_SIGHTINGS_H

#include <stddef.h>
#include <stdint.h>

/* Room for the names of a process. 0, or -1 without memory: then every opened file is looked at. */
int tk_sightings_start(void);

/* What stands for a name of `bytes` bytes, relative to the working directory or not at all; 0 for a name that may be
   another thing at each opening (/dev/stdin). */
uint64_t tk_fingerprint(const char *path, size_t bytes);

/* Whether a regular file was behind it. */
int tk_was_seen(uint64_t fingerprint);
void tk_saw(uint64_t fingerprint);

#endif
