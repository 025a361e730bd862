/* What the machine itself takes: a thread on each core, with real-time priority where that is permitted, that does nothing but read
   the clock. Where two readings lie far apart, the core was taken from it; where all cores have such a gap at the same time, the
   machine stood still. Prints how many gaps all cores had at once, their sum and the longest in ms, and the longest of any core.

   It rests for a fifth of each 100 ms, so that the kernel's bound on real-time threads does not make gaps of its own.

   usage: core_gaps SECONDS */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LEAST_NS = 250000, MOST_GAPS = 4096, MOST_CORES = 256, TURN_NS = 100000000, AWAKE_NS = 80000000 };

typedef struct {
    int64_t begin, end;
} gap;

typedef struct {
    pthread_t thread;
    int core, count;
    int64_t start, seconds;
    gap gaps[MOST_GAPS];
} looker;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_until(int64_t moment)
{
    struct timespec until = {.tv_sec = moment / 1000000000, .tv_nsec = moment % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void *look(void *argument)
{
    looker *mine = argument;
    struct sched_param first = {.sched_priority = 1};
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(mine->core, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
    sched_setscheduler(0, SCHED_FIFO, &first);
    int64_t end = mine->start + mine->seconds;
    for (int64_t turn = mine->start; turn < end; turn += TURN_NS) {
        sleep_until(turn);
        for (int64_t before = now_ns(), now; before < turn + AWAKE_NS && before < end; before = now) {
            now = now_ns();
            if (now - before > LEAST_NS && mine->count < MOST_GAPS)
                mine->gaps[mine->count++] = (gap){before, now};
        }
    }
    return NULL;
}

/* Of `common`, in place, what `other` has too. */
static int both(gap *common, int count, const looker *other)
{
    static gap found[MOST_GAPS];
    int kept = 0;
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < other->count && kept < MOST_GAPS; j++) {
            int64_t begin = common[i].begin > other->gaps[j].begin ? common[i].begin : other->gaps[j].begin;
            int64_t end = common[i].end < other->gaps[j].end ? common[i].end : other->gaps[j].end;
            if (end - begin > LEAST_NS)
                found[kept++] = (gap){begin, end};
        }
    }
    for (int i = 0; i < kept; i++)
        common[i] = found[i];
    return kept;
}

int main(int argument_count, char **arguments)
{
    cpu_set_t ours;
    looker *lookers[MOST_CORES];
    int count = 0;
    int64_t longest = 0, longest_common = 0, sum = 0, start = now_ns() + 10000000;
    if (argument_count != 2 || sched_getaffinity(0, sizeof ours, &ours) < 0)
        return 2;
    for (int core = 0; core < CPU_SETSIZE && count < MOST_CORES; core++) {
        if (!CPU_ISSET(core, &ours))
            continue;
        looker *one = lookers[count++] = calloc(1, sizeof *one);
        if (one == NULL)
            return 1;
        one->core = core;
        one->start = start;
        one->seconds = (int64_t)(atof(arguments[1]) * 1e9);
        if (pthread_create(&one->thread, NULL, look, one))
            return 1;
    }
    for (int i = 0; i < count; i++) {
        pthread_join(lookers[i]->thread, NULL);
        for (int j = 0; j < lookers[i]->count; j++)
            if (lookers[i]->gaps[j].end - lookers[i]->gaps[j].begin > longest)
                longest = lookers[i]->gaps[j].end - lookers[i]->gaps[j].begin;
    }
    int common = lookers[0]->count;
    for (int i = 1; i < count; i++)
        common = both(lookers[0]->gaps, common, lookers[i]);
    for (int i = 0; i < common; i++) {
        int64_t took = lookers[0]->gaps[i].end - lookers[0]->gaps[i].begin;
        sum += took;
        longest_common = took > longest_common ? took : longest_common;
    }
    printf("%d %.3f %.3f %.3f\n", common, (double)sum / 1e6, (double)longest_common / 1e6, (double)longest / 1e6);
    return 0;
}
