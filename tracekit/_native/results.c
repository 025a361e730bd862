/* One record per op. Either straight into an array that has a row for each, or, where a trace is longer than memory, into
   chunks that a ring carries to a writer, which appends them to a file in the order they come. The writer has a thread of
   its own and normal priority: a write takes a core for longer than an op may be late.

   A process that is killed loses what is not in the file. So the writer also takes, a few times a second, what is in the
   chunks that threads are writing into: records are only added to those, and a chunk is used anew only when the writer itself
   gave it back, so neither waits for the other. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef TRACEKIT_SWEEP_NS /* tests look more often */
enum { SOON_NS = TRACEKIT_SWEEP_NS, SWEEP_NS = TRACEKIT_SWEEP_NS };
#else
enum { SOON_NS = 5000000, SWEEP_NS = 100000000 }; /* where something was found, and where nothing was */
#endif
/* The writer is called when so large a part of all chunks is full. */
enum { PART_FULL = 4 };
enum { POPULATE_WRITE = 23 }; /* MADV_POPULATE_WRITE, which older headers lack */

struct tk_chunk {
    tk_chunk *next;
    _Atomic int count;
    int written; /* how many are in the file; the writer's */
    tk_result records[TK_CHUNK];
};

/* Have the pages there before the run: cleared at the first record that goes to them, a huge one holds its op and those
   behind it up by hundreds of microseconds. Where the kernel cannot be asked (before 5.14), each is touched. */
static void have_pages(void *rows, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)rows + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)rows + bytes) & ~(page - 1);
    if (end <= begin || madvise((void *)begin, end - begin, POPULATE_WRITE) == 0)
        return;
    for (volatile char *at = (volatile char *)begin; at < (volatile char *)end; at += page)
        *at = *at;
}

/* Whether an op took longer than so many ns, and one more for every byte it moved. */
bool tk_took_longer(const tk_result *result, int64_t than)
{
    return result->complete - result->submit > than + (result->result > 0 ? result->result : 0);
}

int tk_results_open(tk_results *results, tk_result *rows, int64_t count, int fd, int limit)
{
    *results = (tk_results){.rows = rows, .fd = fd, .limit = limit};
    if (rows)
        have_pages(rows, (size_t)count * sizeof *rows);
    return tk_mutex_open(&results->lock);
}

void tk_results_free(tk_results *results)
{
    while (results->spare) {
        tk_chunk *chunk = results->spare;
        results->spare = chunk->next;
        free(chunk);
    }
    pthread_mutex_destroy(&results->lock);
}

static void call_writer(tk_results *results)
{
    atomic_fetch_add(&results->call, 1);
    tk_futex_wake(&results->call, 1);
}

/* A chunk to write into. The number of chunks is bounded: when the file is slower than the run, the run waits, and says
   how often. */
static tk_chunk *take(tk_results *results)
{
    for (;;) {
        uint32_t seen = atomic_load(&results->returned);
        pthread_mutex_lock(&results->lock);
        tk_chunk *chunk = results->spare;
        if (chunk)
            results->spare = chunk->next;
        bool make = chunk == NULL && results->made < results->limit;
        results->made += make;
        pthread_mutex_unlock(&results->lock);
        if (make)
            chunk = malloc(sizeof *chunk);
        if (chunk) {
            chunk->next = NULL;
            chunk->written = 0;
            atomic_store_explicit(&chunk->count, 0, memory_order_relaxed);
            return chunk;
        }
        atomic_fetch_add(&results->stalls, 1);
        call_writer(results);
        tk_futex_wait(&results->returned, seen, tk_now_ns() + 50000000);
    }
}

void tk_results_flush(tk_results *results, tk_own_chunk *mine)
{
    tk_chunk *chunk = atomic_load_explicit(mine, memory_order_relaxed);
    if (chunk == NULL)
        return;
    pthread_mutex_lock(&results->lock);
    atomic_store_explicit(mine, NULL, memory_order_relaxed);
    if (results->full_last)
        results->full_last->next = chunk;
    else
        results->full = chunk;
    results->full_last = chunk;
    bool many = ++results->full_count >= results->limit / PART_FULL;
    pthread_mutex_unlock(&results->lock);
    if (many)
        call_writer(results);
}

void tk_results_put(tk_results *results, tk_own_chunk *mine, const tk_result *result)
{
    if (results->rows) {
        results->rows[result->row] = *result;
        return;
    }
    tk_chunk *chunk = atomic_load_explicit(mine, memory_order_relaxed);
    if (chunk == NULL)
        atomic_store_explicit(mine, chunk = take(results), memory_order_release);
    int count = atomic_load_explicit(&chunk->count, memory_order_relaxed);
    chunk->records[count] = *result;
    atomic_store_explicit(&chunk->count, count + 1, memory_order_release);
    if (count + 1 == TK_CHUNK)
        tk_results_flush(results, mine);
}

/* What a chunk has and the file has not. After a failed write the records are lost, but the chunks come back. */
static void write_out(tk_results *results, tk_chunk *chunk)
{
    int count = atomic_load_explicit(&chunk->count, memory_order_acquire);
    const char *data = (const char *)&chunk->records[chunk->written];
    size_t left = (size_t)(count - chunk->written) * sizeof(tk_result);
    chunk->written = count;
    while (left && !atomic_load(&results->error)) {
        ssize_t moved = write(results->fd, data, left);
        if (moved < 0 && errno != EINTR)
            atomic_store(&results->error, errno);
        if (moved > 0) {
            data += moved;
            left -= (size_t)moved;
        }
    }
}

/* Write what is full, in order; whether there was anything. */
static bool drain(tk_results *results)
{
    pthread_mutex_lock(&results->lock);
    tk_chunk *chunk = results->full;
    bool found = chunk != NULL;
    results->full = results->full_last = NULL;
    results->full_count = 0;
    pthread_mutex_unlock(&results->lock);
    while (chunk) {
        tk_chunk *next = chunk->next;
        write_out(results, chunk);
        pthread_mutex_lock(&results->lock);
        chunk->next = results->spare;
        results->spare = chunk;
        pthread_mutex_unlock(&results->lock);
        atomic_fetch_add(&results->returned, 1);
        tk_futex_wake(&results->returned, 1 << 30);
        chunk = next;
    }
    return found;
}

/* Write what threads have put into their chunks so far. */
static void sweep(tk_results *results)
{
    for (int i = 0; i < results->thread_count; i++) {
        tk_chunk *chunk = atomic_load_explicit(&results->threads[i].chunk, memory_order_acquire);
        if (chunk)
            write_out(results, chunk);
    }
}

static void *writer_main(void *argument)
{
    tk_results *results = argument;
    int64_t swept = tk_now_ns();
    while (!atomic_load(&results->closing)) {
        uint32_t seen = atomic_load(&results->call);
        bool found = drain(results);
        if (tk_now_ns() - swept >= SWEEP_NS) {
            sweep(results);
            swept = tk_now_ns();
        }
        tk_futex_wait(&results->call, seen, tk_now_ns() + (found ? SOON_NS : SWEEP_NS));
    }
    drain(results);
    return NULL;
}

/* Start the writer, before these threads. */
int tk_results_start(tk_results *results, const tk_worker *threads, int count)
{
    if (results->rows)
        return 0;
    results->threads = threads;
    results->thread_count = count;
    int error = pthread_create(&results->writer, NULL, writer_main, results);
    results->writing = error == 0;
    return error;
}

/* Write what is left, after the last record. 0, or the errno of a write that failed. */
int tk_results_close(tk_results *results)
{
    if (results->writing) {
        atomic_store(&results->closing, true);
        call_writer(results);
        pthread_join(results->writer, NULL);
        results->writing = false;
    }
    return atomic_load(&results->error);
}
