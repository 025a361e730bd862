/* Who makes whom: a thread or process may be seen before the call that made it ends, and always is after vfork. */
#define _GNU_SOURCE
#include "strace.h"

#include <stdlib.h>

/* How far to read ahead: calls that make threads end within few lines. */
enum { AHEAD_LINES = 100000, AHEAD_BYTES = 1 << 24 };
/* So many that make somebody at once are looked at: no more do, but in a file made to take time. */
enum { MOST_CANDIDATES = 1 << 10 };

/* Whoever has this number, made where nobody has; NULL when there is no memory. */
tk_thread *tk_thread_of(tk_strace *state, int64_t tid)
{
    if (state->last && state->last->tid == tid)
        return state->last;
    tk_slot *slot = tk_intmap_find(&state->threads, tid);
    if (slot)
        return state->last = slot->item;
    tk_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL || !tk_intmap_put(&state->threads, tid, thread, 0)) {
        free(thread);
        state->no_memory = true;
        return NULL;
    }
    thread->tid = thread->process = tid;
    return state->last = thread;
}

static tk_thread *known_thread(const tk_strace *state, int64_t tid)
{
    tk_slot *slot = tk_intmap_find(&state->threads, tid);
    return slot ? slot->item : NULL;
}

/* Whether a call makes another thread or process. */
static bool makes(tk_span body)
{
    return tk_starts(body, "clone(") || tk_starts(body, "clone3(") || tk_starts(body, "fork(") || tk_starts(body, "vfork(");
}

/* -- calls that have begun --------------------------------------------------------------------------------------------- */

static void open_maker(tk_strace *state, tk_thread *thread)
{
    if (state->open_count == state->open_room) {
        size_t room = state->open_room * 2 + 8;
        tk_thread **open = realloc(state->open, room * sizeof *open);
        if (open == NULL) {
            state->no_memory = true;
            return;
        }
        state->open = open;
        state->open_room = room;
    }
    state->open[state->open_count++] = thread;
    thread->place = state->open_count;
}

/* Put a thread among those that are making somebody who was not seen yet, or take it out. */
static void settle(tk_strace *state, tk_thread *thread)
{
    bool open = thread && thread->making && tk_intmap_find(&state->children, thread->tid) == NULL;
    if (thread == NULL || open == (thread->place > 0))
        return;
    if (open) {
        open_maker(state, thread);
        return;
    }
    tk_thread *last = state->open[--state->open_count];
    state->open[thread->place - 1] = last;
    last->place = thread->place;
    thread->place = 0;
}

/* It is not known any more who made a child, if it was; false if not. */
static bool unlink_child(tk_strace *state, int64_t child, int64_t *maker)
{
    tk_slot *slot = tk_intmap_find(&state->makers, child), *back;
    if (slot == NULL)
        return false;
    *maker = slot->moment;
    tk_intmap_remove(&state->makers, slot);
    back = tk_intmap_find(&state->children, *maker);
    if (back && back->moment == child)
        tk_intmap_remove(&state->children, back);
    settle(state, known_thread(state, *maker));
    return true;
}

static void link_child(tk_strace *state, int64_t maker, int64_t child)
{
    int64_t before;
    unlink_child(state, child, &before);
    if (!tk_intmap_put(&state->makers, child, state, maker) || !tk_intmap_put(&state->children, maker, state, child))
        state->no_memory = true;
    settle(state, known_thread(state, maker));
}

/* A call begins whose end comes later. */
void tk_begins(tk_strace *state, tk_thread *thread, int64_t when, tk_span text)
{
    if (!thread->pending) {
        thread->turn = ++state->turn;
        state->pending++;
    }
    thread->pending = true;
    thread->when = when;
    thread->text.length = 0;
    state->no_memory |= !tk_text_add(&thread->text, text.begin, tk_length(text));
    thread->of_thread = tk_has(text, "CLONE_THREAD");
    thread->making = makes(text);
    settle(state, thread);
    tk_begin_call(&state->descriptors, thread->process, thread->making ? NULL : &text, &thread->begun);
}

/* The end of that call, or of its thread: it is under way no more. What was known of it is there until the next begins. */
void tk_ended(tk_strace *state, tk_thread *thread)
{
    state->pending -= thread->pending;
    thread->pending = thread->making = false;
    settle(state, thread);
}

/* -- who made a thread ------------------------------------------------------------------------------------------------- */

static size_t candidates(const tk_strace *state)
{
    return state->open_count < MOST_CANDIDATES ? state->open_count : MOST_CANDIDATES;
}

static void mark_candidates(tk_strace *state, bool so)
{
    for (size_t i = 0; i < candidates(state); i++)
        state->open[i]->candidate = so;
}

/* The candidate that began first, and whether all make the same: whichever it was of those is all the same. */
static tk_thread *first_candidate(const tk_strace *state, bool *same)
{
    tk_thread *first = NULL;
    *same = true;
    for (size_t i = 0; i < candidates(state); i++) {
        tk_thread *one = state->open[i];
        if (!one->candidate)
            continue;
        *same = *same && (first == NULL || (first->process == one->process && first->of_thread == one->of_thread));
        first = first == NULL || one->turn < first->turn ? one : first;
    }
    return first;
}

/* The candidate whose call ends with a line, and what it gave; NULL for none. */
static tk_thread *ending(tk_strace *state, tk_span line, int64_t *child)
{
    tk_event event;
    tk_call call;
    tk_span rest, result;
    if (!tk_event_of(line, &event) || !tk_resumed(event.body, &rest))
        return NULL;
    tk_thread *thread = known_thread(state, event.tid);
    if (thread == NULL || !thread->candidate)
        return NULL;
    tk_text *joined = &state->joined;
    joined->length = 0;
    state->no_memory |= !tk_text_add(joined, thread->text.bytes, thread->text.length) ||
                        !tk_text_add(joined, rest.begin, tk_length(rest));
    if (!tk_result_of((tk_span){joined->bytes, joined->bytes + joined->length}, &call, &result))
        return NULL;
    *child = -1;
    if (!tk_number_of(result, child)) /* `?` becomes -1 */
        *child = -1;
    return thread;
}

/* Read on until it is clear who made a thread; false where that takes more text. */
static bool looked_ahead(tk_strace *state, int64_t tid, tk_span text, bool whole, tk_thread **maker)
{
    const char *begin = text.begin;
    bool same = false;
    for (int lines = 0; !same && lines < AHEAD_LINES && text.begin - begin < AHEAD_BYTES; lines++) {
        if (text.begin >= text.end)
            return whole;
        const char *end = memchr(text.begin, '\n', tk_length(text));
        int64_t child;
        end = end ? end : text.end;
        tk_thread *ended = ending(state, (tk_span){text.begin, end}, &child);
        text.begin = end < text.end ? end + 1 : end;
        if (ended && child == tid) {
            *maker = ended;
            return true;
        }
        if (ended) {
            ended->candidate = false;
            *maker = first_candidate(state, &same);
        }
    }
    return true;
}

static void gets(tk_strace *state, tk_thread *child, int64_t parent, tk_span args, const tk_beginning *begun)
{
    if (tk_has(args, "CLONE_THREAD")) {
        child->process = parent;
        return;
    }
    child->process = child->tid;
    tk_process_forked(&state->descriptors, parent, child->tid, tk_has(args, "CLONE_FILES"), begun);
}

/* A line of somebody who was not seen before. False where more text must say who made it; nothing is changed then. */
bool tk_first_seen(tk_strace *state, tk_thread *thread, tk_span following, bool whole)
{
    bool same = true, sure = true;
    tk_thread *maker = NULL;
    if (state->open_count) {
        mark_candidates(state, true);
        maker = first_candidate(state, &same);
        sure = same || looked_ahead(state, thread->tid, following, whole, &maker);
        mark_candidates(state, false);
    }
    if (!sure)
        return false;
    thread->known = true;
    if (maker) {
        tk_span text = {maker->text.bytes, maker->text.bytes + maker->text.length};
        link_child(state, maker->tid, thread->tid);
        gets(state, thread, maker->process, text, &maker->begun);
    }
    return true;
}

/* -- calls that made somebody ------------------------------------------------------------------------------------------ */

/* Somebody else who makes the same for the same process, and was not seen to; `maker` itself where there is nobody. */
static int64_t another_maker(tk_strace *state, int64_t maker, bool of_thread)
{
    const tk_thread *best = NULL, *thread = known_thread(state, maker);
    int64_t process = thread ? thread->process : maker;
    for (size_t i = 0; i < candidates(state); i++) {
        const tk_thread *one = state->open[i];
        bool like = one->process == process && one->of_thread == of_thread;
        best = like && (best == NULL || one->turn < best->turn) ? one : best;
    }
    return best ? best->tid : maker;
}

/* The call of a maker has ended. */
void tk_cloned(tk_strace *state, const tk_call *call)
{
    bool any = tk_length(call->error) == 0 && call->ret > 0;
    int64_t instead = 0;
    bool seen = any && unlink_child(state, call->ret, &instead);
    tk_slot *other = tk_intmap_find(&state->children, call->tid);
    if (other) /* it was taken for this call's child, and another of the same kind made it */
        link_child(state, seen ? instead : another_maker(state, call->tid, tk_has(call->args, "CLONE_THREAD")), other->moment);
    tk_thread *child = any && !seen ? tk_thread_of(state, call->ret) : NULL;
    if (child == NULL)
        return;
    child->known = true;
    gets(state, child, call->pid, call->args, call->begun);
}
