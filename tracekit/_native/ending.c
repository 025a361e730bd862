#define _GNU_SOURCE
#include "ending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fdtable.h"
#include "hooks.h"
#include "spool.h"
#include "touched.h"

static struct tk_ring_facts *facts(void)
{
    return (struct tk_ring_facts *)((char *)tk_process + TK_RING_FACTS);
}

/* linux/getdents64(2). */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

static int is_ring(const char *digits)
{
    char name[32];
    int fd = atoi(digits);
    uint64_t word = tk_fd_word(fd);
    if (digits[0] == '.' || word & TK_FD_TRACKED)
        return 0;
    return tk_fd_name(fd, name, sizeof name) == 21 && memcmp(name, "anon_inode:[io_uring]", 21) == 0;
}

void tk_ring_count(void)
{
    char entries[2048];
    uint32_t found = 0;
    long bytes, fd;
    if (!tk_on || tk_process == NULL || *tk_live != tk_generation || TK_RAW0(SYS_getpid) != tk_process->pid)
        return;
    fd = TK_RAW4(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    while ((bytes = TK_RAW3(SYS_getdents64, fd, entries, sizeof entries)) > 0)
        for (long at = 0; at < bytes; at += ((struct entry *)(void *)(entries + at))->bytes)
            found += (uint32_t)is_ring(((struct entry *)(void *)(entries + at))->name);
    TK_RAW1(SYS_close, fd);
    if (found > atomic_load_explicit(&facts()->found, memory_order_relaxed))
        atomic_store_explicit(&facts()->found, found, memory_order_relaxed);
}

long tk_ring_made(long result)
{
    if (result >= 0 && tk_on && tk_self())
        atomic_fetch_add_explicit(&facts()->made, 1, memory_order_relaxed);
    return result;
}

/* exit() comes here twice, by its handler and by the _exit at its end: descriptors are looked through once. */
static void ending(void)
{
    static int32_t counted;
    int error = errno;
    tk_touch_end();
    if (tk_process != NULL && counted != tk_process->pid) {
        counted = tk_process->pid;
        tk_ring_count();
    }
    errno = error;
}

void hook__exit(int status)
{
    ending();
    tk_original._exit(status);
}

void tk_ending_start(void)
{
    /* Where the library's own _exit is not hooked (tables rewritten), exit() still comes this way. */
    atexit(ending);
}
