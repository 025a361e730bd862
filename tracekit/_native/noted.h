/* System calls by number that the recorder takes note of (gates.c). */
#ifndef TRACEKIT_NOTED_H
#define TRACEKIT_NOTED_H

enum { TK_NUMBERS = 440 };
extern const unsigned char tk_noted_numbers[TK_NUMBERS] __attribute__((visibility("hidden")));

/* The call by way of its hook; -1 and errno as syscall() has it. */
long tk_noted_syscall(long number, long a, long b, long c, long d, long e, long f) __attribute__((visibility("hidden")));

#endif
