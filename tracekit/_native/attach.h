/* strace, attached to a process that is about to become a program that is no Python. */
#ifndef TRACEKIT_ATTACH_H
#define TRACEKIT_ATTACH_H

/* From here on: `words` of the strace command (a NULL at the end), to which the output in `directory` and the pid are
   added. Both stay the caller's and must live on. */
void tk_attach_plan(char *const *words, const char *directory);

/* The calling process is about to execute `path`: attach, where that was asked for and the program is one to follow. It
   returns when strace follows, when it gave up, or after 5 s. Safe in a child of vfork. */
void tk_attach_before(const char *path);

#endif
