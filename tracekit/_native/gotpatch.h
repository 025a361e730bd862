/* The other way in: the tables through which libraries call each other, rewritten one library at a time. */
#ifndef TRACEKIT_GOTPATCH_H
#define TRACEKIT_GOTPATCH_H

#include <stddef.h>

struct tk_symbol {
    const char *name;
    void *original, *hook;
};

/* Point every call of `symbols` in the libraries loaded now at its hook; the C library, the loader and the library that
   holds `self` are left alone. Returns the entries rewritten; may be called again after libraries were loaded. */
int tk_got_patch(const struct tk_symbol *symbols, size_t count, const void *self);

#endif
