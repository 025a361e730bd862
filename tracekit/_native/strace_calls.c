/* What the calls of strace do: ops on files, and the places of descriptors that follow from them. */
#define _GNU_SOURCE
#include "strace.h"

#include <stdlib.h>

enum op { READ, WRITE, OPEN, CLOSE, STAT, DELETE, TRUNCATE, RENAME, MKDIR, FSYNC, FDATASYNC, LIST, FALLOCATE, FADVISE, READAHEAD, MMAP };
const char *const TK_S_OPS[] = {
    "read", "write", "open", "close", "stat", "delete", "truncate", "rename", "mkdir", "fsync", "fdatasync", "list", "fallocate",
    "fadvise", "readahead", "mmap", NULL,
};
const char *const TK_S_NAMES[TK_S_COLUMNS] = {"uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "err", "pid", "tid", "flags"};

enum kind { TRANSFER, OPENS, CREATES, ON_PATH, ON_FD, SEEKS, COPIES, CONTROLS, CLOSES, CLOSES_RANGE, SENDS, MOVES, MAPS, SILENT };

/* `size` and `place` are those of the arguments from the right, 0: there is none. */
typedef struct {
    const char *name;
    enum kind kind;
    enum op op;
    int size, place;
} known;

/* In order of names. */
static const known CALLS[] = {
    {"brk", SILENT, 0, 0, 0}, {"clone", SILENT, 0, 0, 0}, {"clone3", SILENT, 0, 0, 0}, {"close", CLOSES, CLOSE, 0, 0},
    {"close_range", CLOSES_RANGE, 0, 0, 0}, {"copy_file_range", MOVES, 0, 0, 0}, {"creat", CREATES, OPEN, 0, 0},
    {"dup", COPIES, 0, 0, 0}, {"dup2", COPIES, 0, 0, 0}, {"dup3", COPIES, 0, 0, 0}, {"execve", SILENT, 0, 0, 0},
    {"execveat", SILENT, 0, 0, 0}, {"exit", SILENT, 0, 0, 0}, {"exit_group", SILENT, 0, 0, 0},
    {"fadvise64", ON_FD, FADVISE, 0, 0}, {"fallocate", ON_FD, FALLOCATE, 0, 0}, {"fcntl", CONTROLS, 0, 0, 0},
    {"fdatasync", ON_FD, FDATASYNC, 0, 0}, {"fork", SILENT, 0, 0, 0}, {"fstat", SILENT, 0, 0, 0},
    {"fstatat64", ON_PATH, STAT, 0, 0}, {"fsync", ON_FD, FSYNC, 0, 0}, {"ftruncate", ON_FD, TRUNCATE, 0, 0},
    {"getdents", ON_FD, LIST, 0, 0}, {"getdents64", ON_FD, LIST, 0, 0}, {"ioctl", SILENT, 0, 0, 0}, {"lseek", SEEKS, 0, 0, 0},
    {"lstat", ON_PATH, STAT, 0, 0}, {"mkdir", ON_PATH, MKDIR, 0, 0}, {"mkdirat", ON_PATH, MKDIR, 0, 0}, {"mmap", MAPS, MMAP, 0, 0},
    {"mprotect", SILENT, 0, 0, 0}, {"munmap", SILENT, 0, 0, 0}, {"newfstatat", ON_PATH, STAT, 0, 0}, {"open", OPENS, OPEN, 0, 0},
    {"openat", OPENS, OPEN, 0, 0}, {"openat2", OPENS, OPEN, 0, 0}, {"pread64", TRANSFER, READ, 2, 1},
    {"preadv", TRANSFER, READ, 0, 1}, {"preadv2", TRANSFER, READ, 0, 2}, {"pwrite64", TRANSFER, WRITE, 2, 1},
    {"pwritev", TRANSFER, WRITE, 0, 1}, {"pwritev2", TRANSFER, WRITE, 0, 2}, {"read", TRANSFER, READ, 1, 0},
    {"readahead", ON_FD, READAHEAD, 0, 0}, {"readv", TRANSFER, READ, 0, 0}, {"rename", ON_PATH, RENAME, 0, 0},
    {"renameat", ON_PATH, RENAME, 0, 0}, {"renameat2", ON_PATH, RENAME, 0, 0}, {"rmdir", ON_PATH, DELETE, 0, 0},
    {"sendfile", SENDS, 0, 0, 0}, {"sendfile64", SENDS, 0, 0, 0}, {"splice", MOVES, 0, 0, 0}, {"stat", ON_PATH, STAT, 0, 0},
    {"statx", ON_PATH, STAT, 0, 0}, {"truncate", ON_PATH, TRUNCATE, 0, 0}, {"unlink", ON_PATH, DELETE, 0, 0},
    {"unlinkat", ON_PATH, DELETE, 0, 0}, {"vfork", SILENT, 0, 0, 0}, {"write", TRANSFER, WRITE, 1, 0},
    {"writev", TRANSFER, WRITE, 0, 0},
};

static int compared(tk_span name, const char *other)
{
    size_t length = strlen(other);
    int order = memcmp(name.begin, other, tk_length(name) < length ? tk_length(name) : length);
    return order ? order : (tk_length(name) > length) - (tk_length(name) < length);
}

static const known *call_named(tk_span name)
{
    size_t from = 0, to = sizeof CALLS / sizeof CALLS[0];
    while (from < to) {
        size_t middle = (from + to) / 2;
        int order = compared(name, CALLS[middle].name);
        if (order == 0)
            return &CALLS[middle];
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

/* -- what is told ------------------------------------------------------------------------------------------------------ */

/* Count something that is no op. */
void tk_leave_out(tk_strace *state, const char *what, size_t length, int64_t count)
{
    int32_t code = tk_strings_code(&state->reasons, what, length);
    if (code >= 0 && (size_t)code >= state->left_room) {
        size_t room = 2 * (size_t)code + 16;
        int64_t *left = realloc(state->left, room * sizeof *left);
        if (left) {
            memset(left + state->left_room, 0, (room - state->left_room) * sizeof *left);
            state->left = left;
            state->left_room = room;
        }
    }
    if (code >= 0 && (size_t)code < state->left_room)
        state->left[code] += count;
    else
        state->no_memory = true;
}

static void leave_out(tk_strace *state, const char *what)
{
    tk_leave_out(state, what, strlen(what), 1);
}

/* An op; of one that moves nothing, offset and length are 0. */
typedef struct {
    enum op op;
    tk_span path;
    int64_t offset, len, ret, flags;
} told;

static void tell(tk_strace *state, const tk_call *call, told op)
{
    int32_t uri = tk_strings_code(&state->uris, op.path.begin, tk_length(op.path)), error = -1;
    if (tk_length(call->error))
        error = tk_strings_code(&state->errors, call->error.begin, tk_length(call->error));
    state->no_memory |= uri < 0 || (error < 0 && tk_length(call->error));
    int64_t row = state->rows++;
    state->columns[TK_S_URI][row] = uri;
    state->columns[TK_S_OFFSET][row] = op.offset == TK_UNKNOWN ? -1 : op.offset;
    state->columns[TK_S_LEN][row] = op.len;
    state->columns[TK_S_SUBMIT][row] = call->when;
    state->columns[TK_S_OP][row] = op.op;
    state->columns[TK_S_COMPLETE][row] = call->end;
    state->columns[TK_S_RET][row] = op.ret;
    state->columns[TK_S_ERR][row] = error;
    state->columns[TK_S_PID][row] = call->pid;
    state->columns[TK_S_TID][row] = call->tid;
    state->columns[TK_S_FLAGS][row] = op.flags;
}

/* -- files ------------------------------------------------------------------------------------------------------------- */

static bool special(tk_span path)
{
    return tk_starts(path, "/dev/") || tk_starts(path, "/proc/") || tk_starts(path, "/sys/");
}

static void leave_out_kind(tk_strace *state, tk_span shown)
{
    size_t length = 0;
    while (length < tk_length(shown) && shown.begin[length] != ':' && shown.begin[length] != '[')
        length++;
    tk_text *text = &state->spare;
    text->length = 0;
    if (tk_text_add(text, "calls on ", 9) && tk_text_add(text, shown.begin, length) && tk_text_add(text, "s", 1))
        tk_leave_out(state, text->bytes, text->length, 1);
    else
        state->no_memory = true;
}

/* A name as it stands, unescaped where it has escapes; what it points to lives until the next. */
static tk_span plain(tk_strace *state, tk_span shown)
{
    if (memchr(shown.begin, '\\', tk_length(shown)) == NULL)
        return shown;
    state->path.length = 0;
    state->no_memory |= !tk_unescape(shown, &state->path);
    return (tk_span){state->path.bytes, state->path.bytes + state->path.length};
}

static tk_span opened_as(tk_strace *state, const tk_call *call, int64_t fd)
{
    int32_t code = tk_path_of(&state->descriptors, call->pid, fd, call->begun);
    if (code < 0)
        return (tk_span){NULL, NULL};
    const char *begin = state->paths.bytes + state->paths.strings[code].at;
    return (tk_span){begin, begin + state->paths.strings[code].length};
}

/* The descriptor at the beginning of some arguments, -1 for none, and its file: `begin` is NULL for what is no file, counted.
   False where the number has too many digits. */
static bool file_at(tk_strace *state, const tk_call *call, tk_span args, int64_t *fd, tk_span *path)
{
    static const char DELETED[] = " (deleted)";
    tk_fd found;
    *path = (tk_span){NULL, NULL};
    *fd = -1;
    if (!tk_fd_at(args, &found))
        return true;
    if (!tk_fd_number(&found, fd))
        return false;
    tk_span name = found.shown.begin ? plain(state, found.shown) : opened_as(state, call, *fd);
    if (name.begin == NULL)
        leave_out(state, "calls on descriptors whose opening is not in the file");
    else if (!tk_starts(name, "/"))
        leave_out_kind(state, name);
    else if (special(name))
        leave_out(state, "calls on /dev, /proc and /sys");
    else
        *path = name;
    size_t behind = sizeof DELETED - 1;
    if (path->begin && tk_length(*path) >= behind && memcmp(path->end - behind, DELETED, behind) == 0)
        path->end -= behind;
    return true;
}

static tk_opened *opened(tk_strace *state, const tk_call *call, int64_t fd)
{
    return tk_file_of(&state->descriptors, call->pid, fd, call->begun);
}

static int64_t moved_by(const tk_call *call)
{
    return call->ret > 0 ? call->ret : 0; /* TK_UNKNOWN is below 0 */
}

static int64_t step(tk_strace *state, const tk_call *call, int64_t fd, enum op op)
{
    tk_opened *file = opened(state, call, fd);
    if (file == NULL)
        return TK_UNKNOWN;
    return op == READ ? tk_advanced(file, moved_by(call)) : tk_written(file, moved_by(call));
}

/* -- kinds of calls ---------------------------------------------------------------------------------------------------- */

/* The lengths of vectors together, as far as they are shown; TK_UNKNOWN for none, false for one with too many digits. */
static bool vectors_in(tk_span args, int64_t *sum)
{
    static const char WORD[] = "iov_len=";
    *sum = 0;
    for (const char *at = args.begin; (at = memmem(at, (size_t)(args.end - at), WORD, sizeof WORD - 1)) != NULL;) {
        int64_t length;
        tk_span digits = {at + sizeof WORD - 1, at + sizeof WORD - 1};
        while (digits.end < args.end && tk_digit(*digits.end))
            digits.end++;
        at = digits.end;
        if (tk_length(digits) == 0)
            continue;
        if (!tk_number_of(digits, &length))
            return false;
        *sum = *sum == TK_UNKNOWN || length == TK_UNKNOWN || *sum > TK_MOST - length ? TK_UNKNOWN : *sum + length;
    }
    *sum = *sum == 0 ? TK_UNKNOWN : *sum;
    return true;
}

/* What a transfer asks for; TK_UNKNOWN where that is not shown. */
static bool size_of(const known *how, tk_span args, int64_t *size)
{
    tk_span field;
    *size = TK_UNKNOWN;
    if (how->size == 0)
        return vectors_in(args, size);
    return !tk_from_right(args, how->size, &field) || tk_integer_of(field, size);
}

static bool transfer(tk_strace *state, const known *how, const tk_call *call)
{
    int64_t fd, size, offset;
    tk_span path, field;
    if (!file_at(state, call, call->args, &fd, &path))
        return false;
    if (path.begin == NULL)
        return true;
    if (!size_of(how, call->args, &size))
        return false;
    if (how->place == 0)
        offset = step(state, call, fd, how->op);
    else if (!tk_from_right(call->args, how->place, &field) || !tk_integer_of(field, &offset))
        return false;
    int64_t moved = moved_by(call);
    tell(state, call, (told){how->op, path, offset, size == TK_UNKNOWN ? moved : size, moved, 0});
    return true;
}

static bool opens(tk_strace *state, const known *how, const tk_call *call)
{
    int flags = TK_CREATE | TK_TRUNCATE;
    bool good = tk_path_named(call->args, &state->path, &state->spare);
    tk_span path = {state->path.bytes, state->path.bytes + state->path.length};
    if (how->kind == OPENS)
        good &= tk_flags_in(call->args, &state->spare, &flags);
    if (call->ret >= 0) {
        /* With -y the result names the file, absolute and as it is, also where the argument was relative. */
        tk_span shown = tk_shown_at(call->rest);
        path = shown.begin ? plain(state, shown) : path;
        int32_t code = tk_strings_code(&state->paths, path.begin ? path.begin : "", tk_length(path));
        good &= code >= 0;
        tk_file_opened(&state->descriptors, call->pid, call->ret, code, flags & TK_APPEND);
    }
    state->no_memory |= !good;
    if (tk_length(path) && !special(path))
        tell(state, call, (told){OPEN, path, 0, 0, 0, flags});
    return true;
}

static bool on_path(tk_strace *state, const known *how, const tk_call *call)
{
    state->no_memory |= !tk_path_named(call->args, &state->path, &state->spare);
    tk_span path = {state->path.bytes, state->path.bytes + state->path.length};
    if (tk_length(path) && !special(path))
        tell(state, call, (told){how->op, path, 0, 0, 0, 0});
    return true;
}

static bool on_fd(tk_strace *state, const known *how, const tk_call *call)
{
    int64_t fd;
    tk_span path;
    if (!file_at(state, call, call->args, &fd, &path))
        return false;
    if (path.begin)
        tell(state, call, (told){how->op, path, 0, 0, 0, 0});
    if (how->kind == CLOSES && call->ret != TK_UNKNOWN) /* also where it failed: it is gone, or there was none (close(2)) */
        tk_file_closed(&state->descriptors, call->pid, fd, fd, call->begun);
    return true;
}

static bool seeks(tk_strace *state, const known *how, const tk_call *call)
{
    int64_t fd;
    tk_span path;
    if (tk_length(call->error))
        return true;
    if (!file_at(state, call, call->args, &fd, &path))
        return false;
    tk_opened *file = opened(state, call, fd);
    if (file)
        file->position = call->ret;
    return true;
}

static bool copies(tk_strace *state, const known *how, const tk_call *call)
{
    tk_fd found;
    int64_t fd = -1;
    if (how->kind == CONTROLS && !tk_has(call->args, "F_DUPFD"))
        return true;
    if (tk_length(call->error) || call->ret == TK_UNKNOWN)
        return true;
    if (tk_fd_at(call->args, &found) && !tk_fd_number(&found, &fd))
        return false;
    tk_file_copied(&state->descriptors, call->pid, fd, call->ret, call->begun);
    return true;
}

static bool closes_range(tk_strace *state, const known *how, const tk_call *call)
{
    tk_span fields[2];
    int64_t first = TK_UNKNOWN, last = TK_UNKNOWN;
    int count = tk_fields(call->args, fields, 2);
    if (!tk_integer_of(fields[0], &first) || (count > 1 && !tk_integer_of(fields[1], &last)))
        return false;
    if (call->ret != 0 || first == TK_UNKNOWN || last == TK_UNKNOWN)
        return true;
    if (tk_has(call->args, "CLOSE_RANGE_UNSHARE"))
        tk_process_unshared(&state->descriptors, call->pid);
    if (!tk_has(call->args, "CLOSE_RANGE_CLOEXEC"))
        tk_file_closed(&state->descriptors, call->pid, first, last, call->begun);
    return true;
}

/* The number that a text begins with in brackets; false where there is none. */
static bool bracketed(tk_span text, tk_span *digits)
{
    if (!tk_starts(text, "["))
        return false;
    *digits = (tk_span){text.begin + 1, text.begin + 1};
    while (digits->end < text.end && tk_digit(*digits->end))
        digits->end++;
    return tk_length(*digits) && digits->end < text.end && *digits->end == ']';
}

static bool moved_at(tk_strace *state, const tk_call *call, enum op op, tk_span end, tk_span place)
{
    int64_t fd, offset, moved = moved_by(call);
    tk_span path, digits;
    if (!file_at(state, call, end, &fd, &path))
        return false;
    if (path.begin == NULL)
        return true;
    tk_opened *file = opened(state, call, fd); /* known from here on, also where the place is given */
    if (!bracketed(place, &digits))
        offset = file ? step(state, call, fd, op) : TK_UNKNOWN;
    else if (!tk_number_of(digits, &offset))
        return false;
    tell(state, call, (told){op, path, offset, moved, moved, 0});
    return true;
}

/* A copy inside the kernel: a read of one file, a write of the other, or one of the two. */
static bool moves(tk_strace *state, const known *how, const tk_call *call)
{
    static const char NOTHING[] = "";
    tk_span fields[4], none = {NOTHING, NOTHING};
    if (tk_fields(call->args, fields, 4) < 4)
        return true;
    if (how->kind == SENDS)
        return moved_at(state, call, READ, fields[1], fields[2]) && moved_at(state, call, WRITE, fields[0], none);
    return moved_at(state, call, READ, fields[0], fields[1]) && moved_at(state, call, WRITE, fields[2], fields[3]);
}

static bool maps(tk_strace *state, const known *how, const tk_call *call)
{
    tk_span fields[6], path;
    int64_t fd, size, offset;
    if (tk_fields(call->args, fields, 6) < 6 || tk_has(fields[3], "MAP_ANON"))
        return true;
    if (!file_at(state, call, fields[4], &fd, &path))
        return false;
    if (path.begin == NULL)
        return true;
    if (!tk_integer_of(fields[1], &size) || !tk_integer_of(fields[5], &offset))
        return false;
    size = size == TK_UNKNOWN ? 0 : size;
    tell(state, call, (told){MMAP, path, offset, size, tk_length(call->error) ? 0 : size, 0});
    return true;
}

static bool silent(tk_strace *state, const known *how, const tk_call *call)
{
    return true;
}

/* Tell what a call did; false where it cannot be understood. */
bool tk_called(tk_strace *state, const tk_call *call)
{
    static bool (*const HOW[])(tk_strace *, const known *, const tk_call *) = {
        [TRANSFER] = transfer, [OPENS] = opens, [CREATES] = opens, [ON_PATH] = on_path, [ON_FD] = on_fd, [SEEKS] = seeks,
        [COPIES] = copies, [CONTROLS] = copies, [CLOSES] = on_fd, [CLOSES_RANGE] = closes_range, [SENDS] = moves, [MOVES] = moves,
        [MAPS] = maps, [SILENT] = silent,
    };
    const known *how = call_named(call->name);
    if (how)
        return HOW[how->kind](state, how, call);
    tk_leave_out(state, call->name.begin, tk_length(call->name), 1);
    return true;
}
