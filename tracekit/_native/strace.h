/* Text of strace to columns of ops: what tracekit.formats.strace does line by line, which is the way to read it first. Files:
   strace.c (lines put together to calls), strace_threads.c (who makes whom), strace_calls.c (what calls do),
   strace_files.c (descriptors), strace_words.c (what stands in a call). */
#ifndef TRACEKIT_STRACE_H
#define TRACEKIT_STRACE_H

#include "strace_files.h"
#include "strings.h"

/* The columns, all of whole numbers; -1 is null. `uri`, `op` and `err` are codes, `flags` are the bits of strace_words.h. */
enum {
    TK_S_URI, TK_S_OFFSET, TK_S_LEN, TK_S_SUBMIT, TK_S_OP, TK_S_COMPLETE, TK_S_RET, TK_S_ERR, TK_S_PID, TK_S_TID, TK_S_FLAGS,
    TK_S_COLUMNS
};
extern const char *const TK_S_NAMES[TK_S_COLUMNS];
extern const char *const TK_S_OPS[];

enum { TK_MOST_ROWS = 2 }; /* that a line gives */

/* Somebody who makes calls. */
typedef struct {
    int64_t tid, process;
    bool known;                             /* was seen, and its end was not */
    bool pending;                           /* a call of its has begun, which these are about */
    bool making, of_thread, candidate;      /* it makes another, a thread of its process; may have made who is asked about */
    size_t place;                           /* in `open`, from 1 on; 0: it is not there */
    int64_t when;
    uint64_t turn;                          /* whose began earlier has a smaller one */
    tk_text text;
    tk_beginning begun;
} tk_thread;

/* A whole call; see tracekit.formats.strace_lines.Call. `end` is -1 and `ret` TK_UNKNOWN where there is none. */
typedef struct {
    tk_span name, args, rest, error;
    int64_t when, end, ret, pid, tid;
    const tk_beginning *begun;
} tk_call;

typedef struct {
    int64_t tid, when;
    tk_span body;
} tk_event;

/* Why a line is bad: it is none of strace; it is a call without a result, or one that cannot be understood. */
enum tk_bad_kind { TK_NO_EVENT, TK_NO_RESULT, TK_NO_SENSE };
enum { TK_BAD_TEXT = 256 };

typedef struct {
    tk_descriptors descriptors;
    tk_intmap threads;
    tk_thread *last; /* who made the line before */
    tk_thread **open; /* who is making somebody that was not seen yet */
    size_t open_count, open_room;
    tk_intmap makers, children; /* of whom was seen before the call that made it ended: the maker's number as the moment, and back */
    uint64_t turn;
    size_t pending; /* calls that have begun */

    tk_strings uris, paths, errors, reasons; /* names of ops' files and of opened ones, errors, what is left out */
    int64_t *left; /* how often, by code of `reasons` */
    size_t left_room;
    tk_text joined, path, spare;

    int64_t line; /* lines that are done */
    int64_t bad, bad_line; /* how many lines were, and the first of them */
    enum tk_bad_kind bad_kind;
    size_t bad_length;
    char bad_text[TK_BAD_TEXT];
    bool no_memory;

    int64_t *columns[TK_S_COLUMNS];
    int64_t rows;
} tk_strace;

/* A stretch of the text, and why it ended: it is done; there is no more room; what comes can only be read with more text; a bad
   line. */
enum tk_strace_end { TK_S_DONE, TK_S_FULL, TK_S_MORE, TK_S_BAD };

bool tk_strace_open(tk_strace *state);
void tk_strace_close(tk_strace *state);
enum tk_strace_end tk_strace_run(tk_strace *state, tk_span text, size_t *position, int64_t capacity, bool whole, bool strict);
void tk_strace_finish(tk_strace *state);

/* Between the files. */
bool tk_event_of(tk_span line, tk_event *event);
bool tk_result_of(tk_span body, tk_call *call, tk_span *result);
bool tk_resumed(tk_span body, tk_span *rest);
void tk_leave_out(tk_strace *state, const char *what, size_t length, int64_t count);
bool tk_called(tk_strace *state, const tk_call *call);
tk_thread *tk_thread_of(tk_strace *state, int64_t tid);
bool tk_first_seen(tk_strace *state, tk_thread *thread, tk_span following, bool whole);
void tk_begins(tk_strace *state, tk_thread *thread, int64_t when, tk_span text);
void tk_ended(tk_strace *state, tk_thread *thread);
void tk_cloned(tk_strace *state, const tk_call *call);

#endif
