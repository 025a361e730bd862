/* See fetch.h. These calls pass by the recorder, which leaves the core alone: a process that is recorded reads by the twin. */
#define _GNU_SOURCE
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "deep.h"
#include "pace.h"

static int64_t read_range(int fd, const tk_range *range, int advice)
{
    int64_t done = 0;
    while (done < range->length) {
        ssize_t got = pread(fd, (char *)(uintptr_t)range->address + done, (size_t)(range->length - done),
                            (off_t)(range->offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += got;
        if (advice == TK_FETCH_DIRECT && got % TK_FETCH_BLOCK)
            break;
    }
    return done;
}

int tk_fetch_open(const char *name, int advice)
{
    int fd;
    do
        fd = open(name, O_RDONLY | O_CLOEXEC | (advice == TK_FETCH_DIRECT ? O_DIRECT : 0));
    while (fd < 0 && errno == EINTR);
    if (fd >= 0 && advice >= 0)
        posix_fadvise(fd, 0, 0, advice);
    return fd;
}

static void one_by_one(const char *names, tk_range *ranges, int64_t count, int advice)
{
    int fd = -1, error = 0;
    int64_t opened = -1;
    for (int64_t i = 0; i < count; i++) {
        tk_range *range = &ranges[i];
        if (range->name != opened) {
            if (fd >= 0)
                close(fd);
            fd = tk_fetch_open(names + range->name, advice);
            error = errno;
            opened = range->name;
        }
        range->submitted = tk_now_ns();
        range->result = fd < 0 ? -error : read_range(fd, range, advice);
        range->completed = tk_now_ns();
    }
    if (fd >= 0)
        close(fd);
}

int tk_fetch(const char *names, tk_range *ranges, int64_t count, int advice, int depth)
{
    int most = count < depth ? (int)count : depth;
    if (advice == TK_FETCH_DIRECT && most > 1 && tk_fetch_deep(names, ranges, count, most))
        return most;
    one_by_one(names, ranges, count, advice);
    return 1;
}
