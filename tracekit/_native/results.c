/* One record per op. Either straight into an array that has a row for each, or, where a trace is longer than memory, into
   chunks that a ring carries to a writer, which appends them to a file in the order they come. The writer has a thread of
   its own and normal priority: a write takes a core for longer than an op may be late. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOOK_NS = 5000000 };
enum { KEEP_NS = 1000000000 }; /* a process that is killed loses what its threads keep */
enum { POPULATE_WRITE = 23 }; /* MADV_POPULATE_WRITE, which older headers lack */

struct tk_chunk {
    tk_chunk *next;
    int count;
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
            chunk->count = 0;
            return chunk;
        }
        atomic_fetch_add(&results->stalls, 1);
        call_writer(results);
        tk_futex_wait(&results->returned, seen, tk_now_ns() + 50000000);
    }
}

void tk_results_flush(tk_results *results, tk_chunk **mine)
{
    tk_chunk *chunk = *mine;
    if (chunk == NULL)
        return;
    *mine = NULL;
    pthread_mutex_lock(&results->lock);
    if (results->full_last)
        results->full_last->next = chunk;
    else
        results->full = chunk;
    results->full_last = chunk;
    pthread_mutex_unlock(&results->lock);
}

void tk_results_put(tk_results *results, tk_chunk **mine, const tk_result *result)
{
    if (results->rows) {
        results->rows[result->row] = *result;
        return;
    }
    if (*mine == NULL)
        *mine = take(results);
    tk_chunk *chunk = *mine;
    chunk->records[chunk->count++] = *result;
    if (chunk->count == TK_CHUNK || result->complete - chunk->records[0].complete > KEEP_NS)
        tk_results_flush(results, mine);
}

static void write_out(tk_results *results, const tk_chunk *chunk)
{
    const char *data = (const char *)chunk->records;
    size_t left = (size_t)chunk->count * sizeof(tk_result);
    while (left && !atomic_load(&results->error)) {
        ssize_t count = write(results->fd, data, left);
        if (count < 0 && errno != EINTR)
            atomic_store(&results->error, errno);
        if (count > 0) {
            data += count;
            left -= (size_t)count;
        }
    }
}

/* Write what is full, in order. After a failed write the records are lost, but the chunks come back. */
static void drain(tk_results *results)
{
    pthread_mutex_lock(&results->lock);
    tk_chunk *chunk = results->full;
    results->full = results->full_last = NULL;
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
}

static void *writer_main(void *argument)
{
    tk_results *results = argument;
    while (!atomic_load(&results->closing)) {
        uint32_t seen = atomic_load(&results->call);
        drain(results);
        tk_futex_wait(&results->call, seen, tk_now_ns() + LOOK_NS);
    }
    drain(results);
    return NULL;
}

int tk_results_start(tk_results *results)
{
    if (results->rows)
        return 0;
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
