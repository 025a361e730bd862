#define _GNU_SOURCE
#include "recorder.h"

#include <fcntl.h>
#include <string.h>

#include "ending.h"
#include "fdtable.h"
#include "hooks.h"
#include "rawnet.h"
#include "sightings.h"
#include "residence.h"
#include "spool.h"
#include "touched.h"

static void reborn(void)
{
    tk_fd_forget(0, UINT32_MAX);
    tk_touch_reborn();
    tk_net_reborn();
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
    tk_sightings_start();
    tk_spool_reborn = reborn;
    reason = tk_spool_start(directory, tsc);
    if (reason) {
        refuse(out, reason);
        return;
    }
    tk_residence_start(directory);
    tk_interpose(detour, got, out);
    tk_on = out->method != TK_NONE;
    if (tk_on) {
        tk_touch_start();
        tk_ending_start();
    }
#endif
}

/* By hand, so that what the recorder writes about the program is no I/O of the program. */
void tk_recorder_children(int wanted)
{
    tk_children = wanted;
}

void tk_recorder_pause(int paused)
{
    if (tk_process)
        tk_on = !paused;
}

void tk_recorder_context(int64_t sample, int32_t step, int32_t epoch, int32_t worker, uint32_t run)
{
    struct tk_context context = {sample, (uint32_t)step, (uint32_t)epoch, (uint32_t)worker, run & TK_LAST_FILE};
    if (tk_on) {
        tk_touch_context();
        tk_set_context(&context);
    }
}

uint64_t tk_recorder_process(int64_t *born)
{
    tk_count_apart(0, 0); /* a forked child becomes a process of its own here */
    if (!tk_on || tk_process == NULL || *tk_live != tk_generation)
        return 0;
    if (born)
        *born = tk_process->start_ns;
    return tk_process->start;
}

int tk_recorder_hush(int hushed)
{
    struct tk_thread *thread = tk_on ? tk_self() : NULL;
    int before = 0;
    if (thread) {
        before = thread->hushed;
        thread->hushed = (uint8_t)hushed;
    }
    return before;
}
