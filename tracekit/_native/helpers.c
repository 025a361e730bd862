/* What has names, changes or maps something is done by a few threads beside the ring: it would hold the ring up. An eventfd
   that the ring reads tells that one of them is done. */
#define _GNU_SOURCE
#include "helpers.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

void tk_queue_append(tk_queue *line, tk_flight *one)
{
    one->next = NULL;
    if (line->last)
        line->last->next = one;
    else
        line->first = one;
    line->last = one;
}

tk_flight *tk_queue_take(tk_queue *line)
{
    tk_flight *one = line->first;
    if (one) {
        line->first = one->next;
        if (line->first == NULL)
            line->last = NULL;
    }
    return one;
}

void tk_helpers_open(tk_helpers *helpers, tk_run *run)
{
    *helpers = (tk_helpers){.run = run, .bell = -1};
    pthread_mutex_init(&helpers->lock, NULL);
    pthread_cond_init(&helpers->work, NULL);
}

static void help(tk_helpers *helpers, tk_flight *one)
{
    tk_run *run = helpers->run;
    int32_t group = run->streams.plans[one->claim.stream].group;
    one->result.submit = tk_now_ns();
    one->result.result = (int32_t)tk_issue_op(&run->issue, NULL, group, one->key, one->claim.op, &one->aim, NULL,
                                              &one->result.error);
    one->result.complete = tk_now_ns();
}

/* The supervisor gives helpers the priority of the ring's thread: a stream waits for them as it does for that. */
static void introduce(tk_helpers *helpers)
{
    tk_helper *place = &helpers->run->helpers[atomic_fetch_add(&helpers->places, 1)];
    atomic_store(&place->tid, (int32_t)syscall(SYS_gettid));
    atomic_fetch_add(&helpers->here, 1);
    tk_futex_wake(&helpers->here, 1);
}

static void *helper_main(void *argument)
{
    tk_helpers *helpers = argument;
    introduce(helpers);
    pthread_mutex_lock(&helpers->lock);
    for (;;) {
        tk_flight *one = tk_queue_take(&helpers->to_do);
        if (one == NULL && helpers->over)
            break;
        if (one == NULL) {
            pthread_cond_wait(&helpers->work, &helpers->lock);
            continue;
        }
        pthread_mutex_unlock(&helpers->lock);
        uint64_t one_more = 1;
        help(helpers, one);
        pthread_mutex_lock(&helpers->lock);
        tk_queue_append(&helpers->done, one);
        if (write(helpers->bell, &one_more, sizeof one_more) < 0)
            tk_run_stop(helpers->run, TK_BROKEN);
    }
    pthread_mutex_unlock(&helpers->lock);
    return NULL;
}

/* They are there when this returns. 0, or the errno of what could not be started. */
int tk_helpers_start(tk_helpers *helpers)
{
    helpers->bell = eventfd(0, EFD_CLOEXEC);
    if (helpers->bell < 0)
        return errno;
    for (; helpers->count < TK_HELPERS; helpers->count++) {
        int error = pthread_create(&helpers->threads[helpers->count], NULL, helper_main, helpers);
        if (error)
            return error;
    }
    for (uint32_t here; (here = atomic_load(&helpers->here)) < TK_HELPERS;)
        tk_futex_wait(&helpers->here, here, 0);
    return 0;
}

void tk_helpers_give(tk_helpers *helpers, tk_flight *one)
{
    if (one->claim.op->kind == TK_DELETE)
        tk_handle_drop(helpers->run->handles, one->key);
    helpers->busy++;
    pthread_mutex_lock(&helpers->lock);
    tk_queue_append(&helpers->to_do, one);
    pthread_cond_signal(&helpers->work);
    pthread_mutex_unlock(&helpers->lock);
}

/* Have the ring wait for the bell; `whose` is what its completion says. */
void tk_helpers_listen(tk_helpers *helpers, tk_ring *ring, uint64_t whose)
{
    uring_sqe *sqe = helpers->bell >= 0 && !helpers->listening ? tk_ring_next(ring) : NULL;
    if (sqe == NULL)
        return;
    sqe->opcode = URING_READ;
    sqe->fd = helpers->bell;
    sqe->addr = (uint64_t)(uintptr_t)&helpers->bell_count;
    sqe->len = sizeof helpers->bell_count;
    sqe->off = UINT64_MAX; /* the file's own position: an eventfd has no other */
    sqe->user_data = whose;
    helpers->listening = true;
}

/* The bell has rung: all that are done, each with the next one. */
tk_flight *tk_helpers_take(tk_helpers *helpers)
{
    helpers->listening = false;
    pthread_mutex_lock(&helpers->lock);
    tk_flight *first = helpers->done.first;
    helpers->done = (tk_queue){0};
    pthread_mutex_unlock(&helpers->lock);
    return first;
}

void tk_helpers_close(tk_helpers *helpers)
{
    pthread_mutex_lock(&helpers->lock);
    helpers->over = true;
    pthread_cond_broadcast(&helpers->work);
    pthread_mutex_unlock(&helpers->lock);
    for (int i = 0; i < helpers->count; i++)
        pthread_join(helpers->threads[i], NULL);
    if (helpers->bell >= 0)
        close(helpers->bell);
    pthread_mutex_destroy(&helpers->lock);
    pthread_cond_destroy(&helpers->work);
}
