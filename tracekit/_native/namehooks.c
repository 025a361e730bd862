/* The hooks of calls that take names or make, copy and close descriptors. They keep the table of descriptors right, also
   when nothing is noted; the one exception is a child of vfork, which has its own descriptors but its parent's memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "fdtable.h"
#include "hooks.h"
#include "sightings.h"
#include "spool.h"

enum { DIRECTORY_ROOM = 1024 };

static inline int64_t outcome(long result)
{
    return result >= 0 ? result : -(int64_t)errno;
}

/* Relative names are noted as they are; what they are relative to is noted once per change and chunk. */
static void note_directory(struct tk_thread *thread, uint64_t now)
{
    uint32_t version = atomic_load_explicit(&tk_process->cwd, memory_order_relaxed);
    char name[DIRECTORY_ROOM];
    long bytes;
    if (TK_LIKELY(thread->seen_cwd == version))
        return;
    bytes = TK_RAW2(SYS_getcwd, name, sizeof name);
    if (bytes <= 1)
        return;
    thread->seen_cwd = version;
    tk_note_text(thread, TK_CWD, 0, 0, now, now, name, (size_t)bytes - 1, NULL, 0);
}

/* Note an op on a name of `length` bytes; `directory` is where a relative one starts. */
static __attribute__((noinline)) void note_any_name(struct tk_thread *thread, uint32_t what, int directory, const char *path, size_t length,
                            uint64_t len, int64_t ret, uint64_t begin, uint64_t end)
{
    char name[DIRECTORY_ROOM];
    size_t bytes = 0;

    if (path[0] != '/' && directory == AT_FDCWD) {
        /* Both in one chunk: readers take each chunk for itself. */
        for (int attempt = 0; attempt < 3 && thread; attempt++) {
            note_directory(thread, begin);
            thread = tk_local.thread;
            if (tk_note_text_in(thread, what, len, ret, begin, end, path, length, NULL, 0))
                return;
            thread = tk_turn(thread);
        }
        tk_count_lost();
        return;
    }
    if (path[0] != '/') {
        bytes = tk_fd_name(directory, name, sizeof name - 1);
        if (bytes)
            name[bytes++] = '/';
    }
    tk_note_text(thread, what, len, ret, begin, end, name, bytes, path, length);
}

/* The same; an absolute name for which there is room is the common case. */
static inline void note_known_name(struct tk_thread *thread, uint32_t what, int directory, const char *path, size_t length,
                                   uint64_t len, int64_t ret, uint64_t begin, uint64_t end)
{
    if (TK_UNLIKELY(path[0] != '/' || !tk_note_name_in(thread, what, len, ret, begin, end, path, length)))
        note_any_name(thread, what, directory, path, length, len, ret, begin, end);
}

/* The same for a path that may be anything: one that the kernel could not read is not read here. */
static void note_name(uint32_t what, int directory, const char *path, uint64_t len, int64_t ret, uint64_t begin)
{
    uint64_t end = tk_ticks();
    struct tk_thread *thread = tk_self();

    if (thread == NULL || path == NULL || ret == -EFAULT || ret == -ENAMETOOLONG ||
        ((what & 63) == TK_STAT && thread->hushed))
        return;
    note_known_name(thread, what, directory, path, strlen(path), len, ret, begin, end);
}

/* -- open --------------------------------------------------------------------------------------------------------- */

static int is_kernels_own(const char *path)
{
    return path[0] == '/' && ((path[1] == 'p' && strncmp(path, "/proc/", 6) == 0) ||
                              (path[1] == 's' && strncmp(path, "/sys/", 5) == 0));
}

static inline void opened(int fd, int directory, const char *path, int flags, uint64_t begin)
{
    uint64_t end = tk_ticks();
    struct tk_thread *thread;
    uint32_t file;
    int64_t ret = outcome(fd);
    size_t bytes;

    if (!tk_on || (thread = tk_self()) == NULL)
        return;
    if (fd < 0) {
        note_name(TK_OPEN, directory, path, (uint32_t)flags, ret, begin);
    } else if (is_kernels_own(path)) {
        tk_fd_set(fd, TK_FD_IGNORED);
    } else {
        file = tk_new_file();
        bytes = strlen(path);
        tk_fd_opened(fd, file, flags, path[0] == '/' || directory == AT_FDCWD ? tk_fingerprint(path, bytes) : 0);
        if (file)
            note_known_name(thread, TK_OPEN | file << TK_FILE_SHIFT, directory, path, bytes, (uint32_t)flags, ret, begin, end);
        else
            tk_count_lost();
    }
}

int hook_open64(const char *path, int flags, mode_t mode)
{
    uint64_t begin = tk_ticks();
    int fd = tk_original.open64(path, flags, mode);
    opened(fd, AT_FDCWD, path, flags, begin);
    return fd;
}

int hook___open64_nocancel(const char *path, int flags, mode_t mode)
{
    uint64_t begin = tk_ticks();
    int fd = tk_original.__open64_nocancel(path, flags, mode);
    opened(fd, AT_FDCWD, path, flags, begin);
    return fd;
}

int hook_openat64(int directory, const char *path, int flags, mode_t mode)
{
    uint64_t begin = tk_ticks();
    int fd = tk_original.openat64(directory, path, flags, mode);
    opened(fd, directory, path, flags, begin);
    return fd;
}

enum { IN_ROOT = 0x10 }; /* RESOLVE_IN_ROOT: what begins with a slash begins in `directory`; named when it is read */

long tk_openat2(int directory, const char *path, const void *how, size_t bytes)
{
    const uint64_t *words = how; /* flags, mode, resolve */
    uint64_t begin = tk_ticks();
    long fd = tk_original.syscall(SYS_openat2, directory, (long)path, (long)how, (long)bytes, 0, 0);
    if (fd >= 0 && !(words[2] & IN_ROOT)) /* then the kernel could read `how` */
        opened((int)fd, directory, path, (int)words[0], begin);
    return fd;
}

int hook_creat64(const char *path, mode_t mode)
{
    uint64_t begin = tk_ticks();
    int fd = tk_original.creat64(path, mode);
    opened(fd, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, begin);
    return fd;
}

/* -- close and copies --------------------------------------------------------------------------------------------- */

/* Whether this call acts on the descriptors that the table describes. */
static inline int is_ours(void)
{
    struct tk_thread *thread = tk_local.thread;
    if (!tk_on || tk_process == NULL || *tk_live != tk_generation)
        return 0;
    if (TK_UNLIKELY(thread == NULL || tk_local.generation != tk_generation))
        return TK_RAW0(SYS_getpid) == tk_process->pid;
    return TK_LIKELY(!thread->vforked) || tk_after_vfork(thread) != NULL;
}

/* Forgotten before the call: afterwards the number may belong to another thread's new file. */
static inline uint64_t closing(int fd)
{
    uint64_t word = tk_fd_word(fd);
    if (word == 0 || !is_ours())
        return 0;
    tk_fd_set(fd, 0);
    return word & TK_FD_TRACKED ? word : 0;
}

static inline void closed(uint64_t word, long result, uint64_t begin)
{
    uint64_t end = tk_ticks();
    struct tk_thread *thread = tk_self();
    if (thread)
        tk_note(thread, TK_CLOSE | (uint32_t)(word >> 32) << TK_FILE_SHIFT, 0, 0, outcome(result), begin, end);
}

#define CLOSES(name) \
    int hook_##name(int fd) \
    { \
        uint64_t word = closing(fd), begin; \
        int result; \
        if (word == 0) \
            return tk_original.name(fd); \
        begin = tk_ticks(); \
        result = tk_original.name(fd); \
        closed(word, result, begin); \
        return result; \
    }

CLOSES(close)
CLOSES(__close_nocancel)

static void closing_range(unsigned first, unsigned last)
{
    if (is_ours())
        tk_fd_forget(first, last);
}

int hook_close_range(unsigned first, unsigned last, int flags)
{
    if (flags == 0)
        closing_range(first, last);
    return tk_original.close_range(first, last, flags);
}

void hook_closefrom(int first)
{
    closing_range(first < 0 ? 0 : (unsigned)first, ~0U);
    tk_original.closefrom(first);
}

int hook_dup(int fd)
{
    int copy = tk_original.dup(fd);
    if (copy >= 0 && is_ours())
        tk_fd_duplicated(fd, copy);
    return copy;
}

int hook_dup2(int fd, int copy)
{
    int result = tk_original.dup2(fd, copy);
    if (result >= 0 && is_ours())
        tk_fd_duplicated(fd, copy);
    return result;
}

int hook_dup3(int fd, int copy, int flags)
{
    int result = tk_original.dup3(fd, copy, flags);
    if (result >= 0 && is_ours())
        tk_fd_duplicated(fd, copy);
    return result;
}

int hook_fcntl64(int fd, int command, long argument)
{
    int result = tk_original.fcntl64(fd, command, argument);
    if (result < 0 || (command != F_DUPFD && command != F_DUPFD_CLOEXEC && command != F_SETFL) || !is_ours())
        return result;
    if (command == F_SETFL)
        tk_fd_status(fd, argument);
    else
        tk_fd_duplicated(fd, result);
    return result;
}

/* -- names -------------------------------------------------------------------------------------------------------- */

/* Of a name; what an open descriptor says about itself costs the storage nothing. Directories are left out as the Python
   engine leaves them out: resolving one path looks at each on the way. */
static void stat_done(int directory, const char *path, int result, unsigned mode, uint64_t begin)
{
    if (!tk_on || (result < 0 && errno == EFAULT) || path == NULL || path[0] == 0 || is_kernels_own(path))
        return;
    if (result < 0 || S_ISREG(mode) || S_ISLNK(mode))
        note_name(TK_STAT, directory, path, 0, outcome(result), begin);
}

int hook_fstatat64(int directory, const char *path, struct stat *to, int flags)
{
    uint64_t begin = tk_ticks();
    int result = tk_original.fstatat64(directory, path, to, flags);
    stat_done(directory, path, result, result == 0 ? to->st_mode : 0, begin);
    return result;
}

int hook_statx(int directory, const char *path, int flags, unsigned mask, struct statx *to)
{
    uint64_t begin = tk_ticks();
    int result = tk_original.statx(directory, path, flags, mask, to);
    unsigned mode = result == 0 && to->stx_mask & STATX_TYPE ? to->stx_mode : S_IFREG;
    stat_done(directory, path, result, mode, begin);
    return result;
}

static void named(uint32_t kind, int directory, const char *path, uint64_t len, int result, uint64_t begin)
{
    if (tk_on)
        note_name(kind, directory, path, len, outcome(result), begin);
}

#define OF_NAME(name, kind, parameters, call, directory, len) \
    int hook_##name parameters \
    { \
        uint64_t begin = tk_ticks(); \
        int result = tk_original.name call; \
        named(kind, directory, path, len, result, begin); \
        return result; \
    }

OF_NAME(truncate64, TK_TRUNCATE, (const char *path, off_t bytes), (path, bytes), AT_FDCWD, (uint64_t)bytes)
OF_NAME(unlink, TK_DELETE, (const char *path), (path), AT_FDCWD, 0)
OF_NAME(unlinkat, flags & AT_REMOVEDIR ? TK_RMDIR : TK_DELETE, (int directory, const char *path, int flags),
        (directory, path, flags), directory, 0)
OF_NAME(mkdir, TK_MKDIR, (const char *path, mode_t mode), (path, mode), AT_FDCWD, 0)
OF_NAME(rmdir, TK_RMDIR, (const char *path), (path), AT_FDCWD, 0)

/* A rename is two records: what was named, then (at the same time) its new name. */
static void renamed(int from_directory, const char *from, int to_directory, const char *to, int result, uint64_t begin)
{
    if (!tk_on)
        return;
    note_name(TK_RENAME, from_directory, from, 0, outcome(result), begin);
    note_name(TK_RENAME, to_directory, to, 1, outcome(result), begin);
}

int hook_rename(const char *from, const char *to)
{
    uint64_t begin = tk_ticks();
    int result = tk_original.rename(from, to);
    renamed(AT_FDCWD, from, AT_FDCWD, to, result, begin);
    return result;
}

int hook_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    uint64_t begin = tk_ticks();
    int result = tk_original.renameat(from_directory, from, to_directory, to);
    renamed(from_directory, from, to_directory, to, result, begin);
    return result;
}

int hook_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    uint64_t begin = tk_ticks();
    int result = tk_original.renameat2(from_directory, from, to_directory, to, flags);
    renamed(from_directory, from, to_directory, to, result, begin);
    return result;
}

static void moved_directory(int result)
{
    if (result == 0 && is_ours())
        atomic_fetch_add(&tk_process->cwd, 1);
}

int hook_chdir(const char *path)
{
    int result = tk_original.chdir(path);
    moved_directory(result);
    return result;
}

int hook_fchdir(int fd)
{
    int result = tk_original.fchdir(fd);
    moved_directory(result);
    return result;
}
