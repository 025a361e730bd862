/* The hooks of calls that move data. Each is the original call between two looks at the clock; what it did is noted
   afterwards, so a call that never returns (a cancelled thread, a killed process) leaves nothing half-written. errno is
   the original's: nothing after it goes through the C library. */
#define _GNU_SOURCE
#include <errno.h>

#include "fdtable.h"
#include "hooks.h"
#include "residence.h"
#include "spool.h"

#include <sys/mman.h>

/* What a descriptor is, asked before a call on it: what of a file is in the page cache has to be seen before it is read. */
static inline uint64_t word_before(int fd)
{
    uint64_t word = tk_fd_word(fd);
    if (TK_UNLIKELY((word & (TK_FD_KNOWN | TK_FD_UNSEEN)) != TK_FD_KNOWN))
        tk_residence_before(fd);
    return word;
}

static inline int is_ignored(int fd)
{
    uint64_t word = word_before(fd);
    return word == TK_FD_IGNORED || TK_UNLIKELY(!tk_on);
}

/* The kernel counts what is read from pipes and sockets too; the certificate needs to know how much that was. What a confined
   process reads is not left out by choice: it is missing. */
static inline void count_ignored(ssize_t read, ssize_t written)
{
    struct tk_thread *thread = tk_local.thread;
    if (TK_UNLIKELY(!tk_on) && tk_process && atomic_load_explicit(&tk_process->confined, memory_order_relaxed))
        return;
    if (TK_LIKELY(thread != NULL && tk_local.generation == *tk_live)) {
        thread->ignored_read += read > 0 ? (uint64_t)read : 0;
        thread->ignored_written += written > 0 ? (uint64_t)written : 0;
    } else if (read > 0 || written > 0) {
        tk_count_apart(read > 0 ? read : 0, written > 0 ? written : 0);
    }
}

/* What a descriptor is, after a call on it; 0 when there is nothing to note. */
static inline uint64_t known(struct tk_thread *thread, int fd, ssize_t result)
{
    uint64_t word = tk_fd_word(fd);
    if (TK_UNLIKELY(word == 0 || word & TK_FD_UNSEEN)) {
        if (word == 0 && result < 0 && errno == EBADF)
            return 0;
        word = tk_fd_learn(thread, fd);
    }
    return word & TK_FD_TRACKED ? word : 0;
}

static inline uint32_t what(uint32_t kind, uint64_t word)
{
    return kind | (uint32_t)(word >> 32) << TK_FILE_SHIFT;
}

static inline int64_t outcome(ssize_t result)
{
    return TK_LIKELY(result >= 0) ? result : -(int64_t)errno;
}

enum { AT_POSITION = -1 };

/* Note a read or write of `fd`; offset AT_POSITION when the call used and moved the file's position. */
static inline void done(uint32_t kind, int fd, int64_t offset, uint64_t bytes, ssize_t result, uint64_t begin)
{
    uint64_t end = tk_ticks(), word;
    int writing = kind == TK_WRITE || kind == TK_SPLICE_WRITE;
    struct tk_thread *thread = tk_self();
    if (TK_UNLIKELY(thread == NULL))
        return;
    word = known(thread, fd, result);
    if (TK_UNLIKELY(word == 0)) {
        if (kind == TK_READ || kind == TK_WRITE)
            count_ignored(writing ? 0 : result, writing ? result : 0);
        return;
    }
    if (offset == AT_POSITION)
        offset = tk_fd_moved(fd, word, result, writing);
    thread = tk_local.thread; /* learning may have turned to the next chunk */
    tk_note(thread, what(kind, word), offset, bytes, outcome(result), begin, end);
}

/* The lengths of a vector the kernel has accepted; one it refused may not even be readable. */
static uint64_t vector_bytes(const struct iovec *vector, int count, ssize_t result)
{
    uint64_t bytes = 0;
    if (result >= 0)
        for (int i = 0; i < count; i++)
            bytes += vector[i].iov_len;
    return bytes;
}

#define READS(name, parameters, call, offset, bytes) \
    ssize_t hook_##name parameters \
    { \
        uint64_t begin; \
        ssize_t result; \
        if (is_ignored(fd)) { \
            result = tk_original.name call; \
            count_ignored(result, 0); \
            return result; \
        } \
        begin = tk_ticks(); \
        result = tk_original.name call; \
        done(TK_READ, fd, offset, bytes, result, begin); \
        return result; \
    }

#define WRITES(name, parameters, call, offset, bytes) \
    ssize_t hook_##name parameters \
    { \
        uint64_t begin; \
        ssize_t result; \
        if (is_ignored(fd)) { \
            result = tk_original.name call; \
            count_ignored(0, result); \
            return result; \
        } \
        begin = tk_ticks(); \
        result = tk_original.name call; \
        done(TK_WRITE, fd, offset, bytes, result, begin); \
        return result; \
    }

READS(read, (int fd, void *to, size_t bytes), (fd, to, bytes), AT_POSITION, bytes)
READS(__read_nocancel, (int fd, void *to, size_t bytes), (fd, to, bytes), AT_POSITION, bytes)
READS(pread64, (int fd, void *to, size_t bytes, off_t offset), (fd, to, bytes, offset), offset < 0 ? -2 : offset, bytes)
READS(__pread64_nocancel, (int fd, void *to, size_t bytes, off_t offset), (fd, to, bytes, offset),
      offset < 0 ? -2 : offset, bytes)
READS(readv, (int fd, const struct iovec *vector, int count), (fd, vector, count), AT_POSITION,
      vector_bytes(vector, count, result))
READS(preadv64, (int fd, const struct iovec *vector, int count, off_t offset), (fd, vector, count, offset),
      offset < 0 ? -2 : offset, vector_bytes(vector, count, result))
READS(preadv64v2, (int fd, const struct iovec *vector, int count, off_t offset, int flags),
      (fd, vector, count, offset, flags), offset < -1 ? -2 : offset, vector_bytes(vector, count, result))

WRITES(write, (int fd, const void *from, size_t bytes), (fd, from, bytes), AT_POSITION, bytes)
WRITES(__write_nocancel, (int fd, const void *from, size_t bytes), (fd, from, bytes), AT_POSITION, bytes)
WRITES(pwrite64, (int fd, const void *from, size_t bytes, off_t offset), (fd, from, bytes, offset),
       offset < 0 ? -2 : offset, bytes)
WRITES(writev, (int fd, const struct iovec *vector, int count), (fd, vector, count), AT_POSITION,
       vector_bytes(vector, count, result))
WRITES(pwritev64, (int fd, const struct iovec *vector, int count, off_t offset), (fd, vector, count, offset),
       offset < 0 ? -2 : offset, vector_bytes(vector, count, result))
WRITES(pwritev64v2, (int fd, const struct iovec *vector, int count, off_t offset, int flags),
       (fd, vector, count, offset, flags), offset < -1 ? -2 : offset, vector_bytes(vector, count, result))

/* -- between two descriptors -------------------------------------------------------------------------------------- */

/* Where a call with an offset in memory began: behind the call the memory holds the place after it. */
static int64_t began(const off_t *offset, ssize_t result)
{
    return offset == NULL ? AT_POSITION : result < 0 ? -2 : *offset - result;
}

/* What is asked of the target of a copy: what the source had to give, which at its end is less than what was asked of it. */
static size_t given(size_t bytes, ssize_t result)
{
    return result < 0 ? bytes : (size_t)result;
}

ssize_t hook_sendfile64(int to, int from, off_t *offset, size_t bytes)
{
    uint64_t begin;
    ssize_t result;
    word_before(from);
    begin = tk_ticks();
    result = tk_original.sendfile64(to, from, offset, bytes);
    if (TK_UNLIKELY(!tk_on))
        return result;
    done(TK_READ, from, began(offset, result), bytes, result, begin);
    done(TK_WRITE, to, AT_POSITION, given(bytes, result), result, begin);
    return result;
}

ssize_t hook_copy_file_range(int from, off_t *in, int to, off_t *out, size_t bytes, unsigned flags)
{
    uint64_t begin;
    ssize_t result;
    word_before(from);
    begin = tk_ticks();
    result = tk_original.copy_file_range(from, in, to, out, bytes, flags);
    if (TK_UNLIKELY(!tk_on))
        return result;
    done(TK_READ, from, began(in, result), bytes, result, begin);
    done(TK_WRITE, to, began(out, result), given(bytes, result), result, begin);
    return result;
}

ssize_t hook_splice(int from, off_t *in, int to, off_t *out, size_t bytes, unsigned flags)
{
    uint64_t begin;
    ssize_t result;
    word_before(from);
    begin = tk_ticks();
    result = tk_original.splice(from, in, to, out, bytes, flags);
    if (TK_UNLIKELY(!tk_on))
        return result;
    done(TK_SPLICE_READ, from, began(in, result), bytes, result, begin);
    done(TK_SPLICE_WRITE, to, began(out, result), given(bytes, result), result, begin);
    return result;
}

/* -- positions, mappings, the rest -------------------------------------------------------------------------------- */

off_t hook_lseek64(int fd, off_t offset, int whence)
{
    off_t result = tk_original.lseek64(fd, offset, whence);
    if (result >= 0 && tk_fd_word(fd) & TK_FD_TRACKED && tk_self())
        tk_fd_sought(fd, result);
    return result;
}

void *hook_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    uint64_t begin;
    void *result;
    if (fd < 0 || flags & MAP_ANONYMOUS || is_ignored(fd)) /* malloc comes this way */
        return tk_original.mmap64(at, bytes, protection, flags, fd, offset);
    begin = tk_ticks();
    result = tk_original.mmap64(at, bytes, protection, flags, fd, offset);
    done(TK_MMAP, fd, offset, bytes, result == MAP_FAILED ? -1 : 0, begin);
    return result;
}

#define OF_DESCRIPTOR(name, type, kind, parameters, call, offset, bytes) \
    type hook_##name parameters \
    { \
        uint64_t begin; \
        type result; \
        if (is_ignored(fd)) \
            return tk_original.name call; \
        begin = tk_ticks(); \
        result = tk_original.name call; \
        done(kind, fd, offset, bytes, result, begin); \
        return result; \
    }

OF_DESCRIPTOR(fsync, int, TK_FSYNC, (int fd), (fd), 0, 0)
OF_DESCRIPTOR(fdatasync, int, TK_FSYNC, (int fd), (fd), 0, 0)
OF_DESCRIPTOR(ftruncate64, int, TK_TRUNCATE, (int fd, off_t bytes), (fd, bytes), 0, (uint64_t)bytes)
OF_DESCRIPTOR(readahead, ssize_t, TK_READAHEAD, (int fd, off_t offset, size_t bytes), (fd, offset, bytes), offset, bytes)

/* The one call that returns its error instead of setting errno. */
int hook_posix_fadvise64(int fd, off_t offset, off_t bytes, int advice)
{
    int ignored = is_ignored(fd);
    uint64_t begin = tk_ticks();
    int result = tk_original.posix_fadvise64(fd, offset, bytes, advice);
    if (result == 0 && !ignored)
        done(TK_FADVISE, fd, offset, (uint64_t)bytes, advice, begin);
    return result;
}

static int is_hushed(void)
{
    struct tk_thread *thread = tk_self();
    return thread == NULL || thread->hushed;
}

/* A directory is listed by several calls; the first one at its beginning stands for the listing. */
ssize_t hook_getdents64(int fd, void *to, size_t bytes)
{
    uint64_t begin = tk_ticks();
    ssize_t result = tk_original.getdents64(fd, to, bytes);
    if (result >= 0 && !is_ignored(fd) && (uint32_t)fd < tk_fd_count && tk_fd_word(fd) && !is_hushed() &&
        atomic_exchange_explicit(&tk_fds[fd].position, 1, memory_order_relaxed) == 0)
        done(TK_LIST, fd, 0, 0, 0, begin);
    return result;
}
