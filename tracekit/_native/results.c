/* One record per op. Either straight into an array that has a row for each, or, where a trace is longer than memory, into
   chunks that a ring carries to the supervisor, which writes them to a file in the order they come. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct tk_chunk {
    tk_chunk *next;
    int count;
    tk_result records[TK_CHUNK];
};

int tk_results_open(tk_results *results, tk_result *rows, int fd, int limit)
{
    *results = (tk_results){.rows = rows, .fd = fd, .limit = limit};
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
    if (chunk->count == TK_CHUNK)
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

/* Write what is full, in order. Called by the supervisor only. False when a write failed: the records are lost then. */
bool tk_results_drain(tk_results *results)
{
    if (results->rows)
        return true;
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
    return atomic_load(&results->error) == 0;
}
