#define _GNU_SOURCE
#include "recorder.h"

#include <string.h>
#include <time.h>

#include "fdtable.h"
#include "spool.h"

static void reborn(void)
{
    tk_fd_forget(0, UINT32_MAX);
}

static void refuse(struct tk_interposed *out, const char *reason)
{
    memset(out, 0, sizeof *out);
    out->reason = reason;
}

void tk_recorder_start(const char *directory, int tsc, int detour, int got, struct tk_interposed *out)
{
#if defined(TRACEKIT_NO_RAW)
    refuse(out, "system calls are written for x86-64 and aarch64 only");
#else
    const char *reason;
    if (tk_process) {
        refuse(out, "this process is being recorded already");
        return;
    }
    if (tk_fds == NULL && tk_fd_start() < 0) {
        refuse(out, "no memory for the table of file descriptors");
        return;
    }
    tk_spool_reborn = reborn;
    reason = tk_spool_start(directory, tsc);
    if (reason) {
        refuse(out, reason);
        return;
    }
    tk_interpose(detour, got, out);
    tk_on = out->method != TK_NONE;
#endif
}

void tk_recorder_pause(int paused)
{
    if (tk_process)
        tk_on = !paused;
}

void tk_recorder_context(int64_t sample, int32_t step, int32_t epoch, int32_t worker)
{
    struct tk_context context = {sample, (uint32_t)step, (uint32_t)epoch, (uint32_t)worker, 0};
    if (tk_on)
        tk_set_context(&context);
}

int64_t tk_recorder_anchor(uint64_t *ticks)
{
    struct timespec now;
    uint64_t before = 0, after = 0;
    /* The middle of the tightest of a few tries, so that being put aside in between does not count. */
    uint64_t best = UINT64_MAX;
    int64_t ns = 0;
    *ticks = 0;
    for (int i = 0; i < 8; i++) {
#if defined(__x86_64__)
        before = __builtin_ia32_rdtsc();
        clock_gettime(CLOCK_MONOTONIC, &now);
        after = __builtin_ia32_rdtsc();
#else
        clock_gettime(CLOCK_MONOTONIC, &now);
#endif
        if (after - before < best) {
            best = after - before;
            *ticks = before + best / 2;
            ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        }
    }
    return ns;
}
