#define _GNU_SOURCE
#include "fdtable.h"
#include "residence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sightings.h"

struct tk_fd *tk_fds;
uint32_t tk_fd_count;
_Atomic uint32_t tk_fd_highest;

enum { MOST_FDS = 1 << 20, LEAST_FDS = 1024, CHECK_EVERY = 64, NAME = 1024 };

int tk_fd_start(void)
{
    struct rlimit limit;
    uint64_t count = MOST_FDS;
    void *table;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < count)
        count = limit.rlim_max < LEAST_FDS ? LEAST_FDS : limit.rlim_max;
    /* Only the pages of descriptors in use ever exist. */
    table = mmap(NULL, count * sizeof *tk_fds, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        return -1;
    tk_fds = table;
    tk_fd_count = (uint32_t)count;
    return 0;
}

void tk_fd_raise(int fd)
{
    uint32_t seen = atomic_load_explicit(&tk_fd_highest, memory_order_relaxed);
    while (seen <= (uint32_t)fd && !atomic_compare_exchange_weak(&tk_fd_highest, &seen, (uint32_t)fd + 1))
        ;
}

void tk_fd_forget(uint32_t first, uint32_t last)
{
    uint32_t end = atomic_load(&tk_fd_highest);
    for (uint32_t fd = first; fd < end && fd <= last; fd++)
        atomic_store_explicit(&tk_fds[fd].word, 0, memory_order_relaxed);
}

void tk_fd_status(int fd, long flags)
{
    uint64_t word = tk_fd_word(fd);
    if (word & TK_FD_TRACKED)
        tk_fd_set(fd, (word & ~(uint64_t)(TK_FD_APPEND | TK_FD_DIRECT)) | tk_fd_status_bits(flags));
}

void tk_fd_duplicated(int fd, int copy)
{
    uint64_t word = tk_fd_word(fd);
    if ((uint32_t)copy >= tk_fd_count || (uint32_t)fd >= tk_fd_count || fd == copy)
        return;
    tk_fd_raise(copy);
    if (word & TK_FD_TRACKED) {
        word |= TK_FD_SHARED;
        tk_fd_set(fd, word);
    }
    tk_fds[copy].name = tk_fds[fd].name;
    tk_fd_set(copy, word);
}

size_t tk_fd_name(int fd, char *to, size_t room)
{
    char link[32] = "/proc/self/fd/", digits[12];
    int at = 14, count = 0;
    long bytes;
    unsigned number = (unsigned)fd;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        link[at++] = digits[--count];
    link[at] = 0;
    bytes = TK_RAW4(SYS_readlinkat, AT_FDCWD, link, to, room);
    return bytes > 0 && (size_t)bytes < room ? (size_t)bytes : 0;
}

static int is_kernels_own(const char *name, size_t bytes)
{
    return (bytes >= 6 && memcmp(name, "/proc/", 6) == 0) || (bytes >= 5 && memcmp(name, "/sys/", 5) == 0);
}

static int look(int fd, struct tk_identity *identity)
{
    struct stat facts;
#if defined(__x86_64__) || defined(__aarch64__)
    if (TK_RAW2(SYS_fstat, fd, &facts) != 0)
        return -1;
#else
    return -1;
#endif
    identity->device = facts.st_dev;
    identity->inode = facts.st_ino;
    identity->size = (uint64_t)facts.st_size;
    identity->mode = facts.st_mode;
    identity->path_bytes = 0;
    return 0;
}

/* A descriptor that was not opened before our eyes: inherited, received, or opened by other means. */
static uint64_t learn_unknown(struct tk_thread *thread, int fd, struct tk_identity *identity, uint64_t now)
{
    char name[NAME];
    uint32_t file;
    uint64_t word;
    long flags;

    identity->path_bytes = (uint32_t)tk_fd_name(fd, name, sizeof name);
    if (is_kernels_own(name, identity->path_bytes) || (file = tk_new_file()) == 0)
        return TK_FD_IGNORED;
    word = (uint64_t)file << 32 | TK_FD_KNOWN | TK_FD_TRACKED | TK_FD_SHARED;
    flags = TK_RAW3(SYS_fcntl, fd, F_GETFL, 0);
    flags = flags < 0 ? 0 : flags;
    word |= tk_fd_status_bits(flags);
    tk_note_text(thread, TK_FILE | file << TK_FILE_SHIFT, (uint64_t)flags, fd, now, now, identity, sizeof *identity, name,
                 identity->path_bytes);
    return word;
}

uint64_t tk_fd_learn(struct tk_thread *thread, int fd)
{
    uint64_t word = tk_fd_word(fd), now = tk_ticks();
    struct tk_identity identity;

    if (look(fd, &identity) < 0)
        return 0;
    if (word & TK_FD_UNSEEN) {
        uint32_t file = (uint32_t)(word >> 32);
        word &= ~(uint64_t)TK_FD_UNSEEN;
        tk_note_text(thread, TK_FILE | file << TK_FILE_SHIFT, 0, fd, now, now, &identity, sizeof identity, NULL, 0);
        if (S_ISREG(identity.mode) && (uint32_t)fd < tk_fd_count)
            tk_saw(tk_fds[fd].name);
        else if (!S_ISREG(identity.mode) && !S_ISDIR(identity.mode))
            word = TK_FD_IGNORED;
        tk_residence_look(tk_local.thread, fd, file, &identity);
    } else if (S_ISREG(identity.mode) || S_ISDIR(identity.mode)) {
        word = learn_unknown(thread, fd, &identity, now);
        if (word & TK_FD_TRACKED)
            tk_residence_look(tk_local.thread, fd, (uint32_t)(word >> 32), &identity);
    } else {
        word = TK_FD_IGNORED;
    }
    if ((uint32_t)fd < tk_fd_count) {
        tk_fd_raise(fd);
        tk_fd_set(fd, word);
    }
    return word;
}

static int64_t ask_kernel(int fd)
{
    return TK_RAW3(SYS_lseek, fd, 0, SEEK_CUR);
}

int64_t tk_fd_moved(int fd, uint64_t word, int64_t moved, int writing)
{
    struct tk_fd *entry;
    int64_t position;

    if (moved < 0)
        moved = 0;
    if ((uint32_t)fd >= tk_fd_count)
        return (position = ask_kernel(fd)) < 0 ? -1 : position - moved;
    entry = &tk_fds[fd];
    if (TK_UNLIKELY(word & TK_FD_SHARED || (writing && word & TK_FD_APPEND) ||
                    entry->forks != atomic_load_explicit(&tk_process->forks, memory_order_relaxed))) {
        int64_t end = ask_kernel(fd);
        atomic_store_explicit(&entry->position, end, memory_order_relaxed);
        return end < 0 ? -1 : end - moved;
    }
    position = atomic_fetch_add_explicit(&entry->position, moved, memory_order_relaxed);
    /* Positions can also move out of our sight (a raw system call, a descriptor sent to another process). One look in
       many finds that out; from then on the kernel is asked. Another thread's op in between looks the same and costs
       only speed. */
    if (TK_UNLIKELY(++entry->moves % CHECK_EVERY == 0)) {
        int64_t end = ask_kernel(fd);
        if (end != position + moved) {
            atomic_fetch_or(&entry->word, (uint64_t)TK_FD_SHARED);
            atomic_fetch_add_explicit(&tk_process->wrong_offsets, 1, memory_order_relaxed);
            position = end - moved;
        }
    }
    return position;
}

void tk_fd_sought(int fd, int64_t position)
{
    if ((uint32_t)fd < tk_fd_count)
        atomic_store_explicit(&tk_fds[fd].position, position, memory_order_relaxed);
}
