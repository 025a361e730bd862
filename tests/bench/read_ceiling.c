/* What no replayer can be faster than: processes that only read 4 KiB at random places of cached files, with a reading of the
   clock before and behind each read and one record written. Prints thousands of reads per second and CPU us per read.

   usage: read_ceiling DIRECTORY FILES FILE_BYTES READS PROCESSES */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096 };

typedef struct {
    int64_t row, due, free, submit, complete, stall, worker;
    int32_t result, error;
} record;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *memory(size_t bytes)
{
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mapped == MAP_FAILED)
        exit(1);
    return mapped;
}

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

typedef struct {
    double rate, cpu;
} answer;

static answer read_all(const int *fds, int files, int64_t blocks, int64_t reads, unsigned seed)
{
    record *records = memory((size_t)reads * sizeof *records);
    uint32_t *file = memory((size_t)reads * sizeof *file), *block = memory((size_t)reads * sizeof *block);
    char *buffer = memory(BLOCK);
    srand48(seed);
    for (int64_t i = 0; i < reads; i++) {
        file[i] = (uint32_t)(lrand48() % files);
        block[i] = (uint32_t)(lrand48() % blocks);
    }
    double cpu = cpu_us();
    int64_t start = now_ns();
    for (int64_t i = 0; i < reads; i++) {
        int64_t submit = now_ns();
        long result = syscall(SYS_pread64, fds[file[i]], buffer, BLOCK, (int64_t)block[i] * BLOCK);
        int64_t complete = now_ns();
        records[i] = (record){.row = i, .free = submit, .submit = submit, .complete = complete, .result = (int32_t)result};
    }
    double rate = (double)reads * 1e6 / (double)(now_ns() - start);
    return (answer){rate, (cpu_us() - cpu) / (double)reads};
}

int main(int count, char **arguments)
{
    static int fds[4096];
    if (count != 6)
        return 2;
    int files = atoi(arguments[2]), processes = atoi(arguments[5]);
    int64_t reads = atoll(arguments[4]);
    answer *answers = memory(BLOCK);
    for (int i = 0; i < files && i < 4096; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", arguments[1], i);
        fds[i] = open(path, O_RDONLY | O_NOATIME);
    }
    for (int i = 0; i < processes; i++) {
        if (fork() == 0) {
            answers[i] = read_all(fds, files, atoll(arguments[3]) / BLOCK, reads, (unsigned)i);
            _exit(0);
        }
    }
    double rate = 0, cpu = 0;
    while (wait(NULL) > 0)
        ;
    for (int i = 0; i < processes; i++) {
        rate += answers[i].rate;
        cpu += answers[i].cpu / processes;
    }
    printf("%.1f %.4f\n", rate, cpu);
    return 0;
}
