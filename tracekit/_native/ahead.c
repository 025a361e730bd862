/* What is made ready before the first moment, because it would hold ops up later: a place in the table of descriptors for each
   handle, and the handles that the first ops of every stream use. */
#define _GNU_SOURCE
#include "engine.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LOOKED_AT = 1 << 17, OPENED = 1 << 16, OTHERS = 64 };

/* The kernel lets the table of descriptors grow by doubling, and in a process with threads waits each time until no thread can
   use the old one: 30 ms were measured, in which no file can be opened. So it is made large enough once. */
static void have_descriptors(int64_t handles)
{
    struct rlimit limit;
    int spare = open("/", O_PATH | O_CLOEXEC);
    if (spare < 0)
        return;
    int64_t last = spare + handles + OTHERS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && last >= (int64_t)limit.rlim_cur)
        last = (int64_t)limit.rlim_cur - 1;
    int highest = last > spare ? fcntl(spare, F_DUPFD_CLOEXEC, (int)last) : -1;
    if (highest >= 0)
        close(highest);
    close(spare);
}

/* Open what the first ops of a stream read; one that fails shows when it is issued. Returns how many of `left` may still be
   opened. */
static int64_t open_for_stream(tk_run *run, int32_t stream, int64_t count, int64_t left)
{
    const tk_stream *plan = &run->streams.plans[stream];
    tk_handles *handles = run->how == TK_URING ? run->handles : &run->handles[stream];
    uint32_t before = handles->opened;
    for (int64_t i = 0; i < plan->count && i < count && handles->opened - before < left; i++) {
        const tk_op *op = &run->streams.ops[plan->first + i];
        tk_aim aim;
        if (op->kind == TK_READ && !(run->issue.files[op->file].flags & TK_IN_SCRATCH))
            tk_aim_at(&run->issue, handles, tk_key(&run->issue, stream, op), op, &aim);
    }
    return left - (handles->opened - before);
}

/* `handles`: how many can be open at once, all together. */
void tk_ahead(tk_run *run, int64_t handles)
{
    int64_t streams = run->streams.stream_count, left = OPENED, count = streams ? LOOKED_AT / streams + 1 : 0, longest = 0;
    have_descriptors(handles);
    for (int32_t i = 0; i < streams && left > 0 && run->preopen; i++) {
        left = open_for_stream(run, i, count, left);
        longest = run->streams.plans[i].count > longest ? run->streams.plans[i].count : longest;
    }
    run->opened = run->preopen && left > 0 && longest <= count;
}

/* Open every O_DIRECT file ahead, so that no open holds the ring up. One that fails shows when it is read. */
void tk_ahead_direct(tk_run *run)
{
    for (int32_t i = 0; i < run->file_count && i < OPENED && run->preopen; i++) {
        const tk_file *file = &run->issue.files[i];
        tk_op read = {.file = i, .kind = TK_READ};
        int error;
        if (file->align && !(file->flags & TK_IN_SCRATCH))
            tk_handle_for(run->handles, tk_key(&run->issue, 0, &read), file, false, &error);
    }
}
