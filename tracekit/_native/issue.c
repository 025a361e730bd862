/* How each kind of op is done: the counterpart of tracekit/replay/issue.py. Whatever changes something happens in scratch. */
#define _GNU_SOURCE
#include "engine.h"
#include "raw.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { VECTORS = 256 };
static const int64_t CHANGING = (int64_t)1 << 62;

bool tk_moves(const tk_op *op)
{
    return op->kind == TK_READ || op->kind == TK_WRITE;
}

static bool is_change(const tk_op *op)
{
    return op->kind == TK_WRITE || op->kind == TK_FSYNC || op->kind == TK_DELETE;
}

static bool uses_handle(const tk_issue *issue, const tk_op *op)
{
    if (op->kind == TK_FSYNC)
        return issue->files[op->file].flags & TK_CHANGED;
    return tk_moves(op) || op->kind == TK_MMAP;
}

/* The range asked for: rounded outwards under O_DIRECT. */
static void range_of(const tk_file *file, const tk_op *op, int64_t *first, uint32_t *span)
{
    *first = op->offset;
    *span = op->length;
    int64_t align = file->align;
    /* At the end of what a number can say nothing can be read either: the kernel refuses it as it is. */
    if (align && op->kind == TK_READ && op->offset <= INT64_MAX - op->length - align) {
        int64_t end = op->offset + op->length;
        *first = op->offset / align * align;
        *span = op->length ? (uint32_t)((end + align - 1) / align * align - *first) : 0;
    }
}

/* Bytes an op has in flight. */
int64_t tk_weight(const tk_issue *issue, const tk_op *op)
{
    int64_t first;
    uint32_t span;
    range_of(&issue->files[op->file], op, &first, &span);
    return tk_moves(op) ? span : 0;
}

/* Which handle an op uses: one of its stream's own, but for O_DIRECT, which has no readahead that others could disturb. */
int64_t tk_key(const tk_issue *issue, int32_t stream, const tk_op *op)
{
    bool shared = issue->files[op->file].align && !is_change(op);
    return (shared ? 0 : (int64_t)stream << 31) | op->file | (is_change(op) ? CHANGING : 0);
}

/* The handle that all streams have for what the op reads; NULL: each has its own. */
static tk_handle *common_of(const tk_issue *issue, const tk_op *op)
{
    bool has = issue->common && op->kind == TK_READ && issue->common[op->file].fd >= 0;
    return has ? &issue->common[op->file] : NULL;
}

/* It will soon be got ready for. */
void tk_aim_prefetch(const tk_issue *issue, const tk_handles *handles, int64_t key, const tk_op *op)
{
    if (issue->common && op->kind == TK_READ)
        __builtin_prefetch(&issue->common[op->file]);
    else
        tk_handle_prefetch(handles, key);
}

/* Get ready for an op ahead of its time. A file that cannot be opened shows when the op is issued. */
void tk_aim_at(tk_issue *issue, tk_handles *handles, int64_t key, const tk_op *op, tk_aim *aim)
{
    const tk_file *file = &issue->files[op->file];
    *aim = (tk_aim){0};
    range_of(file, op, &aim->first, &aim->span);
    if ((aim->handle = common_of(issue, op)) == NULL && uses_handle(issue, op))
        aim->handle = tk_handle_for(handles, key, file, is_change(op), &aim->error);
}

/* How many bytes of the request are among those that its range returned. */
int64_t tk_delivered(const tk_issue *issue, const tk_op *op, int64_t result)
{
    uint32_t align = issue->files[op->file].align;
    if (op->kind != TK_READ || align == 0 || result < 0)
        return result;
    int64_t part = result - op->offset % align;
    return part < 0 ? 0 : part < op->length ? part : op->length;
}

static int64_t write_filling(const tk_issue *issue, int fd, const tk_op *op)
{
    int64_t offset = op->offset, done = 0;
    struct stat state;
    if (offset < 0 && fstat(fd, &state) == 0)
        offset = state.st_size;
    do {
        struct iovec vectors[VECTORS];
        int count = 0;
        for (int64_t at = done; count < VECTORS && (at < op->length || count == 0); at += TK_FILLING, count++) {
            int64_t left = op->length - at;
            vectors[count] = (struct iovec){(void *)issue->filling, (size_t)(left < TK_FILLING ? left : TK_FILLING)};
        }
        ssize_t written = pwritev(fd, vectors, count, offset + done);
        if (written < 0)
            return done ? done : -1;
        if (written == 0)
            break;
        done += written;
    } while (done < op->length);
    return done;
}

static int map_and_unmap(const tk_issue *issue, const tk_op *op, const tk_aim *aim)
{
    struct stat state;
    int64_t page = sysconf(_SC_PAGESIZE), offset = op->offset > 0 ? op->offset : 0, first = offset / page * page;
    (void)issue;
    if (fstat(aim->handle->fd, &state) < 0)
        return -1;
    int64_t length = op->length + offset - first;
    if (length > state.st_size - first)
        length = state.st_size - first;
    void *mapped = mmap(NULL, length > 0 ? (size_t)length : 0, PROT_READ, MAP_SHARED, aim->handle->fd, first);
    return mapped == MAP_FAILED ? -1 : munmap(mapped, (size_t)length);
}

static const char *place_of(const tk_file *file)
{
    return file->flags & TK_IN_SCRATCH ? file->scratch : file->path;
}

static int open_as_recorded(tk_issue *issue, int32_t group, const tk_op *op)
{
    const tk_file *file = &issue->files[op->file];
    /* Nothing is read from it: a FIFO whose writer is not there must not hold the stream, nor a terminal become ours. */
    int flags = file->flags & TK_IN_SCRATCH ? O_RDWR | O_CREAT : O_RDONLY | O_NONBLOCK | O_NOCTTY;
    int fd = open(place_of(file), flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (tk_recorded_put(&issue->recorded, group, op->file, fd)) {
        close(fd);
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

static int close_as_recorded(tk_issue *issue, int32_t group, const tk_op *op)
{
    int fd = tk_recorded_take(&issue->recorded, group, op->file);
    return fd < 0 ? 0 : close(fd);
}

static int list_entries(const tk_file *file)
{
    DIR *directory = opendir(file->path);
    if (directory == NULL)
        return -1;
    errno = 0;
    while (readdir(directory))
        ;
    int error = errno;
    closedir(directory);
    errno = error;
    return error ? -1 : 0;
}

/* What the trace deletes without having written it is not ours to delete. */
static int delete_scratch(tk_handles *handles, int64_t key, const tk_file *file)
{
    if (handles)
        tk_handle_drop(handles, key);
    if (file->scratch == NULL)
        return 0;
    return unlink(file->scratch) < 0 && errno != ENOENT ? -1 : 0;
}

static int64_t on_names(tk_issue *issue, tk_handles *handles, int32_t group, int64_t key, const tk_op *op)
{
    const tk_file *file = &issue->files[op->file];
    struct stat state;
    switch (op->kind) {
    case TK_OPEN:
        return open_as_recorded(issue, group, op);
    case TK_CLOSE:
        return close_as_recorded(issue, group, op);
    case TK_STAT:
        return stat(place_of(file), &state);
    case TK_LIST:
        return list_entries(file);
    case TK_DELETE:
        return delete_scratch(handles, key, file);
    case TK_FSYNC:
        return 0; /* nothing of it was changed */
    default:
        errno = EINVAL;
        return -1;
    }
}

/* pread(2), -1 and an errno on failure. The C library's own costs a tenth of a cached 4 KiB read more: it is a point where a
   thread can be cancelled. */
int64_t tk_read_at(int fd, void *address, size_t length, int64_t offset, int *error)
{
#if defined(__LP64__) && !defined(TRACEKIT_NO_RAW)
    int64_t result = TK_RAW4(SYS_pread64, fd, address, length, offset);
    *error = result < 0 ? (int)-result : 0;
#else
    int64_t result = pread(fd, address, length, offset);
    *error = result < 0 ? errno : 0;
#endif
    return result < 0 ? -1 : result;
}

/* Issue an op; bytes moved, or -1 where its kind moves none or it failed, which `error` tells. */
int64_t tk_issue_op(tk_issue *issue, tk_handles *handles, int32_t group, int64_t key, const tk_op *op, const tk_aim *aim,
                    void *address, int *error)
{
    int64_t result = -1;
    *error = 0;
    if (aim->error) {
        *error = aim->error;
        return -1;
    }
    if (op->kind == TK_READ)
        return tk_delivered(issue, op, tk_read_at(aim->handle->fd, address, aim->span, aim->first, error));
    if (op->kind == TK_WRITE)
        result = write_filling(issue, aim->handle->fd, op);
    else if (op->kind == TK_MMAP)
        result = map_and_unmap(issue, op, aim);
    else if (op->kind == TK_FSYNC && aim->handle)
        result = fsync(aim->handle->fd);
    else
        result = on_names(issue, handles, group, key, op);
    if (result < 0) {
        *error = errno;
        return -1;
    }
    return tk_moves(op) ? tk_delivered(issue, op, result) : -1;
}
