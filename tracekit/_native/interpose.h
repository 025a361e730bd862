/* Putting the hooks in place. */
#ifndef TRACEKIT_INTERPOSE_H
#define TRACEKIT_INTERPOSE_H

#include <stddef.h>

enum tk_method { TK_NONE, TK_DETOUR, TK_GOT };

struct tk_left {
    const char *name, *reason;
};

/* What was done, and the reason when it is not a detour. */
struct tk_interposed {
    enum tk_method method;
    const char *reason;
    size_t hooked, left_count;
    struct tk_left left[64]; /* calls that stay unseen */
};

/* Hook the C library's I/O. `detour` and `got` say which ways may be tried. Once per process. */
void tk_interpose(int detour, int got, struct tk_interposed *out);

/* After libraries were loaded, where the method is TK_GOT: entries rewritten. */
int tk_interpose_again(void);

#endif
