/* The slow side of the spool: threads coming and going, forked children. Everything here may run inside a signal
   handler or on a thread whose locks are held, so it uses system calls made by hand and no allocation. */
#define _GNU_SOURCE
#include "mapfile.h"
#include "partfile.h"
#include "spares.h"
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

enum { POOL = 64, PAGE = 4096, KEYS_INLINE = 32 };

__thread struct tk_local tk_local TK_TLS;
struct tk_process *tk_process;
volatile uint32_t *tk_live;
uint32_t tk_generation;
int tk_on;
int tk_clock_tsc;
uint8_t tk_always_ask;
void (*tk_spool_reborn)(void);

static _Atomic(struct tk_thread *) pool[POOL];
static pthread_key_t exit_key;
static int have_exit_key;

/* -- signals ------------------------------------------------------------------------------------------------------ */

void tk_block_signals(uint64_t *before)
{
    uint64_t all = ~UINT64_C(0);
    TK_RAW4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, before, 8);
}

void tk_restore_signals(const uint64_t *before)
{
    TK_RAW4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, before, NULL, 8);
}

/* -- processes ---------------------------------------------------------------------------------------------------- */

/* A forked child, at its first hook: a process of its own, which must forget what was the parent's. The word after the
   generation, on the same page, lets exactly one thread do it. Returns 0 when nothing may be recorded (yet). */
static int reborn(void)
{
    _Atomic uint32_t *turn = (_Atomic uint32_t *)(uintptr_t)(tk_live + 1);
    uint32_t free = 0;
    struct tk_process *process;

    if (*tk_live != 0)
        return *tk_live == tk_generation;
    if (!atomic_compare_exchange_strong(turn, &free, 1))
        return 0;
    for (int i = 0; i < POOL; i++)
        atomic_store(&pool[i], NULL);
    process = tk_new_process();
    if (process == NULL) {
        tk_on = 0;
        return 0;
    }
    tk_process = process;
    tk_generation++;
    if (tk_spool_reborn)
        tk_spool_reborn();
    *tk_live = tk_generation;
    return 1;
}

/* -- threads ------------------------------------------------------------------------------------------------------ */

static struct tk_thread nowhere; /* where threads write while no chunk can be had: it has no room, so all is counted */

static uint64_t chunk_bytes(uint32_t sequence_of_thread)
{
    return sequence_of_thread == 0 ? TK_FIRST : sequence_of_thread == 1 ? 1 << 18 : TK_HUGE;
}

static struct tk_thread *map_chunk(uint32_t number, uint64_t bytes)
{
    char path[TK_PART_PATH];
    void *spare;
    tk_part_name(path, tk_process->pid, tk_process->start, number);
    spare = bytes == TK_HUGE ? tk_spares_take(path, bytes) : NULL;
    return spare ? spare : tk_map_new(path, bytes);
}

static struct tk_thread *new_chunk(const struct tk_context *context, uint64_t bytes)
{
    struct tk_thread *thread = bytes == TK_FIRST ? atomic_exchange(&tk_first_chunk, NULL) : NULL;
    uint32_t number = thread ? 0 : atomic_fetch_add(&tk_process->chunks, 1);

    if (thread == NULL)
        thread = map_chunk(number, bytes);
    if (thread == NULL)
        return NULL;
    thread->layout = TK_LAYOUT;
    thread->header_bytes = TK_HEADER;
    thread->process_start = tk_process->start;
    thread->pid = tk_process->pid;
    thread->tid = (int)TK_RAW0(SYS_gettid);
    thread->sequence = (int)number;
    thread->clock = tk_clock_tsc;
    thread->bytes = bytes;
    thread->vforked = tk_always_ask;
    thread->anchor_ns = tk_anchor(&thread->anchor_ticks);
    thread->context = thread->now = *context;
    memcpy(thread->magic, "tkops\0\0", 8);
    return thread;
}

static void note_context(struct tk_thread *thread, const struct tk_context *context)
{
    struct tk_record *record = tk_take(&thread, 0, NULL);
    thread->now = *context;
    if (record == NULL)
        return;
    record->offset = context->sample;
    record->len = context->step;
    record->ret = (int32_t)context->epoch;
    record->dur = context->worker;
    record->what = TK_CONTEXT | context->run << TK_FILE_SHIFT;
    atomic_store_explicit(&record->t, tk_ticks(), memory_order_release);
}

static struct tk_thread *from_pool(const struct tk_context *context)
{
    for (int i = 0; i < POOL; i++) {
        struct tk_thread *thread = atomic_exchange(&pool[i], NULL);
        if (thread == NULL)
            continue;
        uint64_t now = tk_ticks();
        thread->seen_cwd = 0;
        thread->vforked = tk_always_ask;
        thread->hushed = 0;
        thread->now = *context;
        tk_note(thread, TK_THREAD, 0, 0, TK_RAW0(SYS_gettid), now, now);
        note_context(thread, context);
        return thread;
    }
    return NULL;
}

/* Another thread may go on in the chunk of one that ended, while there is room worth the trouble. */
void tk_thread_ends(void *unused)
{
    struct tk_thread *thread = tk_local.thread;
    uint64_t cursor;
    (void)unused;
    if (!tk_on || thread == NULL || thread == &nowhere || tk_local.generation != *tk_live || thread->pid != tk_process->pid)
        return;
    tk_local.thread = NULL;
    if (thread->before)
        TK_RAW2(SYS_munmap, thread->before, thread->before->bytes);
    thread->before = NULL;
    cursor = atomic_load(&thread->cursor);
    if (TK_HEADER + (uint32_t)cursor * UINT64_C(32) + (cursor >> 32) + 4096 < thread->bytes)
        for (int i = 0; i < POOL; i++) {
            struct tk_thread *empty = NULL;
            if (atomic_compare_exchange_strong(&pool[i], &empty, thread))
                return;
        }
    TK_RAW2(SYS_munmap, thread, thread->bytes);
}

static const struct tk_context nothing = {-1, UINT32_MAX, UINT32_MAX, UINT32_MAX, 0};

struct tk_thread *tk_attach(void)
{
    struct tk_thread *thread = NULL, *inherited;
    struct tk_context context = nothing;
    uint64_t signals;

    if (!tk_on || tk_process == NULL)
        return NULL;
    inherited = tk_local.thread;
    tk_block_signals(&signals);
    if (*tk_live != tk_generation ? reborn() : TK_RAW0(SYS_getpid) == tk_process->pid) {
        /* The thread that forked has the parent's chunk in its hand: its context holds in the child. */
        if (inherited && inherited != &nowhere)
            context = inherited->now;
        thread = from_pool(&context);
        if (thread == NULL)
            thread = new_chunk(&context, chunk_bytes(0));
        if (thread == NULL)
            thread = &nowhere;
        tk_local.thread = thread;
        tk_local.generation = *tk_live;
        /* Values of the first keys lie in the thread itself; a later key would call malloc here. */
        if (have_exit_key && exit_key < KEYS_INLINE)
            pthread_setspecific(exit_key, thread);
    }
    tk_restore_signals(&signals);
    return thread;
}

/* Either the parent, which goes on after its child has exec'd or gone, or that child itself: it has the parent's memory
   and must leave no trace in it. */
struct tk_thread *tk_after_vfork(struct tk_thread *thread)
{
    if (TK_RAW0(SYS_getpid) != tk_process->pid)
        return NULL;
    thread->vforked = tk_always_ask;
    return thread;
}

/* The next chunk of a thread whose chunk is full; NULL when there is none to be had. The full one stays mapped until the
   next turn, because the hook that a signal handler interrupted may still have to fill its slot. */
struct tk_thread *tk_turn(struct tk_thread *full)
{
    static _Atomic uint32_t refused;
    struct tk_thread *next = NULL;
    uint64_t signals;

    if (full == &nowhere && atomic_fetch_add(&refused, 1) % 4096 != 4095)
        return NULL;
    tk_block_signals(&signals);
    if (tk_local.thread != full) { /* a handler has turned already */
        next = tk_local.thread;
    } else {
        uint32_t size = full == &nowhere ? 0 : full->bytes < 1 << 18 ? 1 : 2;
        if (size == 1)
            tk_spares_want();
        next = new_chunk(full == &nowhere ? &nothing : &full->now, chunk_bytes(size));
        if (next) {
            if (full != &nowhere) {
                if (full->before)
                    TK_RAW2(SYS_munmap, full->before, full->before->bytes);
                full->before = NULL;
                next->before = full;
                next->hushed = full->hushed;
            }
            tk_local.thread = next;
        }
    }
    tk_restore_signals(&signals);
    return next;
}

/* -- counting and noting ------------------------------------------------------------------------------------------ */

void tk_count_lost(void)
{
    tk_count_lost_ops(1);
}

void tk_count_lost_ops(uint64_t ops)
{
    if (tk_process)
        atomic_fetch_add_explicit(&tk_process->lost, ops, memory_order_relaxed);
}

/* Bytes of threads that have no chunk, having done nothing worth one. */
void tk_count_apart(ssize_t read, ssize_t written)
{
    if (!tk_on || tk_process == NULL || (*tk_live != tk_generation && !reborn()))
        return;
    atomic_fetch_add_explicit(&tk_process->ignored_read, (uint64_t)read, memory_order_relaxed);
    atomic_fetch_add_explicit(&tk_process->ignored_written, (uint64_t)written, memory_order_relaxed);
}

/* 0 when the numbers are used up. */
uint32_t tk_new_file(void)
{
    uint32_t file = atomic_fetch_add_explicit(&tk_process->files, 1, memory_order_relaxed);
    if (file <= TK_LAST_FILE)
        return file;
    atomic_store(&tk_process->files, TK_LAST_FILE + 1);
    return 0;
}

void tk_set_context(const struct tk_context *context)
{
    struct tk_thread *thread = tk_self();
    if (thread)
        note_context(thread, context);
}

int tk_note_text_in(struct tk_thread *thread, uint32_t what, uint64_t len, int64_t ret, uint64_t begin, uint64_t end,
                    const void *first, size_t first_bytes, const void *second, size_t second_bytes)
{
    uint64_t at = 0, bytes = first_bytes + second_bytes;
    uint64_t room = (bytes + 7) & ~UINT64_C(7);
    struct tk_record *record = tk_take_in(thread, (uint32_t)room, &at);
    char *text;
    if (record == NULL)
        return 0;
    text = (char *)thread + at;
    memcpy(text, first, first_bytes);
    if (second_bytes)
        memcpy(text + first_bytes, second, second_bytes);
    tk_fill(record, what, (int64_t)(at << 32 | bytes), len, ret, begin, end);
    return 1;
}

void tk_note_text(struct tk_thread *thread, uint32_t what, uint64_t len, int64_t ret, uint64_t begin, uint64_t end,
                  const void *first, size_t first_bytes, const void *second, size_t second_bytes)
{
    for (int attempt = 0; attempt < 2 && thread; attempt++) {
        if (tk_note_text_in(thread, what, len, ret, begin, end, first, first_bytes, second, second_bytes))
            return;
        thread = tk_turn(thread);
    }
    tk_count_lost();
}

/* -- start -------------------------------------------------------------------------------------------------------- */

static void forking(void)
{
    if (tk_process)
        atomic_fetch_add_explicit(&tk_process->forks, 1, memory_order_relaxed);
}

const char *tk_spool_start(const char *where, int tsc)
{
    void *page;
    if (!tk_part_place(where))
        return "the spool's directory must be an absolute path of less than 512 bytes";
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return "no memory";
    if (madvise(page, PAGE, MADV_WIPEONFORK) != 0) {
        munmap(page, PAGE);
        return "the kernel cannot wipe a page on fork (Linux 4.14)";
    }
    tk_spares_start(where);
#if !defined(__x86_64__)
    tsc = 0;
#endif
    tk_clock_tsc = tsc;
    tk_live = page;
    tk_process = tk_new_process();
    if (tk_process == NULL) {
        munmap(page, PAGE);
        return "no file can be made in the spool's directory";
    }
    if (!have_exit_key)
        have_exit_key = pthread_key_create(&exit_key, tk_thread_ends) == 0;
    pthread_atfork(forking, NULL, NULL);
    *tk_live = tk_generation = 1;
    return NULL;
}
