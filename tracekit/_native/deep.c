/* Many ranges under way at once, for O_DIRECT: a device that is asked for one after another is idle while we open the next file, and
   serves several in the time of one. One io_uring for the call, which only this thread uses. */
#define _GNU_SOURCE
#include "deep.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "pace.h"
#include "ring.h"

/* Something other than a completion has to end a wait; nothing is lost by looking again. */
static const int64_t WAIT_NS = 1000000000;

/* A file of which ranges are under way or to come. */
typedef struct {
    int fd;
    int64_t left; /* ranges that are not read yet */
} opened;

typedef struct {
    const char *names;
    tk_range *ranges;
    int64_t count, next; /* the next one to begin */
    int depth, under_way;
    opened *files;  /* by the first of a file's ranges */
    int64_t *firsts; /* of each range: which that is */
    int64_t *again; /* those that got less than they asked for, and go on */
    int agains;
    tk_ring ring;
} deep;

static void finish(deep *all, int64_t at, int64_t result)
{
    opened *file = &all->files[all->firsts[at]];
    all->ranges[at].result = result;
    all->ranges[at].completed = tk_now_ns();
    if (--file->left == 0 && file->fd >= 0)
        close(file->fd);
}

/* Hand a range to the ring; `result` has the bytes that came before. False: it is full. */
static bool give(deep *all, int64_t at)
{
    tk_range *range = &all->ranges[at];
    uring_sqe *sqe = tk_ring_next(&all->ring);
    if (sqe == NULL)
        return false;
    sqe->opcode = URING_READ;
    sqe->fd = all->files[all->firsts[at]].fd;
    sqe->off = (uint64_t)(range->offset + range->result);
    sqe->addr = range->address + (uint64_t)range->result;
    sqe->len = (uint32_t)(range->length - range->result < TK_FETCH_MOST ? range->length - range->result : TK_FETCH_MOST);
    sqe->user_data = (uint64_t)at;
    all->under_way++;
    return true;
}

/* Open the range's file if it is its first. */
static opened *file_of(deep *all, int64_t at)
{
    const tk_range *ranges = all->ranges;
    bool first = at == 0 || ranges[at].name != ranges[at - 1].name;
    all->firsts[at] = first ? at : all->firsts[at - 1];
    opened *file = &all->files[all->firsts[at]];
    if (first) {
        int64_t end = at + 1;
        while (end < all->count && ranges[end].name == ranges[at].name)
            end++;
        file->left = end - at;
        file->fd = tk_fetch_open(all->names + ranges[at].name, TK_FETCH_DIRECT);
        if (file->fd < 0)
            file->fd = -errno;
    }
    return file;
}

static void begin(deep *all)
{
    int64_t at = all->next++;
    opened *file = file_of(all, at);
    all->ranges[at].result = 0;
    all->ranges[at].submitted = tk_now_ns();
    if (file->fd < 0)
        finish(all, at, file->fd);
    else if (all->ranges[at].length == 0)
        finish(all, at, 0);
    else
        give(all, at); /* there is room: no more are begun than the ring has entries */
}

/* What came of a range: it is done, or goes on where the last read ended. O_DIRECT ends a file with less than a block. */
static void came(deep *all, int64_t at, int32_t got)
{
    tk_range *range = &all->ranges[at];
    bool anew = got == -EINTR || got == -EAGAIN;
    all->under_way--;
    if (got < 0 && !anew) {
        finish(all, at, got);
        return;
    }
    range->result += anew ? 0 : got;
    if (anew || (got > 0 && got % TK_FETCH_BLOCK == 0 && range->result < range->length))
        all->again[all->agains++] = at;
    else
        finish(all, at, range->result);
}

static void reap(deep *all)
{
    for (const uring_cqe *cqe; (cqe = tk_ring_peek(&all->ring)) != NULL;) {
        int64_t at = (int64_t)cqe->user_data;
        int32_t got = cqe->res;
        tk_ring_seen(&all->ring);
        came(all, at, got);
    }
}

/* Each is handed over at once, so that the device has it while the next file is opened. */
static int read_all(deep *all)
{
    while (all->next < all->count || all->under_way || all->agains) {
        bool room = all->under_way < all->depth;
        if (room && all->agains)
            give(all, all->again[--all->agains]);
        else if (room && all->next < all->count)
            begin(all);
        bool more = all->under_way < all->depth && (all->agains || all->next < all->count);
        if (!all->under_way)
            continue;
        int error = tk_ring_enter(&all->ring, more ? 0 : tk_now_ns() + WAIT_NS);
        if (error)
            return error;
        reap(all);
    }
    return 0;
}

/* Where the ring broke, nobody knows what the kernel still writes to: all that is not done has failed. */
static void fail(deep *all, int error)
{
    for (int64_t at = 0; at < all->count; at++) {
        tk_range *range = &all->ranges[at];
        if (range->completed)
            continue;
        range->result = -error;
        range->submitted = range->completed = tk_now_ns();
        if (at < all->next && all->firsts[at] == at && all->files[at].fd >= 0)
            close(all->files[at].fd);
    }
}

/* Read the ranges with up to `depth` under way; false where there is no ring to be had. */
bool tk_fetch_deep(const char *names, tk_range *ranges, int64_t count, int depth)
{
    deep all = {.names = names, .ranges = ranges, .count = count, .depth = depth};
    if (tk_ring_open(&all.ring, (unsigned)depth))
        return false;
    all.files = calloc((size_t)count, sizeof *all.files);
    all.firsts = calloc((size_t)count, sizeof *all.firsts);
    all.again = calloc((size_t)depth, sizeof *all.again);
    bool able = all.files && all.firsts && all.again && all.ring.entries >= (unsigned)depth;
    for (int64_t at = 0; able && at < count; at++)
        ranges[at].completed = 0;
    int error = able ? read_all(&all) : 0;
    if (error)
        fail(&all, error);
    tk_ring_close(&all.ring);
    free(all.files);
    free(all.firsts);
    free(all.again);
    return able;
}
