/* What is looked at when a process ends by itself, and the rings (io_uring) it was seen to have. */
#ifndef TRACEKIT_ENDING_H
#define TRACEKIT_ENDING_H

#include <stdatomic.h>
#include <stdint.h>

/* In the page of the process's head, at TK_RING_FACTS. */
enum { TK_RING_FACTS = 2048 };
struct tk_ring_facts {
    _Atomic uint32_t made;  /* by io_uring_setup through the C library's syscall() */
    _Atomic uint32_t found; /* among the descriptors when the process ended */
};

void tk_ending_start(void);

/* Count rings among the descriptors that the table does not know. */
void tk_ring_count(void);

/* The result of io_uring_setup, counted. */
long tk_ring_made(long result);

#endif
