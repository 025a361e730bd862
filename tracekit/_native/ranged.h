/* One ranged GET over a connection that is open: plain HTTP/1.1 (RFC 9112), as much of it as an answer to a range needs. */
#ifndef TRACEKIT_RANGED_H
#define TRACEKIT_RANGED_H

#include <stddef.h>
#include <stdint.h>

enum { TK_TEXT = 4096 }; /* what is kept of an answer that is no part of an object: its head, and the beginning of its body */

typedef struct {
    int64_t submitted, first_byte, completed; /* CLOCK_MONOTONIC in ns; first_byte 0: no answer began */
    int64_t count;                            /* bytes of the body */
    int64_t first;                            /* where Content-Range begins; -1: there is none */
    int status;                               /* of the answer; 0: none came */
    int error;                                /* an errno; 0: none */
    int ended;                                /* the other side closed before its answer was whole */
    int stale;                                /* it had closed before: nothing was sent */
    int keep;                                 /* the connection may be used again */
    size_t kept;
    char text[TK_TEXT];
} tk_answer;

/* Send a request and read its answer.

   fd          a connected socket; it may be blocking or not
   request     the whole head
   deadline    on CLOCK_MONOTONIC: later is ETIMEDOUT
   into, room  where the body of a 206 goes; a body that is larger is EMSGSIZE. NULL: it is let go
   again       called after a signal; not 0 ends the request with EINTR */
void tk_ranged_get(int fd, const char *request, size_t size, int64_t deadline, char *into, size_t room,
                   int (*again)(void *), void *context, tk_answer *answer);

#endif
