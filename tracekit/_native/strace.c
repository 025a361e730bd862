/* Lines of strace put together to calls, each in the process that made it. */
#define _GNU_SOURCE
#include "strace.h"

#include <stdlib.h>

static const char UNFINISHED[] = " <unfinished ...>", NO_END[] = "calls whose end is not in the file";
enum { MOST_DIGITS = 30, LEAST_SECONDS = 6, MOST_FRACTION = 9, KEPT_ROOM = 1 << 12 };

bool tk_strace_open(tk_strace *state)
{
    *state = (tk_strace){0};
    tk_strings *tables[] = {&state->uris, &state->paths, &state->errors, &state->reasons};
    bool good = true;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        good &= tk_strings_open(tables[i]) == 0;
    return good;
}

static void free_thread(tk_thread *thread)
{
    tk_end_call(&thread->begun);
    tk_text_close(&thread->text);
    free(thread);
}

void tk_strace_close(tk_strace *state)
{
    for (size_t i = 0; i < state->threads.room; i++)
        if (state->threads.slots[i].item)
            free_thread(state->threads.slots[i].item);
    tk_intmap_close(&state->threads);
    tk_descriptors_close(&state->descriptors);
    tk_strings *tables[] = {&state->uris, &state->paths, &state->errors, &state->reasons};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        tk_strings_close(tables[i]);
    tk_intmap_close(&state->makers);
    tk_intmap_close(&state->children);
    free(state->open);
    free(state->left);
    tk_text_close(&state->joined);
    tk_text_close(&state->path);
    tk_text_close(&state->spare);
}

/* -- a line ------------------------------------------------------------------------------------------------------------ */

/* Digits as a number, at most TK_MOST; how many there are. */
static int count_digits(const char *at, const char *end, int64_t *value)
{
    const char *from = at;
    int64_t sum = 0;
    for (; at < end && tk_digit(*at) && at - from <= MOST_DIGITS; at++)
        sum = sum > (TK_MOST - (*at - '0')) / 10 ? TK_MOST : sum * 10 + *at - '0';
    *value = sum;
    return (int)(at - from);
}

static const char *behind_spaces(const char *at, const char *end)
{
    while (at < end && *at == ' ')
        at++;
    return at;
}

/* Who made a line, if it says; NULL where what is there is no such thing. */
static const char *who(const char *at, const char *end, int64_t *tid)
{
    int digits;
    *tid = 0;
    if (at < end && *at == '[') {
        if (!tk_starts((tk_span){at, end}, "[pid") || end - at < 5 || !tk_blank(at[4]))
            return NULL;
        for (at += 4; at < end && tk_blank(*at);)
            at++;
        digits = count_digits(at, end, tid);
        if (digits == 0 || digits > MOST_DIGITS || end - at <= digits || at[digits] != ']')
            return NULL;
        at += digits + 1;
    } else {
        digits = count_digits(at, end, tid);
        if (at + digits < end && at[digits] == '.') { /* that was the time */
            *tid = 0;
            return at;
        }
        if (digits == 0 || digits > MOST_DIGITS)
            return NULL;
        at += digits;
    }
    return at < end && *at == ' ' ? behind_spaces(at, end) : NULL;
}

/* Nanoseconds, at most TK_MOST, of seconds and some digits behind a point. */
static int64_t nanoseconds(int64_t seconds, int64_t fraction, int digits)
{
    for (; digits < MOST_FRACTION; digits++)
        fraction *= 10;
    return seconds > (TK_MOST - fraction) / 1000000000 ? TK_MOST : seconds * 1000000000 + fraction;
}

/* What stands in a line; false where it is none of strace -f -ttt. */
bool tk_event_of(tk_span line, tk_event *event)
{
    int64_t seconds, fraction;
    const char *at = who(line.begin, line.end, &event->tid);
    if (at == NULL)
        return false;
    int whole = count_digits(at, line.end, &seconds);
    at += whole;
    if (whole < LEAST_SECONDS || whole > MOST_DIGITS || at == line.end || *at != '.')
        return false;
    int digits = count_digits(at + 1, line.end, &fraction);
    at += 1 + digits;
    if (digits == 0 || digits > MOST_FRACTION || at >= line.end || *at != ' ')
        return false;
    event->when = nanoseconds(seconds, fraction, digits);
    event->body = (tk_span){behind_spaces(at, line.end), line.end};
    while (event->body.end > event->body.begin && tk_blank(event->body.end[-1]))
        event->body.end--;
    return true;
}

/* -- a call ------------------------------------------------------------------------------------------------------------ */

/* The end of the result at a place, `-1`, `0` or `?`; NULL for none. */
static const char *result_end(const char *at, const char *end)
{
    if (at < end && *at == '?')
        return at + 1;
    const char *digits = at + (at < end && *at == '-');
    at = digits;
    while (at < end && tk_digit(*at))
        at++;
    return at > digits ? at : NULL;
}

/* Name, arguments, result and what is behind it: the last `) = ` that a result follows. */
bool tk_result_of(tk_span body, tk_call *call, tk_span *result)
{
    const char *open = body.begin;
    while (open < body.end && tk_wordy(*open))
        open++;
    if (open == body.begin || open == body.end || *open != '(')
        return false;
    for (const char *at = body.end; (at = memrchr(open, '=', (size_t)(at - open))) != NULL;) {
        const char *close = at, *begin = behind_spaces(at + 1, body.end), *end = result_end(begin, body.end);
        while (close[-1] == ' ')
            close--;
        if (end == NULL || begin == at + 1 || close == at || close - 1 == open || close[-1] != ')')
            continue;
        call->name = (tk_span){body.begin, open};
        call->args = (tk_span){open + 1, close - 1};
        call->rest = (tk_span){end, body.end};
        *result = (tk_span){begin, end};
        return true;
    }
    return false;
}

/* When a call ended that says how long it took, ` <0.000007>` at its end; false where that has too many digits. */
static bool ended_at(int64_t when, tk_span rest, int64_t *end)
{
    *end = -1;
    if (rest.begin == rest.end || rest.end[-1] != '>')
        return true;
    const char *point = rest.end - 1, *first;
    while (point > rest.begin && tk_digit(point[-1]))
        point--;
    int64_t seconds, fraction;
    int digits = (int)(rest.end - 1 - point);
    if (digits == 0 || digits > MOST_FRACTION || point == rest.begin || point[-1] != '.')
        return true;
    for (first = point - 1; first > rest.begin && tk_digit(first[-1]);)
        first--;
    if (first == point - 1 || first - rest.begin < 2 || first[-1] != '<' || first[-2] != ' ')
        return true;
    if (!tk_number_of((tk_span){first, point - 1}, &seconds))
        return false;
    count_digits(point, rest.end, &fraction);
    int64_t took = seconds == TK_UNKNOWN ? TK_MOST : nanoseconds(seconds, fraction, digits);
    if (took < TK_MOST - when)
        *end = when + took;
    return true;
}

static tk_span first_word(tk_span text)
{
    while (text.begin < text.end && tk_blank(*text.begin))
        text.begin++;
    const char *end = text.begin;
    while (end < text.end && !tk_blank(*end))
        end++;
    return (tk_span){text.begin, end};
}

/* What the result says; false where a number has too many digits. */
static bool complete(tk_call *call, tk_span result)
{
    call->error = (tk_span){call->rest.begin, call->rest.begin};
    if (tk_is(result, "-1"))
        call->error = first_word(call->rest);
    call->ret = TK_UNKNOWN;
    return ended_at(call->when, call->rest, &call->end) && (*result.begin == '?' || tk_number_of(result, &call->ret));
}

/* What stands behind `<... read resumed>`; false for another line. */
bool tk_resumed(tk_span body, tk_span *rest)
{
    static const char RESUMED[] = " resumed>";
    if (!tk_starts(body, "<... "))
        return false;
    const char *name = body.begin + 5, *at = name;
    while (at < body.end && tk_wordy(*at))
        at++;
    *rest = (tk_span){at + sizeof RESUMED - 1, body.end};
    return at > name && tk_starts((tk_span){at, body.end}, RESUMED);
}

/* -- what is done with it ---------------------------------------------------------------------------------------------- */

static void bad(tk_strace *state, enum tk_bad_kind kind, tk_span text)
{
    if (state->bad++)
        return;
    state->bad_line = state->line + 1;
    state->bad_kind = kind;
    state->bad_length = tk_length(text) < TK_BAD_TEXT ? tk_length(text) : TK_BAD_TEXT;
    memcpy(state->bad_text, text.begin, state->bad_length);
}

/* A line that is none of strace's calls: what strace itself says, and signals and ends in another form, are nothing. */
static void explain(tk_strace *state, tk_span line)
{
    if (!tk_starts(line, "strace: ") && !tk_has(line, "+++") && !tk_has(line, "---"))
        bad(state, TK_NO_EVENT, line);
}

static void no_end(tk_strace *state, int64_t count)
{
    tk_leave_out(state, NO_END, sizeof NO_END - 1, count);
}

/* A thread takes over the number and the execve of another: the end of that is told by this one. */
static bool superseded(tk_strace *state, tk_thread *thread, tk_span digits)
{
    int64_t tid;
    if (!tk_number_of(digits, &tid))
        return false;
    tk_slot *slot = tk_intmap_find(&state->threads, tid);
    tk_thread *other = slot ? slot->item : NULL;
    if (other == NULL || !other->pending)
        return true;
    tk_span text = {other->text.bytes, other->text.bytes + other->text.length};
    tk_ended(state, other);
    /* It is as if this one had begun it, but with what was known then. */
    tk_beginning begun = other->begun;
    other->begun = (tk_beginning){0};
    tk_begins(state, thread, other->when, text);
    tk_end_call(&thread->begun);
    thread->begun = begun;
    return true;
}

static void forget(tk_strace *state, tk_thread *thread)
{
    thread->known = false;
    if (thread->process != thread->tid)
        return; /* whose it was counts for its number from here on, too */
    tk_slot *slot = tk_intmap_find(&state->threads, thread->tid);
    tk_intmap_remove(&state->threads, slot);
    state->last = NULL;
    free_thread(thread);
}

/* `+++ exited with 0 +++`, and the like; false where it cannot be understood. */
static bool gone(tk_strace *state, tk_thread *thread, tk_span body)
{
    static const char BY[] = "+++ superseded by execve in pid ";
    if (thread->pending)
        no_end(state, 1);
    tk_ended(state, thread);
    tk_span digits = {body.begin + sizeof BY - 1, body.begin + sizeof BY - 1};
    if (tk_starts(body, BY)) {
        while (digits.end < body.end && tk_digit(*digits.end))
            digits.end++;
        if (tk_length(digits))
            return superseded(state, thread, digits);
    }
    forget(state, thread);
    return true;
}

static bool clones(tk_span name)
{
    return tk_is(name, "clone") || tk_is(name, "clone3") || tk_is(name, "fork") || tk_is(name, "vfork");
}

static bool executes(tk_span name)
{
    return tk_is(name, "execve") || tk_is(name, "execveat");
}

/* A whole call; false where it cannot be understood. */
static bool whole_call(tk_strace *state, tk_call *call, tk_span result)
{
    if (!complete(call, result) || !tk_called(state, call))
        return false;
    if (*call->name.begin > 'f' && *call->name.begin != 'v')
        return true; /* none of these */
    if (clones(call->name))
        tk_cloned(state, call);
    else if (executes(call->name) && call->ret == 0)
        tk_process_unshared(&state->descriptors, call->pid);
    return true;
}

/* The end of a call, or all of one. */
static void ends(tk_strace *state, tk_thread *thread, const tk_event *event)
{
    tk_call call = {.when = event->when, .tid = event->tid, .begun = &TK_AT_ONCE};
    tk_span body = event->body, rest, result;
    if (tk_resumed(body, &rest)) {
        if (!thread->pending) {
            static const char WHAT[] = "ends of calls whose beginning is not in the file";
            tk_leave_out(state, WHAT, sizeof WHAT - 1, 1);
            return;
        }
        tk_ended(state, thread);
        state->no_memory |= !tk_text_add(&thread->text, rest.begin, tk_length(rest));
        body = (tk_span){thread->text.bytes, thread->text.bytes + thread->text.length};
        call.when = thread->when;
        call.begun = &thread->begun;
    }
    call.pid = thread->process;
    if (!tk_result_of(body, &call, &result))
        bad(state, TK_NO_RESULT, body);
    else if (!whole_call(state, &call, result))
        bad(state, TK_NO_SENSE, event->body);
    if (call.begun != &TK_AT_ONCE)
        tk_end_call(&thread->begun);
    if (!thread->pending && thread->text.room > KEPT_ROOM)
        tk_text_close(&thread->text);
}

/* What a line says, of which `following` is what comes behind; false where more text is needed to know, and nothing is done. */
static bool happened(tk_strace *state, const tk_event *event, tk_span following, bool whole)
{
    tk_thread *thread = tk_thread_of(state, event->tid);
    tk_span body = event->body;
    size_t cut = sizeof UNFINISHED - 1;
    bool end = tk_starts(body, "+++");
    if (thread == NULL)
        return true;
    if (!thread->known && !end && !tk_first_seen(state, thread, following, whole))
        return false;
    if (end) {
        if (!gone(state, thread, body))
            bad(state, TK_NO_SENSE, body);
    } else if (tk_length(body) >= cut && memcmp(body.end - cut, UNFINISHED, cut) == 0 && !tk_starts(body, "---")) {
        if (thread->pending)
            no_end(state, 1);
        tk_begins(state, thread, event->when, (tk_span){body.begin, body.end - cut});
    } else if (!tk_starts(body, "---")) {
        ends(state, thread, event);
    }
    return true;
}

/* -- a text ------------------------------------------------------------------------------------------------------------ */

/* Read lines from `position` on. The columns have room for `capacity` rows, of which those up to `state->rows` are filled.
   `whole`: nothing comes behind this text. `strict`: end behind a bad line. */
enum tk_strace_end tk_strace_run(tk_strace *state, tk_span text, size_t *position, int64_t capacity, bool whole, bool strict)
{
    const char *at = text.begin + *position;
    enum tk_strace_end why = TK_S_DONE;
    state->no_memory = state->descriptors.no_memory = false;
    while (at < text.end && why == TK_S_DONE) {
        const char *end = memchr(at, '\n', (size_t)(text.end - at)), *next;
        tk_event event;
        tk_span line = {at, end ? end : text.end};
        next = end ? end + 1 : text.end;
        if (state->rows + TK_MOST_ROWS > capacity) {
            why = TK_S_FULL;
            break;
        }
        if (tk_event_of(line, &event)) {
            if (!happened(state, &event, (tk_span){next, text.end}, whole)) {
                why = TK_S_MORE;
                break;
            }
        } else if (tk_length(line) && !tk_is(line, "\r")) {
            explain(state, line);
        }
        at = next;
        state->line++;
        if (strict && state->bad)
            why = TK_S_BAD;
    }
    state->no_memory |= state->descriptors.no_memory;
    *position = (size_t)(at - text.begin);
    return why;
}

/* There is no more text: calls that have begun do not end. */
void tk_strace_finish(tk_strace *state)
{
    if (state->pending)
        no_end(state, (int64_t)state->pending);
    state->pending = 0;
}
