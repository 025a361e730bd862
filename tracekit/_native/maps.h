/* The maps a program makes, as far as their pages are looked for. */
#ifndef TRACEKIT_MAPS_H
#define TRACEKIT_MAPS_H

#include <stdint.h>

/* Whether the kernel will map only touched pages in this range, where that is wanted. */
int tk_map_registered(uintptr_t start, uintptr_t end);

/* Stand between mmap and the C library, once that was hooked. */
void tk_maps_start(void);

#endif
