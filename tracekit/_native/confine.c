/* A process that confines itself. From the moment it installs a seccomp filter, a system call of ours that the filter does
   not know may kill it, so none is made any more: it is recorded up to here, and its head says why there is no more. Whether
   the filter would have allowed them cannot be found out: most kill on what they do not list. Programs that it starts inherit
   the filter and are not followed either. */
#define _GNU_SOURCE
#include <sys/prctl.h>

#include "hooks.h"
#include "spool.h"

enum { SET_MODE_STRICT = 0, SET_MODE_FILTER = 1 };

static void stop(int *before)
{
    *before = tk_on;
    tk_on = 0;
}

static void stopped(int before, long result)
{
    if (result < 0)
        tk_on = before;
    else if (before && tk_process && *tk_live == tk_generation)
        atomic_store_explicit(&tk_process->confined, 1, memory_order_relaxed);
}

int hook_prctl(int option, long a, long b, long c, long d)
{
    int before, result;
    if (option != PR_SET_SECCOMP)
        return tk_original.prctl(option, a, b, c, d);
    stop(&before);
    result = tk_original.prctl(option, a, b, c, d);
    stopped(before, result);
    return result;
}

/* seccomp(2) has no function in the C library; libseccomp calls it by number. */
long tk_confining_syscall(long number, long operation, long flags, long arguments)
{
    long result;
    int before;
    if (operation != SET_MODE_STRICT && operation != SET_MODE_FILTER)
        return tk_original.syscall(number, operation, flags, arguments, 0, 0, 0);
    stop(&before);
    result = tk_original.syscall(number, operation, flags, arguments, 0, 0, 0);
    stopped(before, result);
    return result;
}
