/* What this machine lets any replayer have where several ops are under way at once: a few threads that take ops in turn, each
   sleeps until shortly before its op's moment, looks at the clock for the rest, and reads. Ops come on standard input as four
   numbers of 64 bits each (moment, file, offset, length); when each was submitted and complete, ns after the start, and the CPU
   time of all in ns twice, goes to standard output in the same form.

   usage: burst_floor DIRECTORY FILES THREADS EARLY_US cached|direct */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST_FILES = 4096, MOST_BYTES = 1 << 20, MOST_OPS = 1 << 20, MOST_THREADS = 64 };
typedef struct {
    int64_t due, file, offset, length;
} op;

static op *ops;
static int64_t (*moments)[2], start, early, count;
static int fds[MOST_FILES];
static _Atomic int64_t next;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* As a replay does: exact timers and real-time priority, as far as they are permitted. */
static void *work(void *buffer)
{
    struct sched_param first = {.sched_priority = 1};
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    sched_setscheduler(0, SCHED_FIFO, &first);
    for (int64_t i; (i = atomic_fetch_add(&next, 1)) < count;) {
        int64_t due = start + ops[i].due, wake = due - early;
        struct timespec until = {.tv_sec = wake / 1000000000, .tv_nsec = wake % 1000000000};
        if (now_ns() < wake)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        while ((moments[i][0] = now_ns() - start) < ops[i].due)
            ;
        if (pread(fds[ops[i].file], buffer, (size_t)ops[i].length, ops[i].offset) != ops[i].length)
            exit(1);
        moments[i][1] = now_ns() - start;
    }
    return NULL;
}

int main(int argument_count, char **arguments)
{
    pthread_t threads[MOST_THREADS];
    void *buffer;
    int32_t none = 0;
    if (argument_count != 6)
        return 2;
    int files = atoi(arguments[2]), thread_count = atoi(arguments[3]);
    if (files > MOST_FILES || thread_count > MOST_THREADS)
        return 2;
    ops = calloc(MOST_OPS, sizeof *ops);
    moments = calloc(MOST_OPS + 1, sizeof *moments);
    if (ops == NULL || moments == NULL)
        return 1;
    count = (int64_t)fread(ops, sizeof *ops, MOST_OPS, stdin);
    for (int i = 0; i < files; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", arguments[1], i);
        fds[i] = open(path, O_RDONLY | O_NOATIME | (strcmp(arguments[5], "direct") ? 0 : O_DIRECT));
    }
    int device = open("/dev/cpu_dma_latency", O_WRONLY); /* held until the end: processors stay awake */
    if (device >= 0 && write(device, &none, sizeof none) < 0)
        close(device);
    early = atoll(arguments[4]) * 1000;
    start = now_ns() + 5000000;
    for (int i = 0; i < thread_count; i++)
        if (posix_memalign(&buffer, 4096, MOST_BYTES) || pthread_create(&threads[i], NULL, work, buffer))
            return 1;
    for (int i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    moments[count][0] = moments[count][1] = (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
    return fwrite(moments, sizeof *moments, (size_t)count + 1, stdout) != (size_t)count + 1;
}
