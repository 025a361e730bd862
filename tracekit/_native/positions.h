/* Where open files stand, followed from call to call. */
#ifndef TRACEKIT_POSITIONS_H
#define TRACEKIT_POSITIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a call does to the position of its file; a test compares them with tracekit.formats.dftracer_calls.Step. */
enum tk_step { TK_STEP_NONE, TK_STEP_OPEN, TK_STEP_OPEN_APPENDING, TK_STEP_TOUCH, TK_STEP_SET, TK_STEP_SHIFT, TK_STEP_READ, TK_STEP_WRITE };

/* Positions that are none: not known, or beyond any number. */
enum { TK_POSITION_UNKNOWN = -1, TK_POSITION_BEYOND = -2 };
#define TK_NO_DESCRIPTOR INT64_MIN /* the file is known by its name alone */

typedef struct {
    int64_t position;
    int64_t path;
    int32_t uses; /* keys that lead to it; 0: free, and `next` is the next such */
    int32_t next;
    int32_t appending;
} tk_open_file;

typedef struct {
    int64_t kind, owner, number; /* kind 0: empty */
    int32_t file;
} tk_open_key;

typedef struct {
    tk_open_file *files;
    tk_open_key *keys; /* mask + 1 of them */
    size_t mask, used;
    int32_t count, capacity, free; /* of files; -1: none is free */
} tk_positions;

/* Columns of calls, in their order. */
typedef struct {
    const int64_t *step, *tid, *pid, *fd, *path, *amount;
    int64_t *start; /* filled: where a call began */
    size_t count;
} tk_moves;

int tk_positions_open(tk_positions *positions);
void tk_positions_close(tk_positions *positions);
int tk_positions_follow(tk_positions *positions, const tk_moves *moves);

#endif
