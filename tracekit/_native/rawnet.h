/* A net for system calls that do not go through the C library: own assembler code, a second C library, the loader. For
   `record --raw-syscalls`.

   Syscall User Dispatch (Linux 5.11): a call from outside the C library's code raises SIGSYS in its thread, and the handler
   makes it, through the hook of the call where it has one. A byte per thread switches this off for calls of our own. It is
   off in children until they switch it on, and exec ends it. While the option is off none of this exists, but for the byte. */
#ifndef TRACEKIT_RAWNET_H
#define TRACEKIT_RAWNET_H

#include <stdatomic.h>
#include <stdint.h>

/* What a process says about it, in the page of its head. */
enum { TK_NET_FACTS = 3072 };
struct tk_net_facts {
    char magic[8]; /* "tknet\0\0\0" */
    _Atomic uint64_t caught, noted;
    _Atomic uint32_t withdrawn; /* the program handles SIGSYS itself, or dispatches its own calls */
    _Atomic uint32_t let_go;    /* threads that made a thread or moved their own storage by a call of their own */
};

/* Ask for the net at the next tk_interpose; NULL or the reason it cannot be had. */
const char *tk_net_prepare(void);
int tk_net_wanted(void);

/* After the C library was hooked by detours. NULL or the reason. */
const char *tk_net_start(void);

/* In a forked child, whose calls are not dispatched yet. */
void tk_net_reborn(void);

#endif
