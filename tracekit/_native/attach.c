/* Programs that are no Python, followed by strace where that was asked for (--native-children strace). Just before such a
   program begins, strace is attached to the process that becomes it. So the program keeps its pid, parent, name, signals
   and status: strace is nobody's child that it could meet, in a session of its own, with none of its descriptors. Where
   attaching fails the program runs all the same, and is missing in the certificate.

   Starting "strace PROGRAM" in its place was rejected: the program would be another process than the one its parent
   waits for and kills; and with strace -D, strace holds on to its standard error and to every pipe it inherited.

   All of this may run in a child of vfork, on the small stack of posix_spawn. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "raw.h"

#ifndef __WALL
#define __WALL 0x40000000
#endif
enum { MOST_WORDS = 32, MOST_PATH = 1024, MOST_LINE = 256, STATUS = 2048, WAIT_MS = 5000, SET_PTRACER = 0x59616d61 };

static char *const *plan;
static const char *place;

void tk_attach_plan(char *const *words, const char *directory)
{
    size_t count = 0;
    while (words[count])
        count++;
    if (count + 5 > MOST_WORDS || strlen(directory) + 64 > MOST_PATH)
        return;
    place = directory;
    plan = words;
}

/* -- which programs ----------------------------------------------------------------------------------------------- */

static long read_start(const char *path, char *to, size_t bytes)
{
    long got, fd = TK_RAW4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    got = TK_RAW3(SYS_read, fd, to, bytes - 1);
    TK_RAW1(SYS_close, fd);
    to[got > 0 ? got : 0] = 0;
    return got;
}

static int starts_with_any(const char *text, const char *const *starts)
{
    for (; *starts; starts++)
        if (strncmp(text, *starts, strlen(*starts)) == 0)
            return 1;
    return 0;
}

/* Interpreters record themselves, and a tracer cannot trace what is traced already. */
static int goes_alone(const char *path)
{
    static const char *const starts[] = {"python", "pypy", "strace", "ltrace", "gdb", "lldb", "rr", NULL};
    const char *slash = strrchr(path, '/');
    return starts_with_any(slash ? slash + 1 : path, starts);
}

/* Traced, a program that gains privileges by being started would not gain them. */
static int gains_privileges(const char *path, const struct stat *found)
{
    return (found->st_mode & (S_ISUID | S_ISGID)) || TK_RAW4(SYS_getxattr, path, "security.capability", NULL, 0) > 0;
}

static int is_fit(const char *path)
{
    struct stat found;
    char head[MOST_LINE];
    if (goes_alone(path) || TK_RAW4(SYS_newfstatat, AT_FDCWD, path, &found, 0) != 0 || !S_ISREG(found.st_mode)
        || gains_privileges(path, &found) || TK_RAW3(SYS_faccessat, AT_FDCWD, path, X_OK) != 0)
        return 0;
    if (read_start(path, head, sizeof head) < 4)
        return 0;
    if (memcmp(head, "\177ELF", 4) == 0)
        return 1;
    if (memcmp(head, "#!", 2) != 0)
        return 0;
    head[strcspn(head, "\n")] = 0;
    return strstr(head, "python") == NULL && strstr(head, "pypy") == NULL;
}

static int is_traced(void)
{
    char status[STATUS], *line;
    if (read_start("/proc/thread-self/status", status, sizeof status) <= 0)
        return 1; /* without /proc it is not known, and strace would not work */
    line = strstr(status, "\nTracerPid:\t");
    return line == NULL || line[12] != '0' || line[13] != '\n';
}

/* -- strace ------------------------------------------------------------------------------------------------------- */

static char *number(char *to, uint64_t value)
{
    char digits[24];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    while (count)
        *to++ = digits[--count];
    *to = 0;
    return to;
}

/* DIRECTORY/PID-TIME.strace */
static void name_output(char *to, long pid)
{
    struct timespec now;
    TK_RAW2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    strcpy(to, place);
    to += strlen(to);
    *to++ = '/';
    to = number(to, (uint64_t)pid);
    *to++ = '-';
    to = number(to, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    strcpy(to, ".strace");
}

/* Descriptor 3 stays open: its end is how the other side knows that strace ended. */
static void leave_descriptors(long held)
{
    if (held == 3)
        TK_RAW3(SYS_fcntl, 3, F_SETFD, 0);
    else
        TK_RAW3(SYS_dup3, held, 3, 0);
    if (TK_RAW3(SYS_close_range, 4, ~0u, 0) != 0)
        for (int fd = 4; fd < 4096; fd++)
            TK_RAW1(SYS_close, fd);
    for (int fd = 0; fd < 3; fd++)
        TK_RAW1(SYS_close, fd);
    for (int fd = 0; fd < 3; fd++)
        TK_RAW4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
}

static void become_strace(char *const *words, long held)
{
    static char *const environment[] = {"LC_ALL=C", NULL};
    uint64_t none = 0;
    TK_RAW0(SYS_setsid);
    leave_descriptors(held);
    TK_RAW1(SYS_chdir, "/");
    TK_RAW4(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    TK_RAW3(SYS_execve, words[0], words, environment);
    TK_RAW1(SYS_exit_group, 127);
}

/* A child of a child that has gone: the program never meets it in wait. */
static int start_strace(char *const *words, long held)
{
    long status, child = TK_RAW(SYS_clone, 0, 0, 0, 0, 0, 0); /* fork, without a signal at its end */
    if (child == 0) {
        if (TK_RAW(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0) == 0)
            become_strace(words, held);
        TK_RAW1(SYS_exit_group, 0);
    }
    if (child < 0)
        return 0;
    do
        status = TK_RAW4(SYS_wait4, child, NULL, __WALL, NULL);
    while (status == -EINTR);
    return 1;
}

/* A call that strace writes down is what shows that it is there, and that the next call will be seen as well. */
static void await(const char *output, long alive)
{
    struct pollfd end = {(int)alive, 0, 0};
    struct timespec pause = {0, 1000000};
    struct stat found;
    for (int i = 0; i < WAIT_MS; i++) {
        TK_RAW3(SYS_lseek, -1, 0, SEEK_CUR);
        if (TK_RAW4(SYS_newfstatat, AT_FDCWD, output, &found, 0) == 0 && found.st_size > 0)
            return;
        if (TK_RAW(SYS_ppoll, &end, 1, &pause, NULL, 0, 0) > 0)
            return;
        pause.tv_nsec = 1000000;
    }
}

static void attach(long pid)
{
    char output[MOST_PATH], process[24], *words[MOST_WORDS];
    int ends[2], count = 0;
    for (; plan[count]; count++)
        words[count] = plan[count];
    name_output(output, pid);
    number(process, (uint64_t)pid);
    words[count++] = "-o";
    words[count++] = output;
    words[count++] = "-p";
    words[count++] = process;
    words[count] = NULL;
    if (TK_RAW2(SYS_pipe2, ends, O_CLOEXEC) != 0)
        return;
    TK_RAW2(SYS_prctl, SET_PTRACER, -1L);
    int started = start_strace(words, ends[1]);
    TK_RAW1(SYS_close, ends[1]);
    if (started)
        await(output, ends[0]);
    TK_RAW1(SYS_close, ends[0]);
    TK_RAW2(SYS_prctl, SET_PTRACER, 0);
}

void tk_attach_before(const char *path)
{
    if (plan && path && is_fit(path) && !is_traced())
        attach(TK_RAW0(SYS_getpid));
}
