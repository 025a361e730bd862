/* The userfaultfd: a descriptor that speaks for the process's memory. It is opened when the first map is registered, has a high
   number, and is not closed by a program that closes all it has. */
#ifndef TRACEKIT_FAULTS_H
#define TRACEKIT_FAULTS_H

#include <stdint.h>

/* Whether one can be had and registers a page of anonymous memory. NULL or the reason. */
const char *tk_faults_try(void *page);

/* Let the kernel map, in this range, only the pages that are touched. Whether it does. */
int tk_faults_register(uintptr_t start, uintptr_t end);

/* In a forked child: the inherited descriptor speaks for the parent's memory and must go. */
void tk_faults_drop(void);

/* Whether the descriptor was closed by a way that cannot be hooked. */
int tk_faults_are_lost(void);

/* Keep the descriptor from being closed, once the C library was hooked. */
void tk_faults_hide(void);

#endif
