#define _GNU_SOURCE
#include "partfile.h"

#include <fcntl.h>
#include <string.h>

#include "mapfile.h"
#include "raw.h"

enum { DIRECTORY = 512, PAGE = 4096 };

_Atomic(struct tk_thread *) tk_first_chunk;

static char directory[DIRECTORY];

/* -- names -------------------------------------------------------------------------------------------------------- */

int tk_part_place(const char *where)
{
    if (strlen(where) + 1 > DIRECTORY || where[0] != '/')
        return 0;
    strcpy(directory, where);
    return 1;
}

static char *append_text(char *at, const char *text)
{
    while (*text)
        *at++ = *text++;
    *at = 0;
    return at;
}

char *tk_append_number(char *at, uint64_t number)
{
    char digits[24];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        *at++ = digits[--count];
    *at = 0;
    return at;
}

static char *begin_name(char *path, int pid, uint64_t start)
{
    char *at = append_text(path, directory);
    at = append_text(at, "/");
    at = tk_append_number(at, (uint64_t)pid);
    at = append_text(at, ".");
    return tk_append_number(at, start);
}

void tk_part_name(char *path, int pid, uint64_t start, uint32_t number)
{
    append_text(tk_append_number(append_text(begin_name(path, pid, start), "."), number), ".ops");
}

/* The file that holds the process's head and lines, with or without the first chunk before them. */
static void name_process(char *path, int pid, uint64_t start, int with_chunk)
{
    if (with_chunk)
        tk_part_name(path, pid, start, 0);
    else
        append_text(begin_name(path, pid, start), ".head");
}

/* -- the head ----------------------------------------------------------------------------------------------------- */

int64_t tk_anchor(uint64_t *ticks)
{
    struct timespec now;
    uint64_t before = 0, after = 0, best = UINT64_MAX;
    int64_t ns = 0;
    *ticks = 0;
    /* The tightest of a few tries, so that being put aside in between does not count. */
    for (int i = 0; i < 8; i++) {
#if defined(__x86_64__)
        before = __builtin_ia32_rdtsc();
        clock_gettime(CLOCK_MONOTONIC, &now);
        after = __builtin_ia32_rdtsc();
#else
        clock_gettime(CLOCK_MONOTONIC, &now);
#endif
        if (after - before < best) {
            best = after - before;
            *ticks = before + best / 2;
            ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        }
    }
    return ns;
}

static struct tk_process *map_process(int pid, uint64_t start)
{
    char path[TK_PART_PATH], *mapped;
    name_process(path, pid, start, 1);
    mapped = tk_map_new(path, TK_FIRST + PAGE);
    atomic_store(&tk_first_chunk, (struct tk_thread *)mapped);
    if (mapped)
        return (struct tk_process *)(mapped + TK_FIRST);
    name_process(path, pid, start, 0);
    return tk_map_new(path, PAGE);
}

struct tk_process *tk_new_process(void)
{
    int pid = (int)TK_RAW0(SYS_getpid);
    uint64_t start, ticks;
    int64_t start_ns = tk_anchor(&ticks);
    struct tk_process *process;

    start = tk_clock_tsc ? ticks : (uint64_t)start_ns;
    process = map_process(pid, start);
    if (process == NULL)
        return NULL;
    process->with_chunk = atomic_load(&tk_first_chunk) != NULL;
    process->layout = TK_LAYOUT;
    process->clock = (uint32_t)tk_clock_tsc;
    process->start = start;
    process->start_ns = start_ns;
    process->pid = pid;
    process->parent = (int)TK_RAW0(SYS_getppid);
    atomic_store(&process->files, 1);
    atomic_store(&process->cwd, 1);
    atomic_store(&process->chunks, process->with_chunk); /* the first one's number is taken */
    memcpy(process->magic, "tkproc\0", 8);
    return process;
}

/* -- lines -------------------------------------------------------------------------------------------------------- */

int tk_append_line(const char *path, const char *text, size_t bytes)
{
    char own[TK_PART_PATH];
    int create = O_CREAT;
    long fd, end, written = -1;

    if (*path == 0) {
        tk_count_apart(0, 0); /* a forked child becomes a process of its own here */
        if (tk_process == NULL || *tk_live != tk_generation)
            return 0;
        name_process(own, tk_process->pid, tk_process->start, (int)tk_process->with_chunk);
        path = own;
        create = 0;
    }
    fd = TK_RAW4(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | create, 0600);
    if (fd < 0)
        return 0;
    end = TK_RAW3(SYS_lseek, fd, 0, SEEK_END);
    if (end >= 0 && tk_within_limit((uint64_t)end + bytes))
        written = TK_RAW3(SYS_write, fd, text, bytes);
    TK_RAW1(SYS_close, fd);
    return written == (long)bytes;
}
