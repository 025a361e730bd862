/* What this machine lets any replayer have: one thread that sleeps until each moment of a Poisson process, reads 4 KiB at a
   random place of a cached file, and reads the clock before and behind. Prints lateness (p50, p99, p99.9) and CPU time per
   op, all us. Of the last SPIN us before a moment it looks at the clock instead of sleeping. As a replay does it sets the timer of the
   sleep behind the next one ahead, which halves what a virtual processor's wake-up costs (docs/explanation/cadence.md); with a
   last argument it does not.

   usage: timed_floor DIRECTORY FILES FILE_BYTES RATE SECONDS SPIN_US SEED [plain] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MOST_FILES = 4096, APART_NS = 20000 };

typedef struct {
    int64_t due, late, offset;
    int fd;
} moment;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int by_lateness(const void *one, const void *other)
{
    int64_t a = ((const moment *)one)->late, b = ((const moment *)other)->late;
    return (a > b) - (a < b);
}

/* As a replay does: exact timers, processors that stay awake, real-time priority; each as far as it is permitted. */
static void prepare(void)
{
    struct sched_param first = {.sched_priority = 1};
    int32_t none = 0;
    int device = open("/dev/cpu_dma_latency", O_WRONLY); /* held until the end */
    if (device >= 0 && write(device, &none, sizeof none) < 0)
        close(device);
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    sched_setscheduler(0, SCHED_FIFO, &first);
}

static void plan(moment *moments, int count, char **arguments)
{
    int fds[MOST_FILES], files = atoi(arguments[2]);
    double rate = atof(arguments[4]), at = 0;
    for (int i = 0; i < files && i < MOST_FILES; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", arguments[1], i);
        fds[i] = open(path, O_RDONLY | O_NOATIME);
    }
    srand48(atol(arguments[7]));
    for (int i = 0; i < count; i++) {
        at -= log(1 - drand48()) * 1e9 / rate;
        moments[i] = (moment){.due = (int64_t)at, .fd = fds[lrand48() % files],
                              .offset = lrand48() % (atoll(arguments[3]) / BLOCK) * BLOCK};
    }
}

/* The timer for the first moment behind this one that is far enough from the one before it to be slept for. Returns which it is. */
static int set_ahead(const moment *moments, int count, int at, int64_t start)
{
    static int timers[2] = {-1, -1}, which;
    int next = at + 1;
    while (next < count && moments[next].due - moments[next - 1].due < APART_NS)
        next++;
    if (next >= count)
        return count;
    if (timers[which] < 0)
        timers[which] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int64_t due = start + moments[next].due;
    struct itimerspec when = {.it_value = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000}};
    timerfd_settime(timers[which], TFD_TIMER_ABSTIME, &when, NULL);
    which = !which;
    return next;
}

static void run(moment *moments, int count, int64_t spin, int plain)
{
    static char buffer[BLOCK];
    int ahead = plain ? count : 0; /* the last one a timer was set for */
    int64_t start = now_ns() + 1000000;
    for (int i = 0; i < count; i++) {
        int64_t due = start + moments[i].due, wake = due - spin, now = now_ns();
        struct timespec until = {.tv_sec = wake / 1000000000, .tv_nsec = wake % 1000000000};
        if (now < wake && ahead <= i)
            ahead = set_ahead(moments, count, i, start - spin);
        if (now < wake)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        while ((now = now_ns()) < due)
            ;
        if (pread(moments[i].fd, buffer, BLOCK, moments[i].offset) != BLOCK)
            exit(1);
        volatile int64_t complete = now_ns();
        (void)complete;
        moments[i].late = now - due;
    }
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 8 && argument_count != 9)
        return 2;
    int count = (int)(atof(arguments[4]) * atof(arguments[5]));
    moment *moments = calloc((size_t)count, sizeof *moments);
    if (moments == NULL)
        return 1;
    plan(moments, count, arguments);
    prepare();
    double cpu = cpu_us();
    run(moments, count, atoll(arguments[6]) * 1000, argument_count == 9);
    cpu = (cpu_us() - cpu) / count;
    qsort(moments, (size_t)count, sizeof *moments, by_lateness);
    printf("%.2f %.2f %.2f %.3f\n", (double)moments[count / 2].late / 1e3, (double)moments[(int)(count * 0.99)].late / 1e3,
           (double)moments[(int)(count * 0.999)].late / 1e3, cpu);
    return 0;
}
