/* Every way a C program reads a file, each as one function that reads all of the file at `path` and returns the bytes it
   got. Loaded into a recorded Python process by test_native_hazards.py. */
#define _GNU_SOURCE
#include <aio.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__GLIBC__) /* musl has it since 1.2.5 */
#define preadv2(fd, vector, count, offset, flags) \
    ((offset) == -1 ? readv(fd, vector, count) : preadv(fd, vector, count, offset))
#endif

enum { STEP = 4096 };
static char buffer[1 << 17];

#define EACH(call) \
    long total = 0, got; \
    int fd = open(path, O_RDONLY); \
    while ((got = (call)) > 0) \
        total += got; \
    close(fd); \
    return total

long by_read(const char *path) { EACH(read(fd, buffer, STEP)); }
long by_pread(const char *path) { EACH(pread(fd, buffer, STEP, total)); }
long by_syscall_read(const char *path) { EACH(syscall(SYS_read, fd, buffer, STEP)); }
long by_syscall_pread(const char *path) { EACH(syscall(SYS_pread64, fd, buffer, STEP, total)); }

static struct iovec parts[2] = {{buffer, 1000}, {buffer + 1000, 3096}};
long by_readv(const char *path) { EACH(readv(fd, parts, 2)); }
long by_preadv(const char *path) { EACH(preadv(fd, parts, 2, total)); }
long by_preadv2(const char *path) { EACH(preadv2(fd, parts, 2, total, 0)); }
long by_preadv2_at_position(const char *path) { EACH(preadv2(fd, parts, 2, -1, 0)); }

static ssize_t (*const pointer_in_data)(int, void *, size_t) = read;
long by_pointer_in_data(const char *path) { EACH(pointer_in_data(fd, buffer, STEP)); }
long by_dlsym(const char *path)
{
    ssize_t (*found)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_DEFAULT, "read");
    EACH(found(fd, buffer, STEP));
}

#define WITH_FILE(call) \
    long total = 0, got; \
    FILE *file = fopen(path, "r"); \
    while ((got = (call)) > 0) \
        total += got; \
    fclose(file); \
    return total

long by_fread(const char *path) { WITH_FILE((long)fread(buffer, 1, 700, file)); }
long by_getc(const char *path) { WITH_FILE(getc(file) == EOF ? 0 : 1); }
long by_getline(const char *path)
{
    char *line = NULL;
    size_t room = 0;
    WITH_FILE(getline(&line, &room, file));
}
long by_fdopen_of_a_copy(const char *path)
{
    long total = 0, got;
    int fd = open(path, O_RDONLY), copy = dup(fd);
    FILE *file = fdopen(copy, "r");
    close(fd);
    while ((got = (long)fread(buffer, 1, 5000, file)) > 0)
        total += got;
    fclose(file);
    return total;
}

long by_dup2(const char *path)
{
    long total = 0, got;
    int fd = open(path, O_RDONLY), other = open("/dev/null", O_RDONLY);
    dup2(fd, other);
    for (int turn = 0; (got = read(turn % 2 ? fd : other, buffer, STEP)) > 0; turn++)
        total += got;
    close(fd);
    close(other);
    return total;
}

long by_fcntl_copy(const char *path)
{
    long total = 0, got;
    int fd = open(path, O_RDONLY), copy = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    close(fd);
    while ((got = read(copy, buffer, STEP)) > 0)
        total += got;
    close(copy);
    return total;
}

long by_lseek(const char *path)
{
    long total = 0;
    int fd = open(path, O_RDONLY);
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t at = end; at > 0; at -= STEP) {
        lseek(fd, at - STEP, SEEK_SET);
        total += read(fd, buffer, STEP);
    }
    close(fd);
    return total;
}

long by_sendfile(const char *path)
{
    long total = 0, got;
    int fd = open(path, O_RDONLY), sink = open("/dev/null", O_WRONLY);
    while ((got = sendfile(sink, fd, NULL, STEP)) > 0)
        total += got;
    close(fd);
    close(sink);
    return total;
}

long by_sendfile_with_offset(const char *path)
{
    long total = 0, got;
    off_t at = 0;
    int fd = open(path, O_RDONLY), sink = open("/dev/null", O_WRONLY);
    while ((got = sendfile(sink, fd, &at, STEP)) > 0)
        total += got;
    close(fd);
    close(sink);
    return total;
}

long by_copy_file_range(const char *path)
{
    char name[4096];
    long total = 0, got;
    int fd = open(path, O_RDONLY), sink;
    snprintf(name, sizeof name, "%s.copy", path);
    sink = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    while ((got = copy_file_range(fd, NULL, sink, NULL, STEP, 0)) > 0)
        total += got;
    close(fd);
    close(sink);
    return total;
}

long by_splice(const char *path)
{
    long total = 0, got;
    int fd = open(path, O_RDONLY), ends[2];
    if (pipe(ends))
        return -1;
    while ((got = splice(fd, NULL, ends[1], NULL, STEP, 0)) > 0) {
        total += got;
        if (read(ends[0], buffer, (size_t)got) != got)
            return -1;
    }
    close(fd);
    close(ends[0]);
    close(ends[1]);
    return total;
}

long by_aio(const char *path)
{
    long total = 0, got;
    struct aiocb request = {0};
    int fd = open(path, O_RDONLY);
    do {
        const struct aiocb *const list[1] = {&request};
        memset(&request, 0, sizeof request);
        request.aio_fildes = fd;
        request.aio_buf = buffer;
        request.aio_nbytes = STEP;
        request.aio_offset = total;
        if (aio_read(&request))
            return -1;
        while (aio_error(&request) == EINPROGRESS)
            aio_suspend(list, 1, NULL);
        got = aio_return(&request);
        total += got > 0 ? got : 0;
    } while (got > 0);
    close(fd);
    return total;
}

static int handler_fd;
static volatile long handler_total, handler_errors;
static void handle(int number)
{
    long got = pread(handler_fd, buffer + STEP, STEP, handler_total);
    (void)number;
    if (got > 0)
        handler_total += got;
    else
        handler_errors++;
}

/* A timer interrupts reads of another file, also inside the recorder; the handler reads this one. */
long in_a_signal_handler(const char *path)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART}, before;
    struct timeval often = {0, 100}, never = {0, 0};
    (void)often, (void)never;
    int busy = open("/proc/self/exe", O_RDONLY);
    handler_fd = open(path, O_RDONLY);
    handler_total = handler_errors = 0;
    sigaction(SIGUSR1, &action, &before);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec pace = {{0, 50000}, {0, 50000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer))
        return -1;
    timer_settime(timer, 0, &pace, NULL);
    while (handler_errors == 0)
        if (pread(busy, buffer, 512, 0) != 512)
            return -1;
    timer_delete(timer);
    sigaction(SIGUSR1, &before, NULL);
    close(handler_fd);
    close(busy);
    return handler_total;
}

long in_a_forked_child(const char *path)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(by_read(path) == 65536 ? 0 : 1);
    waitpid(child, &status, 0);
    return status ? -1 : 65536;
}

long in_a_raw_clone(const char *path)
{
    int status;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(by_pread(path) == 65536 ? 0 : 1);
    waitpid(child, &status, 0);
    return status ? -1 : 65536;
}

/* The child of vfork closes and replaces descriptors of its own; the parent's are still what they were. */
long after_a_vforked_child_closed_all(const char *path)
{
    long total = 0, got;
    int status, fd = open(path, O_RDONLY);
    got = read(fd, buffer, STEP);
    total += got;
    pid_t child = vfork();
    if (child == 0) {
        dup2(2, fd);
        close(fd);
        for (int other = 3; other < 64; other++)
            close(other);
        _exit(0);
    }
    waitpid(child, &status, 0);
    while ((got = read(fd, buffer, STEP)) > 0)
        total += got;
    close(fd);
    return total;
}

extern char **environ;
long after_posix_spawn_closed_it(const char *path)
{
    long total = 0, got;
    int status, fd = open(path, O_RDONLY);
    char *arguments[] = {"true", NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    total += read(fd, buffer, STEP);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fd);
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDONLY, 0);
    if (posix_spawnp(&child, "true", &actions, NULL, arguments, environ))
        return -1;
    waitpid(child, &status, 0);
    while ((got = read(fd, buffer, STEP)) > 0)
        total += got;
    posix_spawn_file_actions_destroy(&actions);
    close(fd);
    return total;
}

/* Parent and forked child take turns on one position. */
long shared_with_a_forked_child(const char *path)
{
    long total = 0, got;
    int status, fd = open(path, O_RDONLY);
    total += read(fd, buffer, STEP);
    for (int turn = 0; turn < 4; turn++) {
        pid_t child = fork();
        if (child == 0)
            _exit(read(fd, buffer, STEP) == STEP ? 0 : 1);
        waitpid(child, &status, 0);
        if (status)
            return -1;
        total += STEP;
    }
    while ((got = read(fd, buffer, STEP)) > 0)
        total += got;
    close(fd);
    return total;
}

/* Moved by a system call that nothing can see, then read often enough for the check of positions. */
static void *read_in_thread(void *path) { return (void *)by_read(path); }
long in_a_thread(const char *path)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, read_in_thread, (void *)path);
    pthread_join(thread, &result);
    return (long)result;
}

static int blocked[2];
static void cleanup(void *done) { *(int *)done = 1; }
static int cleaned, waiting;
static void *read_for_ever(void *path)
{
    long total = by_read(path);
    pthread_cleanup_push(cleanup, &cleaned);
    __atomic_store_n(&waiting, 1, __ATOMIC_RELEASE);
    total += read(blocked[0], buffer, 1);
    pthread_cleanup_pop(0);
    return (void *)total;
}
long in_a_cancelled_thread(const char *path)
{
    pthread_t thread;
    void *result;
    cleaned = waiting = 0;
    if (pipe(blocked))
        return -1;
    pthread_create(&thread, NULL, read_for_ever, (void *)path);
    while (!__atomic_load_n(&waiting, __ATOMIC_ACQUIRE))
        usleep(1000);
    usleep(50000); /* by now it is most likely in the read that never returns */
    pthread_cancel(thread);
    pthread_join(thread, &result);
    close(blocked[0]);
    close(blocked[1]);
    return result == PTHREAD_CANCELED && cleaned ? 65536 : -1;
}

/* A handler that never returns to the read it interrupted. */
static sigjmp_buf place;
static void jump(int number) { siglongjmp(place, number); }
long after_jumping_out_of_a_read(const char *path)
{
    struct sigaction action = {.sa_handler = jump}, before;
    if (pipe(blocked))
        return -1;
    sigaction(SIGALRM, &action, &before);
    if (sigsetjmp(place, 1) == 0) {
        ualarm(20000, 0);
        if (read(blocked[0], buffer, 1) >= 0)
            return -1;
    }
    sigaction(SIGALRM, &before, NULL);
    close(blocked[0]);
    close(blocked[1]);
    return by_read(path);
}

long by_direct(const char *path)
{
    static char aligned[STEP] __attribute__((aligned(4096)));
    long total = 0, got;
    int fd = open(path, O_RDONLY | O_DIRECT);
    if (fd < 0)
        return errno == EINVAL ? by_read(path) : -1;
    while ((got = read(fd, aligned, STEP)) > 0)
        total += got;
    close(fd);
    return total;
}

long with_errors_between(const char *path)
{
    long total = 0, got;
    int fd = open(path, O_RDONLY);
    while ((got = read(fd, buffer, STEP)) > 0) {
        total += got;
        if (read(-1, buffer, 1) != -1 || errno != EBADF || pread(fd, (void *)8, STEP, 0) != -1 || errno != EFAULT)
            return -1;
        if (open((const char *)8, O_RDONLY) != -1 || errno != EFAULT || readv(fd, (void *)8, 1) != -1 || errno != EFAULT)
            return -1;
        if (open("/nonexistent/x", O_RDONLY) != -1 || errno != ENOENT || pread(fd, buffer, 1, -5) != -1 || errno != EINVAL)
            return -1;
        struct stat facts;
        if (stat((const char *)8, &facts) != -1 || errno != EFAULT || close(-1) != -1 || errno != EBADF)
            return -1;
    }
    close(fd);
    return total;
}

long with_append(const char *path)
{
    char name[4096];
    long total = 0, got;
    snprintf(name, sizeof name, "%s.appended", path);
    int fd = open(path, O_RDONLY), sink = open(name, O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, 0600);
    int second = open(name, O_WRONLY | O_APPEND);
    for (int turn = 0; (got = read(fd, buffer, STEP)) > 0; turn++) {
        total += got;
        if (write(turn % 2 ? sink : second, buffer, 100) != 100)
            return -1;
    }
    close(fd);
    close(sink);
    close(second);
    return total;
}

/* A second C library in its own namespace: its reads cannot be seen, and nothing may break. */
long in_another_namespace(const char *path)
{
#if !defined(__GLIBC__)
    return 65536;
#else
    void *library = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    ssize_t (*foreign)(int, void *, size_t);
    long total = 0, got;
    if (library == NULL)
        return 65536;
    foreign = (ssize_t(*)(int, void *, size_t))dlsym(library, "read");
    int fd = open(path, O_RDONLY);
    while ((got = foreign(fd, buffer, STEP)) > 0)
        total += got;
    close(fd);
    return total;
#endif
}
