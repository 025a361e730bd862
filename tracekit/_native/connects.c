/* See connects.h. A client that does not wait for its connection asks for its error when it is there (SO_ERROR) or connects
   again: that is when it counts, or when it is closed or looked at; one that was refused does not. Calls inside the C library are not seen (gotpatch.h);
   clients of stores make none. */
#define _GNU_SOURCE
#include "connects.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>

#include "gotpatch.h"

enum { DESCRIPTORS = 1 << 16 };

static _Atomic int64_t count;
/* Descriptors whose connection is under way. */
static _Atomic unsigned char pending[DESCRIPTORS];

static int (*real_connect)(int, const struct sockaddr *, socklen_t);
static int (*real_getsockopt)(int, int, int, void *, socklen_t *);
static int (*real_close)(int);

static int is_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
}

static int is_stream(int fd)
{
    int type = 0, error = errno;
    socklen_t size = sizeof type;
    int found = real_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
    errno = error;
    return found;
}

static int counted_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int family = size >= sizeof address->sa_family ? address->sa_family : AF_UNSPEC;
    int answer = real_connect(fd, address, size), error = errno;
    if ((family != AF_INET && family != AF_INET6) || fd < 0 || fd >= DESCRIPTORS || !is_stream(fd))
        return answer;
    if (answer == 0 || error == EISCONN) {
        if (answer == 0 || atomic_exchange(&pending[fd], 0))
            atomic_fetch_add(&count, 1);
        atomic_store(&pending[fd], 0);
    } else
        atomic_store(&pending[fd], error == EINPROGRESS || error == EALREADY || error == EINTR);
    errno = error;
    return answer;
}

static int counted_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    int answer = real_getsockopt(fd, level, option, value, size);
    if (answer == 0 && level == SOL_SOCKET && option == SO_ERROR && fd >= 0 && fd < DESCRIPTORS && value && size &&
        *size >= sizeof(int) && atomic_exchange(&pending[fd], 0) && *(int *)value == 0)
        atomic_fetch_add(&count, 1);
    return answer;
}

/* One that was made, and given up before anybody asked for it. */
static int counted_close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS && atomic_load(&pending[fd])) {
        int error = errno;
        if (atomic_exchange(&pending[fd], 0) && is_connected(fd))
            atomic_fetch_add(&count, 1);
        errno = error;
    }
    return real_close(fd);
}

int tk_connects_follow(void)
{
    if (!real_connect) {
        real_close = (int (*)(int))dlsym(RTLD_DEFAULT, "close");
        real_getsockopt = (int (*)(int, int, int, void *, socklen_t *))dlsym(RTLD_DEFAULT, "getsockopt");
        real_connect = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_DEFAULT, "connect");
    }
    if (!real_connect || !real_getsockopt || !real_close)
        return 0;
    const struct tk_symbol symbols[] = {
        {"connect", (void *)real_connect, (void *)counted_connect},
        {"getsockopt", (void *)real_getsockopt, (void *)counted_getsockopt},
        {"close", (void *)real_close, (void *)counted_close},
    };
    tk_got_patch(symbols, sizeof symbols / sizeof *symbols, (const void *)&tk_connects_follow);
#if defined(__x86_64__) || defined(__aarch64__)
    return 1;
#else
    return 0; /* tables are not known there */
#endif
}

int64_t tk_connects_count(void)
{
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if (atomic_load(&pending[fd]) && is_connected(fd) && atomic_exchange(&pending[fd], 0))
            atomic_fetch_add(&count, 1);
    return atomic_load(&count);
}
