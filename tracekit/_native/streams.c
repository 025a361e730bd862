/* When the next op of each stream is due, and who is next: the counterpart of tracekit/replay/pacer.py.

   A stream is a small state machine that is either in the heap (it has an op to issue), with an engine (that op is being
   waited for or is in flight), or waiting (for the stream its start is anchored at, or for the repetition to end). An op is
   never handed out before the one ahead of it has completed, so order within a stream needs no other care. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Ops of all streams together that may lie in memory behind them, and the fewest of one stream: what the kernel maps around
   a page that is touched. */
enum { RELEASE_ALL = 1 << 16, RELEASE_LEAST = 1 << 11 };
enum { FORESEEN = 8 };

int tk_streams_open(tk_streams *streams, int32_t workers)
{
    size_t count = streams->stream_count > 0 ? (size_t)streams->stream_count : 1;
    streams->release_ops = RELEASE_ALL / (int64_t)count > RELEASE_LEAST ? RELEASE_ALL / (int64_t)count : RELEASE_LEAST;
    streams->room = 2 * workers + 16;
    streams->heap.entries = malloc(count * sizeof(tk_entry));
    streams->waits.entries = malloc((size_t)streams->room * sizeof(tk_entry));
    if (streams->heap.entries == NULL || streams->waits.entries == NULL)
        return ENOMEM;
    return posix_memalign((void **)&streams->states, 64, count * sizeof(tk_state));
}

void tk_streams_free(tk_streams *streams)
{
    free(streams->states);
    free(streams->heap.entries);
    free(streams->waits.entries);
}

/* -- the heap -- */

const tk_entry *tk_streams_top(const tk_streams *streams)
{
    return streams->heap.count ? &streams->heap.entries[0] : NULL;
}

static int64_t key_of(const tk_streams *streams, const tk_state *state)
{
    if (streams->in_order)
        return state->turn * streams->op_count + streams->ops[state->plan->first + state->position].order;
    return state->due == TK_NOW ? state->free : state->due;
}

void tk_streams_push(tk_streams *streams, int32_t stream)
{
    const tk_state *state = &streams->states[stream];
    uint32_t length = streams->ops[state->plan->first + state->position].length;
    tk_heap_push(&streams->heap, (tk_entry){.key = key_of(streams, state), .stream = stream, .length = length});
}

int32_t tk_streams_pop(tk_streams *streams)
{
    return tk_heap_pop(&streams->heap).stream;
}

/* -- pacing -- */

static int64_t recorded_due(const tk_streams *streams, const tk_state *state, const tk_op *op)
{
    return streams->start + state->turn * streams->period + op->time;
}

/* The op at the stream's position becomes the one to issue, now that the stream is free for it. */
static void arm(tk_streams *streams, tk_state *state, int64_t free_at)
{
    const tk_op *op = &streams->ops[state->plan->first + state->position];
    state->free = free_at;
    if (streams->pace == TK_RECORDED) {
        state->due = recorded_due(streams, state, op);
    } else if (streams->pace == TK_THINK) {
        int64_t paid = state->debt < op->time ? state->debt : op->time;
        state->debt -= paid;
        state->due = free_at + op->time - paid;
    } else {
        state->due = TK_NOW;
    }
}

static void begin_turn(tk_streams *streams, tk_state *state, int64_t free_at)
{
    state->waiting = false;
    state->position = 0;
    arm(streams, state, free_at);
}

/* Anchors hold in a closed loop only; an open loop has its schedule. */
static bool is_anchored(const tk_streams *streams, const tk_state *state)
{
    return streams->pace != TK_RECORDED && state->plan->after >= 0;
}

void tk_streams_start(tk_streams *streams, int64_t start)
{
    streams->start = start;
    streams->heap.count = streams->waits.count = 0;
    streams->unfinished = streams->in_turn = streams->stream_count;
    for (int32_t i = 0; i < streams->stream_count; i++)
        streams->states[i] = (tk_state){.plan = &streams->plans[i], .waiters = -1, .sibling = -1, .waiting = true};
    for (int32_t i = 0; i < streams->stream_count; i++) {
        tk_state *state = &streams->states[i];
        if (is_anchored(streams, state)) {
            tk_state *anchor = &streams->states[state->plan->after];
            state->sibling = anchor->waiters;
            anchor->waiters = i;
        } else {
            begin_turn(streams, state, start);
            tk_streams_push(streams, i);
        }
    }
}

void tk_streams_look(const tk_streams *streams, int32_t stream, tk_claim *claim)
{
    const tk_state *state = &streams->states[stream];
    claim->stream = stream;
    claim->op = &streams->ops[state->plan->first + state->position];
    claim->row = state->plan->first * streams->turns + state->turn * state->plan->count + state->position;
    claim->number = state->turn * streams->op_count + claim->op->order;
    claim->due = state->due;
    claim->free = state->free;
}

/* The first moment after `moment` in the plan of a stream, as far as this repetition goes. */
static int64_t stream_after(const tk_streams *streams, int32_t stream, int64_t moment)
{
    const tk_state *state = &streams->states[stream];
    const tk_op *op = &streams->ops[state->plan->first + state->position];
    int64_t left = streams->pace == TK_RECORDED ? state->plan->count - state->position : 0;
    while (--left > 0)
        if (recorded_due(streams, state, ++op) > moment)
            return recorded_due(streams, state, op);
    return INT64_MAX;
}

/* The same of all streams in this part of the heap. */
static int64_t heap_after(const tk_streams *streams, int32_t at, int64_t moment)
{
    if (at >= streams->heap.count)
        return INT64_MAX;
    const tk_entry *entry = &streams->heap.entries[at];
    if (entry->key > moment)
        return entry->key;
    int64_t own = stream_after(streams, entry->stream, moment);
    int64_t left = heap_after(streams, 2 * at + 1, moment), right = heap_after(streams, 2 * at + 2, moment);
    int64_t below = left < right ? left : right;
    return own < below ? own : below;
}

/* The first moment after `moment` that comes more than `apart` behind the one before it, 0 where it is not near.
   It is a guess: of streams that are not in the heap, and in a closed loop of what follows in a stream, nothing is known. */
int64_t tk_streams_foresee(const tk_streams *streams, int64_t moment, int64_t apart)
{
    for (int look = 0; look < FORESEEN && !streams->in_order; look++) {
        int64_t next = heap_after(streams, 0, moment);
        if (next - moment > apart)
            return next == INT64_MAX ? 0 : next;
        moment = next;
    }
    return 0;
}

/* The stream was ready to issue its op: being late is owed, and the next think times pay. */
void tk_streams_ready(tk_streams *streams, int32_t stream, int64_t due, int64_t ready)
{
    if (streams->pace == TK_THINK && ready > due)
        streams->states[stream].debt += ready - due;
}

static void give_pages_back(const tk_op *from, const tk_op *to)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    /* The first page may hold ops of another stream: they are read in again when they are asked for. */
    uintptr_t begin = (uintptr_t)from & ~page, end = (uintptr_t)to & ~page;
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* The stream's op has completed and another one of the same repetition follows: it is armed. False at the end of a
   repetition: then tk_streams_end is to be called, under the lock that guards the heap. */
bool tk_streams_next(tk_streams *streams, int32_t stream, int64_t complete)
{
    tk_state *state = &streams->states[stream];
    if (state->position + 1 == state->plan->count)
        return false;
    state->position++;
    if (streams->release && state->position % streams->release_ops == 0) {
        const tk_op *here = &streams->ops[state->plan->first + state->position];
        give_pages_back(here - streams->release_ops, here);
    }
    arm(streams, state, complete);
    return true;
}

static int wake_waiters(tk_streams *streams, tk_state *anchor)
{
    int pushed = 0;
    for (int32_t i = anchor->waiters; i >= 0; i = streams->states[i].sibling) {
        tk_state *state = &streams->states[i];
        if (state->waiting && state->turn < anchor->ended) {
            begin_turn(streams, state, anchor->end > state->end ? anchor->end : state->end);
            tk_streams_push(streams, i);
            pushed++;
        }
    }
    return pushed;
}

/* In a closed loop the streams that start a repetition wait until the whole one before is over. */
static int next_turn(tk_streams *streams, int64_t complete)
{
    int pushed = 0;
    streams->in_turn = streams->stream_count;
    for (int32_t i = 0; i < streams->stream_count; i++) {
        tk_state *state = &streams->states[i];
        if (state->waiting && !is_anchored(streams, state)) {
            begin_turn(streams, state, complete);
            tk_streams_push(streams, i);
            pushed++;
        }
    }
    return pushed;
}

/* The last op of a stream's repetition has completed. Returns how many streams were put into the heap by that. */
int tk_streams_end(tk_streams *streams, int32_t stream, int64_t complete)
{
    tk_state *state = &streams->states[stream];
    int pushed = 0;
    state->ended++;
    state->end = complete;
    bool more = ++state->turn < streams->turns;
    if (!more)
        streams->unfinished--;
    if (streams->pace == TK_RECORDED) {
        if (!more)
            return 0;
        begin_turn(streams, state, complete);
        tk_streams_push(streams, stream);
        return 1;
    }
    state->waiting = more;
    pushed += wake_waiters(streams, state);
    if (--streams->in_turn == 0 && more)
        pushed += next_turn(streams, complete);
    return pushed;
}
