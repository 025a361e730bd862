/* Detours: the first bytes of a C library function become a jump to ours; what stood there runs from a copy. */
#ifndef TRACEKIT_DETOUR_H
#define TRACEKIT_DETOUR_H

#include <stddef.h>

/* Why a function was left alone. */
enum tk_detour_result { TK_DETOURED, TK_UNKNOWN_PROLOGUE, TK_TOO_SHORT, TK_JUMPED_INTO, TK_OUT_OF_ROOM, TK_REFUSED };

/* Reserve the page of copies within reach of `near`. Returns NULL or the reason it cannot be done. */
const char *tk_detour_prepare(const void *near);

/* Write the copy of `entry` (a function of `length` bytes) and say where it is; nothing changes for the program yet. */
enum tk_detour_result tk_detour_plan(void *entry, size_t length, void *hook, void **original);

/* Make the copies executable, then turn every planned entry into a jump. All or nothing: on a refusal every entry is put
   back. Must run while the process has one thread, with signals blocked. Returns NULL or the reason. */
const char *tk_detour_commit(void);

/* Whether an address lies in a copy of ours. */
int tk_detour_holds(const void *address);

const char *tk_detour_reason(enum tk_detour_result result);

#endif
