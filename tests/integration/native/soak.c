/* Fork, exec and threads in churn under the recorder until `ops` reads are done: what the recorder takes must not grow with
   what has come and gone. Each round starts threads that read, take a context and end, a forked child that does the same, and
   a program. Records of finished rounds are thrown away, so that the soak fits on a disk. Prints, a tenth into the soak and at
   its end: ops, those of this process, bytes of the chunks it made for them, memory mappings, KiB of memory. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recorder.h"
#include "spool.h"

enum { THREADS = 6 };
static const char *spool, *data;
static long each;
static unsigned long long made, children, own;

static void *reader(void *number)
{
    char buffer[64];
    int fd = open(data, O_RDONLY);
    for (long turn = 0; turn < each; turn++)
        if (pread(fd, buffer, 16, turn % 4000) != 16)
            abort();
    tk_recorder_context((long)number, 1, 2, 3, 4);
    close(fd);
    return NULL;
}

static void threads(void)
{
    pthread_t started[THREADS];
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&started[i], NULL, reader, (void *)i))
            abort();
    for (long i = 0; i < THREADS; i++)
        pthread_join(started[i], NULL);
}

static void child(int round)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (round % 2) {
            execl("/bin/true", "true", NULL);
            _exit(1);
        }
        threads();
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status)
        abort();
    if (round % 2 == 0)
        children++;
}

static void throw_away(void)
{
    char path[4096], ours[32];
    int length = snprintf(ours, sizeof ours, "%d.", (int)getpid());
    struct stat facts;
    DIR *directory = opendir(spool);
    for (struct dirent *entry; (entry = readdir(directory));) {
        snprintf(path, sizeof path, "%s/%s", spool, entry->d_name);
        if (strstr(entry->d_name, ".ops") == NULL || stat(path, &facts))
            continue;
        if (strncmp(entry->d_name, ours, (size_t)length) == 0)
            made += (unsigned long long)facts.st_size;
        unlink(path);
    }
    closedir(directory);
}

static void say(unsigned long long ops)
{
    char line[4096];
    unsigned long long mappings = 0, resident = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, file))
        mappings++;
    fclose(file);
    file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            resident = strtoull(line + 8, NULL, 10);
    fclose(file);
    printf("%llu %llu %llu %llu %llu\n", ops, own, made, mappings, resident);
}

int main(int count, char **arguments)
{
    struct tk_interposed state;
    unsigned long long wanted, ops = 0;
    if (count < 5)
        return 2;
    spool = arguments[1], data = arguments[2];
    wanted = strtoull(arguments[3], NULL, 10), each = strtol(arguments[4], NULL, 10);
    tk_recorder_start(spool, 1, 1, 1, &state);
    if (state.method == TK_NONE)
        return 3;
    for (int round = 0, said = 0; ops < wanted; round++) {
        threads();
        child(round);
        throw_away();
        own += THREADS * (unsigned long long)each;
        ops = own + children * THREADS * (unsigned long long)each;
        if (!said && ops >= wanted / 10)
            say(ops), said = 1;
    }
    say(ops);
    printf("%llu\n", (unsigned long long)tk_process->lost);
    return 0;
}
