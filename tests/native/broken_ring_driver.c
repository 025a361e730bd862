/* A ring that breaks while a helper thread is in an op and a read is under way: the run has to end with that error, and may not free
   what the helper uses before that is done. What is here stands in for the engine's own functions (-Wl,--wrap); to be built with
   AddressSanitizer.

   usage: broken_ring_driver DIRECTORY */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../../tracekit/_native/engine.h"
#include "../../tracekit/_native/replay.h"
#include "../../tracekit/_native/ring.h"

enum { STREAMS = 2, OPS = 10, BLOCK = 4096, LONG_US = 200000 };

static _Atomic int begun, ended;

int64_t __real_tk_issue_op(tk_issue *issue, tk_handles *handles, int32_t group, int64_t key, const tk_op *op, const tk_aim *aim,
                           void *address, int *error);
int64_t __wrap_tk_issue_op(tk_issue *issue, tk_handles *handles, int32_t group, int64_t key, const tk_op *op, const tk_aim *aim,
                           void *address, int *error)
{
    atomic_store(&begun, 1);
    usleep(LONG_US);
    int64_t result = __real_tk_issue_op(issue, handles, group, key, op, aim, address, error);
    atomic_fetch_add(&ended, 1);
    return result;
}

/* What is in the ring by now is never handed over. */
int __wrap_tk_ring_enter(tk_ring *ring, int64_t until)
{
    (void)ring, (void)until;
    while (!atomic_load(&begun))
        usleep(1000);
    return EIO;
}

int main(int count, char **arguments)
{
    static char block[BLOCK], path[4096];
    static tk_op ops[STREAMS * OPS];
    static tk_stream streams[STREAMS];
    static tk_result results[STREAMS * OPS];
    if (count != 2)
        return 2;
    snprintf(path, sizeof path, "%s/data", arguments[1]);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, block, BLOCK) != BLOCK)
        return 2;
    for (int i = 0; i < STREAMS * OPS; i++) /* one stream reads, the other asks for the file's size: a helper's op */
        ops[i] = (tk_op){.length = i < OPS ? BLOCK : 0, .order = (uint32_t)i, .kind = i < OPS ? TK_READ : TK_STAT};
    for (int i = 0; i < STREAMS; i++)
        streams[i] = (tk_stream){.first = (int64_t)i * OPS, .count = OPS, .after = -1};
    tk_file file = {.path = path, .advice = -1};
    tk_replay replay = {.how = TK_URING, .pace = TK_ASAP, .ops = ops, .op_count = STREAMS * OPS, .streams = streams,
                        .stream_count = STREAMS, .files = &file, .file_count = 1, .results = results, .results_fd = -1, .turns = 1,
                        .max_errors = -1, .workers = 1, .handles = 2, .keys = 2, .helped = true};
    tk_outcome outcome;
    int error = tk_replay_run(&replay, &outcome), in_time = atomic_load(&ended);
    usleep(2 * LONG_US);
    if (error == EPERM || error == ENOSYS || outcome.trouble == EPERM || outcome.trouble == ENOSYS || outcome.trouble == EACCES)
        printf("no io_uring\n");
    else
        printf("error %d, stopped %d, trouble %d, %d op ended before the run and %d behind it\n", error, outcome.stopped, outcome.trouble,
               in_time, atomic_load(&ended) - in_time);
    return 0;
}
