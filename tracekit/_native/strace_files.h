/* Where the descriptors of recorded processes stand. The counterpart of tracekit.formats.descriptors, which says what counts
   when. */
#ifndef TRACEKIT_STRACE_FILES_H
#define TRACEKIT_STRACE_FILES_H

#include "intmap.h"
#include "strace_words.h"

/* An open file. */
typedef struct {
    int64_t position; /* TK_UNKNOWN: not known */
    int64_t holders;
    int32_t path; /* the caller's number of its name; -1: not known */
    bool appending;
} tk_opened;

/* The descriptors of a process, or of several that share them: open files by number, each with the moment it was given. */
typedef struct {
    tk_intmap files;
    int64_t holders;
} tk_table;

typedef struct {
    int64_t fd;
    tk_opened *file;
} tk_held;

/* How the descriptors that a call may be about were when it began. */
typedef struct {
    int64_t moment;
    tk_held *held;
    size_t count, room;
} tk_beginning;

extern const tk_beginning TK_AT_ONCE; /* of a call that nothing came between: it finds everything as it is */

typedef struct {
    tk_intmap tables; /* by process */
    int64_t moment;   /* how many descriptors were given */
    bool no_memory;
} tk_descriptors;

void tk_descriptors_close(tk_descriptors *all);
void tk_begin_call(tk_descriptors *all, int64_t pid, const tk_span *numbers, tk_beginning *begun);
void tk_end_call(tk_beginning *begun);

void tk_file_opened(tk_descriptors *all, int64_t pid, int64_t fd, int32_t path, bool appending);
void tk_file_copied(tk_descriptors *all, int64_t pid, int64_t from, int64_t to, const tk_beginning *begun);
void tk_file_closed(tk_descriptors *all, int64_t pid, int64_t first, int64_t last, const tk_beginning *begun);
void tk_process_forked(tk_descriptors *all, int64_t pid, int64_t child, bool shared, const tk_beginning *begun);
void tk_process_unshared(tk_descriptors *all, int64_t pid);

tk_opened *tk_file_of(tk_descriptors *all, int64_t pid, int64_t fd, const tk_beginning *begun);
int32_t tk_path_of(tk_descriptors *all, int64_t pid, int64_t fd, const tk_beginning *begun);

int64_t tk_advanced(tk_opened *file, int64_t count);
int64_t tk_written(tk_opened *file, int64_t count);

#endif
