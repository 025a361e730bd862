#define _GNU_SOURCE
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fdtable.h"
#include "hooks.h"
#include "spool.h"

/* linux/userfaultfd.h of Linux 6.7, which older headers lack. */
struct range {
    uint64_t start, bytes;
};
struct hello {
    uint64_t api, features, calls;
};
struct registration {
    struct range range;
    uint64_t mode, calls;
};
enum { USER_MODE_ONLY = 1, API = 0xaa, WP_ASYNC = 1 << 15, WRITE_PROTECT = 2, OUT_OF_THE_WAY = 900, NO_HUGE_PAGES = 15 };
#define HELLO _IOWR(0xaa, 0x3f, struct hello)
#define REGISTER _IOWR(0xaa, 0, struct registration)

static _Atomic int descriptor = -1;
static struct tk_originals real;

/* A descriptor where the program will not look for one, or -errno. */
static int open_one(void)
{
    struct hello hello = {API, WP_ASYNC, 0};
    long fd = TK_RAW1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY), moved, error;
    if (fd < 0)
        return (int)fd;
    error = TK_RAW3(SYS_ioctl, fd, HELLO, &hello);
    if (error < 0) {
        TK_RAW1(SYS_close, fd);
        return (int)error;
    }
    moved = TK_RAW3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    if (moved < 0)
        return (int)fd;
    TK_RAW1(SYS_close, fd);
    return (int)moved;
}

/* A huge page would be many at once. */
static int registers(int fd, uintptr_t start, uintptr_t end)
{
    struct registration request = {{start, end - start}, WRITE_PROTECT, 0};
    TK_RAW3(SYS_madvise, start, end - start, NO_HUGE_PAGES);
    return TK_RAW3(SYS_ioctl, fd, REGISTER, &request) == 0;
}

int tk_faults_register(uintptr_t start, uintptr_t end)
{
    if (descriptor < 0)
        descriptor = open_one();
    return descriptor >= 0 && registers(descriptor, start, end);
}

void tk_faults_drop(void)
{
    if (descriptor >= 0)
        TK_RAW1(SYS_close, descriptor);
    descriptor = -1;
}

int tk_faults_are_lost(void)
{
    static const char expected[] = "anon_inode:[userfaultfd]";
    char name[64];
    return descriptor >= 0 && (tk_fd_name(descriptor, name, sizeof name) != sizeof expected - 1 ||
                               memcmp(name, expected, sizeof expected - 1) != 0);
}

static const char *why(int error)
{
    switch (error) {
    case -EPERM:
    case -EACCES:
        return "userfaultfd is not permitted (a container's seccomp filter, most likely)";
    case -ENOSYS:
        return "the kernel has no userfaultfd";
    case -EINVAL:
        return "userfaultfd cannot write-protect asynchronously (Linux 6.7 can)";
    default:
        return "userfaultfd cannot be had";
    }
}

const char *tk_faults_try(void *page)
{
    int fd = open_one(), good;
    if (fd < 0)
        return why(fd);
    good = registers(fd, (uintptr_t)page, (uintptr_t)page + 4096);
    TK_RAW1(SYS_close, fd);
    return good ? NULL : "userfaultfd does not register memory here";
}

/* -- it stays open ------------------------------------------------------------------------------------ */

static int hidden_close(int fd)
{
    if (fd >= 0 && fd == descriptor) {
        errno = EBADF;
        return -1;
    }
    return real.close(fd);
}

static int hidden_close_range(unsigned first, unsigned last, int flags)
{
    unsigned hidden = (unsigned)descriptor;
    if (flags & 4 /* CLOSE_RANGE_CLOEXEC */ || descriptor < 0 || hidden < first || hidden > last)
        return real.close_range(first, last, flags);
    if (hidden > first && real.close_range(first, hidden - 1, flags) < 0)
        return -1;
    return hidden < last ? real.close_range(hidden + 1, last, flags) : 0;
}

/* The program wants that number for itself. */
static void make_way(int copy)
{
    long moved;
    if (copy < 0 || copy != descriptor || !tk_on || tk_self() == NULL)
        return;
    moved = TK_RAW3(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, copy + 1);
    if (moved >= 0)
        descriptor = (int)moved;
}

static int hidden_dup2(int fd, int copy)
{
    make_way(copy);
    return real.dup2(fd, copy);
}

static int hidden_dup3(int fd, int copy, int flags)
{
    make_way(copy);
    return real.dup3(fd, copy, flags);
}

void tk_faults_hide(void)
{
    real = tk_original;
    tk_original.close = hidden_close;
    tk_original.close_range = hidden_close_range;
    tk_original.dup2 = hidden_dup2;
    tk_original.dup3 = hidden_dup3;
}
