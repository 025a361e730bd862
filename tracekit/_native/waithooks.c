/* Children that end. A process that was waited for is gone, and with it the kernel's count of what it read; so it is looked
   at in the moment between its end and its parent's wait, when it is a zombie and /proc still tells. That is how programs
   that are no Python are known to the byte. The wait that the program asked for is made afterwards, by the C library.

   Newer kernels (6.18.44) tell a zombie's count to root only. The wait adds it to our own, so that is read before and after
   instead; what other threads read between the two, within microseconds, is counted with it.

   The look is a waitid with WNOWAIT, which waits, is interrupted and is cancelled as the program's own call would be, and
   takes nothing. May run in signal handlers: nothing is allocated or locked. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "hooks.h"
#include "partfile.h"
#include "recorder.h"
#include "spool.h"

enum { LEAVE_ALONE = 0, GO_ON, ANSWERED };

int tk_children;

/* Within the C library one of these calls is made by another: the inner one has nothing to look at any more. */
#if defined(__GLIBC__)
static __thread int waiting __attribute__((tls_model("initial-exec")));
#else
static __thread int waiting;
#endif

/* A child that ended and could not be looked at: who, when, and our own count before the wait. */
struct unseen {
    int pid;
    uint64_t ended;
    int64_t before;
};

/* Whether a thread is between its two looks at our own count: another would take both children for its own. */
static char counting;

int64_t tk_bytes_read(const char *path, int64_t *cost)
{
    char text[512], *at;
    long fd = TK_RAW4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), bytes;
    int64_t value = 0;
    if (fd < 0)
        return -1;
    bytes = TK_RAW3(SYS_read, fd, text, sizeof text - 1);
    TK_RAW1(SYS_close, fd);
    if (bytes < 8 || memcmp(text, "rchar: ", 7) != 0)
        return -1;
    text[bytes] = 0;
    for (at = text + 7; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    if (cost != NULL)
        *cost = bytes;
    return value;
}

/* Of a process and the children it waited for. */
static int64_t bytes_read(int pid)
{
    char path[64];
    memcpy(path, "/proc/", 6);
    memcpy(tk_append_number(path + 6, (uint64_t)pid), "/io", 4);
    return tk_bytes_read(path, NULL);
}

/* Begin to count what the wait for a child adds to our own count, or note that nobody can tell. */
static void note_unseen(struct unseen *child, struct tk_thread *thread, int pid, uint64_t now)
{
    int64_t cost;
    if (!__atomic_test_and_set(&counting, __ATOMIC_ACQUIRE)) {
        *child = (struct unseen){.pid = pid, .ended = now, .before = tk_bytes_read("/proc/self/io", &cost)};
        child->before += child->before >= 0 ? cost : 0;
    } else {
        tk_note(thread, TK_REAP, -1, 0, pid, now, now);
    }
}

/* After the wait: what it added. */
static void settle(const struct unseen *child, int waited)
{
    int64_t after = tk_bytes_read("/proc/self/io", NULL);
    int64_t bytes = child->before >= 0 && after >= child->before ? after - child->before : -1;
    struct tk_thread *thread = tk_self();
    __atomic_clear(&counting, __ATOMIC_RELEASE);
    if (waited && thread != NULL)
        tk_note(thread, TK_REAP, bytes, 0, child->pid, child->ended, child->ended);
}

static int ended(const siginfo_t *info)
{
    return info->si_pid > 0
           && (info->si_code == CLD_EXITED || info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED);
}

/* Wait as asked for, but take nothing: GO_ON when the program's call is to be made now, ANSWERED when its answer is the
   result of this one. */
static int look(idtype_t kind, id_t id, int options, struct unseen *child)
{
    struct tk_thread *thread = tk_children && tk_on && !waiting ? tk_self() : NULL;
    siginfo_t info;
    uint64_t now;
    int64_t bytes;
    int saved = errno;

    if (thread == NULL)
        return LEAVE_ALONE;
    info.si_pid = 0;
    if (tk_original.waitid(kind, id, &info, options | WNOWAIT) < 0) {
        if (errno == EINTR)
            return ANSWERED;
        errno = saved;
        return LEAVE_ALONE; /* the program's own call says what is wrong */
    }
    if (ended(&info) && (thread = tk_self()) != NULL) {
        now = tk_ticks();
        bytes = bytes_read(info.si_pid);
        if (bytes >= 0)
            tk_note(thread, TK_REAP, bytes, 0, info.si_pid, now, now);
        else
            note_unseen(child, thread, info.si_pid, now);
    }
    return GO_ON;
}

static int look_for(pid_t pid, int options, struct unseen *child)
{
    int mine = WEXITED | (options & (WNOHANG | WCONTINUED | __WALL | __WCLONE | __WNOTHREAD));
    if (options & WUNTRACED)
        mine |= WSTOPPED;
    if (pid == -1)
        return look(P_ALL, 0, mine, child);
    if (pid > 0)
        return look(P_PID, (id_t)pid, mine, child);
    return look(P_PGID, pid == 0 ? (id_t)TK_RAW1(SYS_getpgid, 0) : (id_t)-pid, mine, child);
}

#define WAIT(call, looked) \
    do { \
        struct unseen child = {0}; \
        int how_ = (looked); \
        pid_t result_; \
        if (how_ == ANSWERED) \
            return -1; \
        waiting += how_ == GO_ON;  \
        result_ = tk_original.call; \
        waiting -= how_ == GO_ON; \
        if (child.pid) \
            settle(&child, result_ >= 0); \
        return result_; \
    } while (0)

pid_t hook_wait4(pid_t pid, int *status, int options, void *usage)
{
    WAIT(wait4(pid, status, options, usage), look_for(pid, options, &child));
}

pid_t hook_waitpid(pid_t pid, int *status, int options)
{
    WAIT(waitpid(pid, status, options), look_for(pid, options, &child));
}

pid_t hook_wait3(int *status, int options, void *usage)
{
    WAIT(wait3(status, options, usage), look_for(-1, options, &child));
}

pid_t hook_wait(int *status)
{
    WAIT(wait(status), look_for(-1, 0, &child));
}

int hook_waitid(idtype_t kind, id_t id, siginfo_t *info, int options)
{
    if (!(options & WEXITED) || (options & WNOWAIT))
        return tk_original.waitid(kind, id, info, options);
    WAIT(waitid(kind, id, info, options), look(kind, id, options, &child));
}
