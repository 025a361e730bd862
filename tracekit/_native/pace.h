/* Pacing: sleeping to an absolute deadline, and one read timed where the system call is made. */
#ifndef TRACEKIT_PACE_H
#define TRACEKIT_PACE_H

#include <stdint.h>
#include <sys/types.h>

int64_t tk_now_ns(void);
int tk_sleep_until(int64_t deadline_ns);
int tk_precise_timers(void);

#endif
