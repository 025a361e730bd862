#define _GNU_SOURCE
#include "mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "raw.h"

enum { PAGE = 4096, PIECE = 16 /* pages */, NOREPLACE = 1 /* of renameat2(2); not every C library names it */ };

/* Growing a file beyond RLIMIT_FSIZE raises SIGXFSZ, which kills: look first. */
int tk_within_limit(uint64_t bytes)
{
    struct rlimit limit = {0, 0};
    if (TK_RAW4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) != 0)
        return 1;
    return limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= bytes;
}

static const char zeros[PAGE];

/* Real blocks for the whole file, so that no store into the mapping can fail later. */
static int allocate(int fd, uint64_t bytes)
{
    long result = TK_RAW4(SYS_fallocate, fd, 0, 0, bytes);
    if (result != -EOPNOTSUPP && result != -ENOSYS)
        return result == 0;
    for (uint64_t at = 0; at < bytes; at += PAGE)
        if (TK_RAW4(SYS_pwrite64, fd, zeros, PAGE, at) != PAGE)
            return 0;
    return 1;
}

/* One huge page for all of the mapping, if the kernel has one to give. */
static int is_huge(volatile char *mapped, uint64_t bytes)
{
    unsigned char resident = 0;
    if (bytes < TK_HUGE || TK_RAW3(SYS_madvise, mapped, bytes, MADV_HUGEPAGE) != 0)
        return 0;
    mapped[0] = 0;
    return TK_RAW3(SYS_mincore, mapped + bytes - PAGE, PAGE, &resident) == 0 && resident & 1;
}

/* Have the pages there before they are stored to. Left to the first store, each page is a fault in which the file system
   takes part: measured, three quarters of what a record costs. What is written in pieces is cached in pieces, and a piece
   takes one fault; a huge page takes one for them all. */
static void populate(int fd, void *mapped, uint64_t bytes)
{
    struct iovec piece[PIECE];
    if (is_huge(mapped, bytes))
        return;
    for (int i = 0; i < PIECE; i++)
        piece[i] = (struct iovec){(void *)zeros, PAGE};
    for (uint64_t at = 0; at < bytes; at += PIECE * PAGE) {
        uint64_t pages = (bytes - at) / PAGE;
        if (TK_RAW(SYS_pwritev, fd, piece, pages < PIECE ? pages : PIECE, at, 0, 0) < 0)
            return;
    }
}

/* Map what `fd` is, or give up `path`; the descriptor is closed. */
static void *map(int fd, const char *path, uint64_t bytes, int whole)
{
    long mapped = -1;
    if (whole)
        mapped = TK_RAW(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped < 0 && mapped > -4096) {
        TK_RAW1(SYS_close, fd);
        TK_RAW3(SYS_unlinkat, AT_FDCWD, path, 0);
        return NULL;
    }
    populate(fd, (void *)mapped, bytes);
    TK_RAW1(SYS_close, fd);
    return (void *)mapped;
}

void *tk_map_new(const char *path, uint64_t bytes)
{
    int fd;
    if (!tk_within_limit(bytes))
        return NULL;
    fd = (int)TK_RAW4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return NULL;
    return map(fd, path, bytes, allocate(fd, bytes));
}

void *tk_map_spare(const char *spare, const char *path, uint64_t bytes)
{
    int fd;
    if (!tk_within_limit(bytes) || TK_RAW(SYS_renameat2, AT_FDCWD, spare, AT_FDCWD, path, NOREPLACE, 0) != 0)
        return NULL;
    fd = (int)TK_RAW4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return NULL;
    /* Its blocks and pages are there: what is mapped is what its size says. */
    return map(fd, path, bytes, TK_RAW3(SYS_lseek, fd, 0, SEEK_END) == (long)bytes);
}
