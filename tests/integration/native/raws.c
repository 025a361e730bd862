/* Reading a file by system calls of our own, in every way that a net for such calls could get wrong. Each function returns the
   bytes it read, or a negative number that says what went wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long __attribute__((no_sanitize("address", "undefined"))) raw(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

long raw_read_all(const char *path)
{
    char to[4096];
    long sum = 0, got, fd = raw(SYS_openat, AT_FDCWD, (long)path, O_RDONLY, 0, 0, 0);
    if (fd < 0)
        return fd;
    while ((got = raw(SYS_read, fd, (long)to, sizeof to, 0, 0, 0)) > 0)
        sum += got;
    raw(SYS_close, fd, 0, 0, 0, 0, 0);
    return got < 0 ? got : sum;
}

/* The kernel's results and errno are as ever: nothing is lost on the way through a handler. */
long raw_exactly(const char *path)
{
    char to[100];
    errno = 77;
    if (raw(SYS_read, -1, (long)to, 100, 0, 0, 0) != -EBADF || raw(SYS_openat, AT_FDCWD, (long)"/none", 0, 0, 0, 0) != -ENOENT ||
        raw(SYS_getpid, 0, 0, 0, 0, 0, 0) != getpid() || raw(SYS_mmap, 0, 0, 0, 0, -1, 0) != -EBADF ||
        raw(100000, 0, 0, 0, 0, 0, 0) != -ENOSYS || raw(SYS_rt_sigprocmask, 0, 5, 0, 8, 0, 0) != -EFAULT || errno != 77)
        return -1;
    return raw_read_all(path);
}

static void *thread_of(void *path)
{
    return (void *)raw_read_all(path);
}

long raw_in_a_thread(const char *path)
{
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, NULL, thread_of, (void *)path) != 0)
        return -1;
    pthread_join(thread, &result);
    return (long)result;
}

static long of_child(long pid, const char *path)
{
    int status;
    if (pid == 0)
        _exit(raw_read_all(path) == 65536 ? 7 : 1);
    if (pid < 0 || waitpid((pid_t)pid, &status, 0) != pid)
        return -2;
    return WEXITSTATUS(status) == 7 ? 65536 : -3;
}

long raw_in_a_forked_child(const char *path)
{
    return of_child(fork(), path);
}

long raw_in_a_fork(const char *path)
{
    return of_child(raw(SYS_fork, 0, 0, 0, 0, 0, 0), path);
}

long raw_in_a_clone(const char *path)
{
    return of_child(raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0), path);
}

long raw_after_posix_spawn(const char *path)
{
    char *const words[] = {"true", NULL};
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, "true", NULL, NULL, words, environ) != 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return -1;
    return raw_read_all(path);
}

static const char *file;
static volatile long read_in_handler;

static void handler(int signal)
{
    (void)signal;
    read_in_handler = raw_read_all(file);
}

static long raised(const char *path)
{
    file = path;
    read_in_handler = 0;
    raise(SIGUSR2);
    return read_in_handler;
}

/* With every signal blocked while it runs. */
long raw_in_a_signal_handler(const char *path)
{
    struct sigaction action = {.sa_handler = handler};
    sigfillset(&action.sa_mask);
    sigaction(SIGUSR2, &action, NULL);
    return raised(path);
}

__asm__(".globl own_restorer\nown_restorer:\n  movq $15, %rax\n  syscall\n");
extern void own_restorer(void);

/* Installed without the C library, and left without it. */
long raw_in_a_handler_by_hand(const char *path)
{
    unsigned long action[4] = {(unsigned long)handler, 0x04000000 /* SA_RESTORER */, (unsigned long)own_restorer, ~0UL};
    if (raw(SYS_rt_sigaction, SIGUSR2, (long)action, 0, 8, 0, 0) != 0)
        return -1;
    return raised(path);
}

long raw_with_all_signals_blocked(const char *path)
{
    sigset_t all, before;
    unsigned long raw_all = ~0UL;
    long result;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = raw_read_all(path);
    raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&raw_all, 0, 8, 0, 0);
    result = result == 65536 ? raw_read_all(path) : -1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* The alternate stack is set by a raw call, is there afterwards, and a handler runs on it. */
long raw_on_an_alternate_stack(const char *path)
{
    static char memory[65536];
    stack_t mine = {.ss_sp = memory, .ss_size = sizeof memory}, seen, none = {.ss_flags = SS_DISABLE};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    long result;
    if (raw(SYS_sigaltstack, (long)&mine, 0, 0, 0, 0, 0) != 0 || raw(SYS_sigaltstack, 0, (long)&seen, 0, 0, 0, 0) != 0 ||
        seen.ss_sp != memory || seen.ss_size != sizeof memory)
        return -1;
    sigaction(SIGUSR2, &action, NULL);
    result = raised(path);
    raw(SYS_sigaltstack, (long)&none, 0, 0, 0, 0, 0);
    return result;
}

/* A second C library in a namespace of its own. */
long raw_by_a_second_library(const char *path)
{
    static void *library;
    char to[4096];
    long sum = 0, got;
    int fd, (*other_open)(const char *, int, ...);
    ssize_t (*other_read)(int, void *, size_t);
    int (*other_close)(int);
    if (library == NULL)
        library = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    if (library == NULL)
        return -1;
    other_open = (int (*)(const char *, int, ...))dlsym(library, "open");
    other_read = (ssize_t(*)(int, void *, size_t))dlsym(library, "read");
    other_close = (int (*)(int))dlsym(library, "close");
    fd = other_open(path, O_RDONLY);
    while ((got = other_read(fd, to, sizeof to)) > 0)
        sum += got;
    other_close(fd);
    return fd < 0 ? -2 : sum;
}

/* A thread made by hand, with its parent's storage: it is left alone, and works. */
static int thread_by_hand(void *done)
{
    (void)raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    *(volatile int *)done = 1;
    return 0;
}

long raw_after_a_clone_by_hand(const char *path)
{
    char *stack = malloc(65536);
    volatile int done = 0;
    int pid = clone(thread_by_hand, stack + 65536, CLONE_VM | SIGCHLD, (void *)&done), status;
    waitpid(pid, &status, 0);
    free(stack);
    return done ? raw_read_all(path) : -1;
}
