/* The recorder's C parts without Python, for sanitizers and valgrind: start, then every case of hazards.c from two threads
   at once, decoder and relocation on arbitrary bytes, threads in churn. Prints the cases that went wrong. */
#define _GNU_SOURCE
#include "hazards.c"

#include "decode.h"
#include "rawnet.h"
#include "recorder.h"
#include "spool.h"
#include "touched.h"

#include <sys/mman.h>

struct named {
    const char *name;
    long (*run)(const char *path);
};
#define CASE(name) {#name, name}
static const struct named cases[] = {
    CASE(by_read), CASE(by_pread), CASE(by_readv), CASE(by_preadv), CASE(by_preadv2), CASE(by_fread), CASE(by_getline),
    CASE(by_fdopen_of_a_copy), CASE(by_dup2), CASE(by_fcntl_copy), CASE(by_lseek), CASE(by_sendfile),
    CASE(by_copy_file_range), CASE(by_splice), CASE(by_syscall_read), CASE(in_a_forked_child), CASE(in_a_raw_clone),
    CASE(after_a_vforked_child_closed_all), CASE(after_posix_spawn_closed_it), CASE(shared_with_a_forked_child),
    CASE(in_a_thread), CASE(in_a_cancelled_thread), CASE(in_a_signal_handler), CASE(with_append),
    CASE(after_jumping_out_of_a_read),
};
#if defined(WITHOUT_RAWS) /* built without raws.c */
#define RAW_CASES(X)
#else
#define RAW_CASES(X) \
    X(raw_read_all) X(raw_exactly) X(raw_in_a_thread) X(raw_in_a_forked_child) X(raw_in_a_fork) X(raw_in_a_clone) \
    X(raw_after_posix_spawn) X(raw_in_a_signal_handler) X(raw_with_all_signals_blocked) X(raw_on_an_alternate_stack)
#endif
#define EXTERN(name) extern long name(const char *);
RAW_CASES(EXTERN)
#define ROW(name) {#name, name},
static const struct named raw_cases[] = {RAW_CASES(ROW)};
enum { CASES = sizeof cases / sizeof *cases };

static const char *path;
static int wrong;

static void *churn(void *unused)
{
    char own[4096];
    (void)unused;
    for (int turn = 0; turn < 200; turn++) {
        int fd = open(path, O_RDONLY);
        if (pread(fd, own, sizeof own, 0) != (ssize_t)sizeof own)
            wrong++;
        tk_recorder_context(turn, 1, 2, 3, 4);
        close(fd);
    }
    return NULL;
}

/* Mapped, touched, moved, holed, forked and let go, by threads that do it at once. */
static void *map_and_touch(void *unused)
{
    (void)unused;
    for (int turn = 0; turn < 50; turn++) {
        int fd = open(path, O_RDONLY), status = 0;
        char *at = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 0);
        volatile char *seen = at;
        pid_t child;
        close(fd);
        seen[turn % 16 * 4096];
        if (mprotect(at, 4096, PROT_READ | PROT_WRITE) == 0)
            wrong++;
        munmap(at + 16384, 8192);
        madvise(at, 8192, MADV_DONTNEED);
        at = mremap(at, 16384, 8192, 0);
        tk_recorder_context(turn, 1, 2, 3, 4);
        if (turn % 25 == 0) {
            child = fork();
            if (child == 0) {
                seen[4096];
                _exit(7);
            }
            waitpid(child, &status, 0);
            wrong += WEXITSTATUS(status) != 7;
        }
        munmap(at, 8192);
        munmap((void *)(seen + 24576), 40960);
    }
    return NULL;
}

static void churn_of_maps(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, map_and_touch, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* Bytes of a fixed sequence (a linear congruential generator): whatever the decoder accepts, it must stay in its bounds. */
static void decode_anything(void)
{
    uint8_t code[16], copy[64];
    uint32_t seed = 12345;
    struct tk_instruction instruction;
    unsigned written;
    for (int turn = 0; turn < 300000; turn++) {
        size_t room = 1 + (size_t)turn % sizeof code;
        uint8_t *exact = malloc(room);
        for (size_t i = 0; i < room; i++)
            exact[i] = code[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        if (tk_decode(exact, room, &instruction) == 0 && (instruction.length == 0 || instruction.length > room))
            wrong++;
        tk_relocate(exact, room, 5, copy, sizeof copy, &written);
        tk_jumps_into(exact, room, 5);
        free(exact);
    }
}

int main(int count, char **arguments)
{
    struct tk_interposed state;
    pthread_t threads[8];
    if (count < 4)
        return 2;
    path = arguments[2];
    decode_anything();
    if (count > 4)
        printf("touches: %s\n", tk_touch_prepare((enum tk_touch_mode)atoi(arguments[4])) ?: "ok");
    if (count > 5)
        printf("net: %s\n", tk_net_prepare() ?: "ok");
    tk_recorder_start(arguments[1], 1, strcmp(arguments[3], "detour") == 0, strcmp(arguments[3], "got") == 0, &state);
    printf("%s %zu %zu\n", state.reason ? state.reason : "ok", state.hooked, state.left_count);
    if (count > 5 && tk_net_wanted())
        printf("net: %s\n", tk_net_start() ?: "ok");
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; count > 5 && i < sizeof raw_cases / sizeof *raw_cases; i++)
            if (raw_cases[i].run(path) != 65536 && ++wrong)
                printf("wrong: %s\n", raw_cases[i].name);
        for (int i = 0; i < CASES; i++)
            if (cases[i].run(path) != 65536 && ++wrong)
                printf("wrong: %s\n", cases[i].name);
        for (int i = 0; i < 8; i++)
            pthread_create(&threads[i], NULL, churn, NULL);
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
        if (turn == 0)
            churn_of_maps();
    }
    printf("%d wrong, %llu lost, %llu positions corrected\n", wrong, (unsigned long long)tk_process->lost,
           (unsigned long long)tk_process->wrong_offsets);
    return wrong != 0;
}
