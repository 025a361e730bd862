/* How many TCP connections this process opened: its libraries' calls of connect(2), counted as they are made. */
#ifndef TRACEKIT_CONNECTS_H
#define TRACEKIT_CONNECTS_H

#include <stdint.h>

/* Begin to count, or go on: libraries that were loaded since are looked at too. 0 where nothing can be counted. */
int tk_connects_follow(void);

/* Connections over IPv4 and IPv6 that were made until now. */
int64_t tk_connects_count(void);

#endif
