/* What each file descriptor is: not known yet, not ours (pipes, sockets, devices, /proc), or a file with its number and
   position. */
#ifndef TRACEKIT_FDTABLE_H
#define TRACEKIT_FDTABLE_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sightings.h"
#include "spool.h"

enum {
    TK_FD_KNOWN = 1,    /* alone: known not to be ours */
    TK_FD_TRACKED = 2,
    TK_FD_UNSEEN = 4,   /* opened by name; what is behind the name has not been looked at yet */
    TK_FD_SHARED = 8,   /* the position is also moved by others: the kernel is asked each time */
    TK_FD_APPEND = 16,
    TK_FD_DIRECT = 32,
};
#define TK_FD_IGNORED ((uint64_t)TK_FD_KNOWN)

struct tk_fd {
    _Atomic uint64_t word; /* flags, file << 32 */
    _Atomic int64_t position;
    uint32_t forks; /* how often the process had forked when the position was ours alone */
    uint32_t moves;
    uint64_t name; /* fingerprint of what it was opened by, 0: unknown */
};

extern struct tk_fd *tk_fds;
extern uint32_t tk_fd_count;
extern _Atomic uint32_t tk_fd_highest; /* descriptors at or above were never set */

/* Make room for every descriptor the process may have. 0, or -1 without memory. */
int tk_fd_start(void);

/* `fd` is being set. */
void tk_fd_raise(int fd);

/* Descriptors `first` to `last` are unknown again. */
void tk_fd_forget(uint32_t first, uint32_t last);

/* fcntl(F_SETFL): append and direct may have come or gone. */
void tk_fd_status(int fd, long flags);

static inline uint64_t tk_fd_word(int fd)
{
    return TK_LIKELY((uint32_t)fd < tk_fd_count) ? atomic_load_explicit(&tk_fds[fd].word, memory_order_relaxed) : 0;
}

static inline void tk_fd_set(int fd, uint64_t word)
{
    if ((uint32_t)fd < tk_fd_count)
        atomic_store_explicit(&tk_fds[fd].word, word, memory_order_relaxed);
}

static inline uint64_t tk_fd_status_bits(long flags)
{
    return (flags & O_APPEND ? TK_FD_APPEND : 0) | (flags & O_DIRECT ? TK_FD_DIRECT : 0);
}

/* A descriptor just opened by name (its fingerprint, or 0): a new file at position 0 that nobody shares. */
static inline void tk_fd_opened(int fd, uint32_t file, int flags, uint64_t name)
{
    struct tk_fd *entry = &tk_fds[fd];
    if ((uint32_t)fd >= tk_fd_count)
        return;
    if (TK_UNLIKELY((uint32_t)fd >= atomic_load_explicit(&tk_fd_highest, memory_order_relaxed)))
        tk_fd_raise(fd);
    atomic_store_explicit(&entry->position, 0, memory_order_relaxed);
    entry->forks = atomic_load_explicit(&tk_process->forks, memory_order_relaxed);
    entry->moves = 0;
    entry->name = name;
    /* O_PATH allows no I/O; what O_TMPFILE opened has another name than the one given. */
    if (TK_UNLIKELY(flags & O_PATH))
        tk_fd_set(fd, TK_FD_IGNORED);
    else if (TK_UNLIKELY((flags & O_TMPFILE) == O_TMPFILE || file == 0))
        tk_fd_set(fd, 0);
    else
        tk_fd_set(fd, (uint64_t)file << 32 | TK_FD_KNOWN | TK_FD_TRACKED | tk_fd_status_bits(flags) |
                          (tk_was_seen(name) ? 0 : TK_FD_UNSEEN));
}

/* `copy` now refers to what `fd` refers to; from now on both share their position. */
void tk_fd_duplicated(int fd, int copy);

/* Look behind a descriptor that is unknown or unseen and say what it is from now on; notes the file's identity. */
uint64_t tk_fd_learn(struct tk_thread *thread, int fd);

/* The position at which `moved` bytes were read or written just now, by an op that moves it. */
int64_t tk_fd_moved(int fd, uint64_t word, int64_t moved, int writing);

/* lseek went to `position`. */
void tk_fd_sought(int fd, int64_t position);

/* The name behind a descriptor, at most `room` - 1 bytes; its length, or 0. */
size_t tk_fd_name(int fd, char *to, size_t room);

#endif
