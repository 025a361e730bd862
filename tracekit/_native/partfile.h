/* The files of a recorded process: what they are called, the one that holds its head, and the lines behind that. Everything here
   may run inside a signal handler or in a forked child, so it uses system calls made by hand and no allocation. */
#ifndef TRACEKIT_PARTFILE_H
#define TRACEKIT_PARTFILE_H

#include "spool.h"

enum { TK_PART_PATH = 512 + 64 };

/* The chunk in the process's own file, until a thread takes it. */
extern _Atomic(struct tk_thread *) tk_first_chunk;

/* Files lie in `directory` from here on; 0 where its name is not absolute or has 512 bytes or more. */
int tk_part_place(const char *directory);

/* The name of a process's chunk; `path` has TK_PART_PATH bytes. */
void tk_part_name(char *path, int pid, uint64_t start, uint32_t number);

/* Write the digits of a number and a zero byte behind them; where that stands. */
char *tk_append_number(char *at, uint64_t number);

/* The calling process's head, with the first chunk before it where there is room for both; NULL when it cannot be had. */
struct tk_process *tk_new_process(void);

#endif
