/* The program of the think-time benchmark: 8 workers, each reads 64 KiB at a random place and then thinks for an
   exponentially distributed time of 300 us in the mean. Every op is written out as: worker submit complete file offset.

   usage: closed_loop DIRECTORY FILES FILE_BYTES OPS_PER_WORKER direct|cached SEED */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 8, BYTES = 65536, MEAN_NS = 300000 };
typedef struct {
    int64_t submit, complete, offset;
    int file;
} op;

static int *fds, files, ops;
static int64_t file_bytes;
static op *done;
static unsigned seed;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void *work(void *argument)
{
    long worker = (long)argument;
    unsigned short state[3] = {(unsigned short)worker, (unsigned short)seed, 7};
    void *buffer;
    if (posix_memalign(&buffer, 4096, BYTES))
        exit(1);
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    for (int i = 0; i < ops; i++) {
        op *mine = &done[worker * ops + i];
        int64_t wake = now() + (int64_t)(-log(1 - erand48(state)) * MEAN_NS);
        struct timespec until = {wake / 1000000000, wake % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        mine->file = (int)(erand48(state) * files);
        mine->offset = (int64_t)(erand48(state) * (double)(file_bytes / BYTES)) * BYTES;
        mine->submit = now();
        if (pread(fds[mine->file], buffer, BYTES, mine->offset) != BYTES)
            exit(1);
        mine->complete = now();
    }
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 7)
        return 2;
    files = atoi(arguments[2]);
    file_bytes = atoll(arguments[3]);
    ops = atoi(arguments[4]);
    seed = (unsigned)atoi(arguments[6]);
    fds = malloc((size_t)files * sizeof(int));
    done = calloc((size_t)ops * WORKERS, sizeof(op));
    for (int i = 0; i < files; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", arguments[1], i);
        fds[i] = open(path, O_RDONLY | (strcmp(arguments[5], "direct") ? 0 : O_DIRECT));
        if (fds[i] < 0)
            return 1;
    }
    pthread_t threads[WORKERS];
    for (long i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ops * WORKERS; i++)
        printf("%d %lld %lld %d %lld\n", i / ops, (long long)done[i].submit, (long long)done[i].complete, done[i].file,
               (long long)done[i].offset);
    return 0;
}
