/* Which maps are looked at, when, and what keeps the table of them right. The hooks of calls that the recorder hooks anyway
   are not touched: where they go on to the C library, a function of ours is put in between while a mode is on. */
#define _GNU_SOURCE
#include "touched.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fdtable.h"
#include "hooks.h"
#include "regions.h"
#include "spool.h"

/* linux/userfaultfd.h of Linux 6.7, and values that older C libraries lack. */
enum { USER_MODE_ONLY = 1, WP_ASYNC = 1 << 15, OUT_OF_THE_WAY = 900 };

/* Looking may take one part in SHARE of the time; what was not used is kept, up to SAVED ticks. Between calls of read and
   write, which can be many, it may take one part in SHARE_OF_CALLS. */
enum { SHARE = 4, SHARE_OF_CALLS = 20, SAVED = 1 << 25 };
enum { ADVICE_DONTNEED = 4, ADVICE_REMOVE = 9, ADVICE_NOHUGEPAGE = 15, ADVICE_PAGEOUT = 21, ADVICE_DONTNEED_LOCKED = 24 };
enum { SYNC_MAP = 0x80000, ATTRIBUTE_DAX = 0x200000 };
#define TMPFS 0x01021994
#define HUGETLBFS 0x958458f6

static enum tk_touch_mode mode;
static int faults = -1; /* the userfaultfd, in exact mode */
static struct tk_originals real;
static _Atomic uintptr_t owner; /* of the lock */
static unsigned depth;
static _Atomic uint64_t looked, cost; /* ticks: when last, and how long it took */
static uint64_t saved = SAVED, saved_until;

static struct tk_touch_facts *facts(void)
{
    return (struct tk_touch_facts *)((char *)tk_process + TK_TOUCH_FACTS);
}

/* -- the lock: signals wait, so that a handler's munmap finds it free, and its owner may take it again ------------- */

static void enter(uint64_t *signals)
{
    uintptr_t me = (uintptr_t)&tk_local, nobody = 0;
    tk_block_signals(signals);
    if (atomic_load_explicit(&owner, memory_order_relaxed) != me)
        while (!atomic_compare_exchange_weak_explicit(&owner, &nobody, me, memory_order_acquire, memory_order_relaxed)) {
            nobody = 0;
            TK_RAW0(SYS_sched_yield);
        }
    depth++;
}

static void leave(const uint64_t *signals)
{
    if (--depth == 0)
        atomic_store_explicit(&owner, 0, memory_order_release);
    tk_restore_signals(signals);
}

/* -- userfaultfd -------------------------------------------------------------------------------------------------- */

/* A descriptor with a high number, where the program will not look for one. */
static int new_faults(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = WP_ASYNC};
    long fd = TK_RAW1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY), moved, error;
    if (fd < 0)
        return (int)fd;
    error = TK_RAW3(SYS_ioctl, fd, UFFDIO_API, &api);
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

/* In a registered range the kernel maps only the page that was touched; a huge page would be many at once. */
static int registered(uintptr_t start, uintptr_t end)
{
    struct uffdio_register request = {.range = {start, end - start}, .mode = UFFDIO_REGISTER_MODE_WP};
    if (mode != TK_TOUCH_EXACT)
        return 1;
    TK_RAW3(SYS_madvise, start, end - start, ADVICE_NOHUGEPAGE);
    return TK_RAW3(SYS_ioctl, faults, UFFDIO_REGISTER, &request) == 0;
}

/* -- looking ------------------------------------------------------------------------------------------------------ */

static int open_pagemap(void)
{
    return (int)TK_RAW4(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
}

/* At the whole of every region that overlaps the range. Under the lock. */
static void look_at(uintptr_t start, uintptr_t end)
{
    uint64_t begin = tk_ticks();
    struct tk_region *region;
    size_t at = 0;
    int64_t found, pages = 0;
    int pagemap;

    if (tk_self() == NULL || (pagemap = open_pagemap()) < 0) /* a child of vfork leaves its parent's table alone */
        return;
    while ((region = tk_region_in(&at, start, end)) != NULL)
        if ((found = tk_region_look(region, pagemap, 0)) > 0)
            pages += found;
    TK_RAW1(SYS_close, pagemap);
    looked = tk_ticks();
    cost = looked - begin;
    atomic_fetch_add_explicit(&facts()->looks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&facts()->look_ticks, cost, memory_order_relaxed);
    atomic_fetch_add_explicit(&facts()->pages, (uint64_t)pages, memory_order_relaxed);
}

/* Under the lock. */
static int can_afford(void)
{
    uint64_t now = tk_ticks(), gained = (now - saved_until) / SHARE;
    saved = gained > SAVED - saved ? SAVED : saved + gained;
    saved_until = now;
    if (saved < cost)
        return 0;
    saved -= cost;
    return 1;
}

/* Look everywhere, as long as this costs a small part of the time. */
static void look_if_due(int at_context)
{
    uint64_t signals;
    if (tk_region_count() == 0 || !tk_on || (!at_context && tk_ticks() - looked < SHARE_OF_CALLS * cost))
        return;
    enter(&signals);
    if (can_afford()) {
        look_at(0, UINTPTR_MAX);
        tk_regions_vague = 0;
    } else if (at_context) {
        tk_regions_vague = 1;
    }
    leave(&signals);
}

void tk_touch_context(void)
{
    int error = errno;
    if (mode)
        look_if_due(1);
    errno = error;
}

void tk_touch_end(void)
{
    uint64_t signals;
    if (mode == TK_TOUCH_OFF || !tk_on || tk_process == NULL || (*tk_live == tk_generation && TK_RAW0(SYS_getpid) != tk_process->pid) ||
        tk_self() == NULL)
        return;
    enter(&signals);
    if (tk_region_count())
        look_at(0, UINTPTR_MAX);
    if (mode == TK_TOUCH_EXACT) {
        char name[64];
        size_t bytes = tk_fd_name(faults, name, sizeof name);
        facts()->closed = bytes != 24 || memcmp(name, "anon_inode:[userfaultfd]", 24) != 0;
    }
    facts()->ended = 1;
    leave(&signals);
}

/* -- which maps --------------------------------------------------------------------------------------------------- */

struct asked {
    size_t bytes;
    int protection, flags, fd;
    off_t offset;
};

static enum tk_touch_left unsuitable(const struct asked *map, const struct statx *about)
{
    struct statfs place = {0};
    int shared = (map->flags & MAP_TYPE) != MAP_PRIVATE;
    if (map->protection & PROT_EXEC)
        return TK_LEFT_CODE;
    if (map->flags & (MAP_POPULATE | MAP_LOCKED))
        return TK_LEFT_POPULATE;
    if (TK_RAW2(SYS_fstatfs, map->fd, &place) < 0 || (uint32_t)place.f_type == HUGETLBFS || map->flags & MAP_HUGETLB ||
        (shared && (uint32_t)place.f_type == TMPFS) || about->stx_attributes & ATTRIBUTE_DAX ||
        ((map->flags & MAP_TYPE) != MAP_SHARED && shared && map->flags & SYNC_MAP))
        return TK_LEFT_MEMORY;
    return TK_LEFT_NONE;
}

/* The kernel registers only what could be written. A shared map of a file opened for reading cannot; a private map of it
   shows the same bytes, also those others write later, as long as it is not written itself, which mprotect refuses below. */
static int made_private(const struct asked *map, void *at)
{
    long access = TK_RAW3(SYS_fcntl, map->fd, F_GETFL, 0), got;
    if (mode != TK_TOUCH_EXACT || (map->flags & MAP_TYPE) == MAP_PRIVATE || access < 0 || (access & O_ACCMODE) != O_RDONLY)
        return 0;
    got = TK_RAW(SYS_mmap, at, map->bytes, map->protection,
                 (map->flags & ~MAP_TYPE & ~MAP_FIXED_NOREPLACE) | MAP_PRIVATE | MAP_FIXED, map->fd, map->offset);
    return got == (long)at ? 1 : -1;
}

static void made_shared_again(const struct asked *map, void *at)
{
    TK_RAW(SYS_mmap, at, map->bytes, map->protection, (map->flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED, map->fd, map->offset);
}

static enum tk_touch_left watch(const struct tk_region *like, const char *name)
{
    struct tk_region *region;
    int pagemap;
    if (!registered(like->start, like->end))
        return TK_LEFT_REFUSED;
    region = tk_region_add(like, name);
    if (region == NULL)
        return TK_LEFT_FULL;
    /* What is mapped already was noted before, or is not the program's doing. */
    if ((pagemap = open_pagemap()) >= 0) {
        tk_region_look(region, pagemap, 1);
        TK_RAW1(SYS_close, pagemap);
    }
    return TK_LEFT_NONE;
}

static enum tk_touch_left begin_to_watch(const struct asked *map, struct tk_region *like, const char *name)
{
    int privately = made_private(map, (void *)like->start);
    enum tk_touch_left left = TK_LEFT_REFUSED;
    if (privately >= 0) {
        like->privately = (uint8_t)privately;
        left = watch(like, name);
    }
    if (left == TK_LEFT_NONE) {
        atomic_fetch_add_explicit(&facts()->maps, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&facts()->privately, (uint64_t)privately, memory_order_relaxed);
    } else if (privately) {
        made_shared_again(map, (void *)like->start);
    }
    return left;
}

/* A map that stays as it is: which file, how much, why. */
static void note_left(enum tk_touch_left left, struct tk_region *like, const char *name)
{
    struct tk_thread *thread = tk_self();
    uint64_t now = tk_ticks();
    uint32_t file;
    if (thread == NULL || (file = tk_new_file()) == 0)
        return;
    like->identity.path_bytes = like->name_bytes;
    tk_note_text(thread, TK_FILE | file << TK_FILE_SHIFT, 0, -1, now, now, &like->identity, sizeof like->identity, name,
                 like->name_bytes);
    tk_note(tk_local.thread, TK_LEFT | file << TK_FILE_SHIFT, like->offset, like->bytes, left, now, now);
}

static int is_kernels_own(const char *name, size_t bytes)
{
    return bytes == 0 || name[0] != '/' || strncmp(name, "/proc/", 6) == 0 || strncmp(name, "/sys/", 5) == 0;
}

static void mapped(const struct asked *map, void *at)
{
    struct tk_region like = {.start = (uintptr_t)at, .offset = map->offset, .bytes = map->bytes, .since = tk_ticks()};
    char name[TK_REGION_NAME];
    struct statx about;
    enum tk_touch_left left;
    uint64_t signals;

    if (map->bytes == 0 || tk_self() == NULL ||
        TK_RAW(SYS_statx, map->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &about, 0) < 0 || !S_ISREG(about.stx_mode))
        return;
    like.end = (like.start + map->bytes + TK_PAGE - 1) & ~(uintptr_t)(TK_PAGE - 1);
    like.name_bytes = (uint32_t)tk_fd_name(map->fd, name, sizeof name - 1);
    if (is_kernels_own(name, like.name_bytes))
        return;
    name[like.name_bytes] = 0;
    like.identity = (struct tk_identity){makedev(about.stx_dev_major, about.stx_dev_minor), about.stx_ino, about.stx_size,
                                         about.stx_mode, 0};
    enter(&signals);
    left = unsuitable(map, &about);
    if (left == TK_LEFT_NONE)
        left = begin_to_watch(map, &like, name);
    if (left != TK_LEFT_NONE)
        note_left(left, &like, name);
    leave(&signals);
}

/* -- the table follows the program -------------------------------------------------------------------------------- */

/* What remains of a region on either side of a range that goes. */
static void keep(const struct tk_region *whole, const char *name, uintptr_t start, uintptr_t end)
{
    struct tk_region part = *whole;
    uint64_t skipped = start - whole->start;
    if (start >= end)
        return;
    part.start = start;
    part.end = end;
    part.offset += (int64_t)skipped;
    part.bytes = whole->bytes - skipped < end - start ? whole->bytes - skipped : end - start;
    watch(&part, name);
}

/* The range is about to be something else: look once more, then take it out. Under the lock. */
static void forget(uintptr_t start, uintptr_t end)
{
    struct tk_region *region, whole;
    char name[TK_REGION_NAME];
    size_t at = 0;
    look_at(start, end);
    while ((region = tk_region_in(&at, start, end)) != NULL) {
        whole = *region;
        memcpy(name, tk_region_name(region), whole.name_bytes);
        tk_region_remove(region);
        keep(&whole, name, whole.start, start);
        keep(&whole, name, end, whole.end);
        at = 0; /* the last row has moved here */
    }
}


static uintptr_t end_of(void *at, size_t bytes)
{
    uintptr_t end = ((uintptr_t)at + bytes + TK_PAGE - 1) & ~(uintptr_t)(TK_PAGE - 1);
    return end < (uintptr_t)at ? UINTPTR_MAX : end;
}

static int is_ours(void)
{
    return tk_on && tk_process && tk_self() != NULL;
}

static void forget_range(void *at, size_t bytes)
{
    uint64_t signals;
    if (!tk_regions_overlap((uintptr_t)at, end_of(at, bytes)) || !is_ours())
        return;
    enter(&signals);
    forget((uintptr_t)at, end_of(at, bytes));
    leave(&signals);
}

static void *touch_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    struct asked map = {bytes, protection, flags, fd, offset};
    void *result;
    int error = errno;
    if (flags & MAP_FIXED)
        forget_range(at, bytes);
    errno = error;
    result = real.mmap64(at, bytes, protection, flags, fd, offset);
    if (fd >= 0 && !(flags & MAP_ANONYMOUS) && result != MAP_FAILED && tk_on) {
        error = errno;
        mapped(&map, result);
        errno = error;
    }
    return result;
}

int hook_munmap(void *at, size_t bytes)
{
    int error = errno;
    forget_range(at, bytes);
    errno = error;
    return tk_original.munmap(at, bytes);
}

/* What moves keeps its pages and loses its registration; where the call fails nothing was lost but one look. */
void *hook_mremap(void *at, size_t bytes, size_t new_bytes, int flags, void *new_at)
{
    struct tk_region *region, whole;
    char name[TK_REGION_NAME];
    uint64_t signals;
    size_t row = 0;
    void *result;

    if (flags & MREMAP_FIXED)
        forget_range(new_at, new_bytes);
    if (!tk_regions_overlap((uintptr_t)at, end_of(at, bytes)) || !is_ours())
        return tk_original.mremap(at, bytes, new_bytes, flags, new_at);
    enter(&signals);
    region = tk_region_in(&row, (uintptr_t)at, end_of(at, bytes));
    if (region) {
        whole = *region;
        memcpy(name, tk_region_name(region), whole.name_bytes);
    }
    forget((uintptr_t)at, end_of(at, bytes));
    result = tk_original.mremap(at, bytes, new_bytes, flags, new_at);
    if (region && (uintptr_t)at >= whole.start) {
        uint64_t skipped = (uintptr_t)at - whole.start, span = result == MAP_FAILED ? bytes : new_bytes;
        whole.offset += (int64_t)skipped;
        whole.start = result == MAP_FAILED ? (uintptr_t)at : (uintptr_t)result;
        whole.end = end_of((void *)whole.start, span);
        whole.bytes = span;
        watch(&whole, name);
    }
    leave(&signals);
    return result;
}

/* Pages that are let go are looked at before, and afterwards taken for untouched. */
int hook_madvise(void *at, size_t bytes, int advice)
{
    int letting_go = advice == ADVICE_DONTNEED || advice == ADVICE_REMOVE || advice == ADVICE_PAGEOUT ||
                     advice == ADVICE_DONTNEED_LOCKED;
    uint64_t signals;
    int result, error;
    if (!letting_go || !tk_regions_overlap((uintptr_t)at, end_of(at, bytes)) || !is_ours())
        return tk_original.madvise(at, bytes, advice);
    enter(&signals);
    look_at((uintptr_t)at, end_of(at, bytes));
    result = tk_original.madvise(at, bytes, advice);
    error = errno;
    look_at((uintptr_t)at, end_of(at, bytes));
    leave(&signals);
    errno = error;
    return result;
}

/* A map of ours that was to be shared and read only may not become writable, as the kernel would have it. */
int hook_mprotect(void *at, size_t bytes, int protection)
{
    struct tk_region *region;
    uint64_t signals;
    size_t row = 0;
    int refused = 0;
    if (protection & PROT_WRITE && tk_regions_overlap((uintptr_t)at, end_of(at, bytes)) && is_ours()) {
        enter(&signals);
        while ((region = tk_region_in(&row, (uintptr_t)at, end_of(at, bytes))) != NULL)
            refused |= region->privately;
        leave(&signals);
    }
    if (refused) {
        errno = EACCES;
        return -1;
    }
    return tk_original.mprotect(at, bytes, protection);
}

/* -- moments to look ---------------------------------------------------------------------------------------------- */

/* A worker that is about to wait for work, or hands over what it has, may not live to do it again. */
static ssize_t touch_read(int fd, void *to, size_t bytes)
{
    int error = errno;
    look_if_due(0);
    errno = error;
    return real.read(fd, to, bytes);
}

static ssize_t touch_write(int fd, const void *from, size_t bytes)
{
    int error = errno;
    look_if_due(0);
    errno = error;
    return real.write(fd, from, bytes);
}

static int touch_execve(const char *path, char *const *arguments, char *const *environment)
{
    int result, error = errno;
    tk_touch_end();
    errno = error;
    result = real.execve(path, arguments, environment);
    if (tk_process && TK_RAW0(SYS_getpid) == tk_process->pid)
        facts()->ended = 0;
    return result;
}

/* -- the descriptor stays open ------------------------------------------------------------------------------------ */

static int touch_close(int fd)
{
    if (fd >= 0 && fd == faults) {
        errno = EBADF;
        return -1;
    }
    return real.close(fd);
}

static int touch_close_range(unsigned first, unsigned last, int flags)
{
    unsigned hidden = (unsigned)faults;
    if (flags & 4 /* CLOSE_RANGE_CLOEXEC */ || faults < 0 || hidden < first || hidden > last)
        return real.close_range(first, last, flags);
    if (hidden > first && real.close_range(first, hidden - 1, flags) < 0)
        return -1;
    return hidden < last ? real.close_range(hidden + 1, last, flags) : 0;
}

/* The program wants that number for itself. */
static void make_way(int copy)
{
    uint64_t signals;
    long moved;
    if (copy < 0 || copy != faults || !is_ours())
        return;
    enter(&signals);
    moved = TK_RAW3(SYS_fcntl, faults, F_DUPFD_CLOEXEC, faults + 1);
    if (moved >= 0)
        faults = (int)moved;
    leave(&signals);
}

static int touch_dup2(int fd, int copy)
{
    make_way(copy);
    return real.dup2(fd, copy);
}

static int touch_dup3(int fd, int copy, int flags)
{
    make_way(copy);
    return real.dup3(fd, copy, flags);
}

/* -- fork --------------------------------------------------------------------------------------------------------- */

static uint64_t signals_of_fork;

static void before_fork(void)
{
    enter(&signals_of_fork);
}

static void after_fork(void)
{
    leave(&signals_of_fork);
}

static void after_fork_in_child(void)
{
    if (tk_region_count() && tk_on)
        tk_self(); /* becomes a process of its own now, before it touches anything */
    depth = 0;
    atomic_store(&owner, 0);
    tk_restore_signals(&signals_of_fork);
}

/* Runs once in every forked child. Its page table has nothing of clean file maps yet; what it has is not its doing. The
   inherited descriptor speaks for the parent's memory and must go. */
void tk_touch_reborn(void)
{
    struct tk_region *region;
    size_t at = 0;
    int pagemap;
    if (mode == TK_TOUCH_OFF)
        return;
    depth = 0;
    atomic_store(&owner, 0);
    memcpy(facts()->magic, "tktouch", 8);
    facts()->mode = mode;
    if (mode == TK_TOUCH_EXACT) {
        TK_RAW1(SYS_close, faults);
        faults = new_faults();
        if (faults < 0) {
            facts()->refused = 1;
            mode = TK_TOUCH_PAGEMAP;
        }
    }
    pagemap = open_pagemap();
    while ((region = tk_region_in(&at, 0, UINTPTR_MAX)) != NULL) {
        registered(region->start, region->end);
        region->since = tk_ticks();
        atomic_fetch_add_explicit(&facts()->maps, 1, memory_order_relaxed);
        if (pagemap >= 0)
            tk_region_look(region, pagemap, 1);
    }
    TK_RAW1(SYS_close, pagemap);
}

/* -- start -------------------------------------------------------------------------------------------------------- */

enum tk_touch_mode tk_touch_wanted(void)
{
    return mode;
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

static const char *try_exact(void *page)
{
    faults = new_faults();
    if (faults < 0)
        return why(faults);
    if (!registered((uintptr_t)page, (uintptr_t)page + TK_PAGE))
        return "userfaultfd does not register memory here";
    return NULL;
}

static const char *try_pagemap(void *page)
{
    int pagemap = open_pagemap(), error;
    if (pagemap < 0)
        return "/proc/self/pagemap cannot be opened";
    error = tk_region_try(pagemap, (uintptr_t)page);
    TK_RAW1(SYS_close, pagemap);
    return error == 0 ? NULL : "the kernel cannot scan a page table (PAGEMAP_SCAN, Linux 6.7)";
}

const char *tk_touch_prepare(enum tk_touch_mode wanted)
{
    const char *reason = NULL;
    void *page;
    if (wanted == TK_TOUCH_OFF)
        return NULL;
    if (sysconf(_SC_PAGESIZE) != TK_PAGE)
        return "pages here are not of 4096 bytes";
    page = mmap(NULL, TK_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || tk_regions_start() < 0)
        return "no memory for the table of maps";
    mode = wanted;
    reason = try_pagemap(page);
    if (reason == NULL && wanted == TK_TOUCH_EXACT)
        reason = try_exact(page);
    munmap(page, TK_PAGE);
    if (reason && faults >= 0)
        TK_RAW1(SYS_close, faults);
    if (reason) {
        mode = TK_TOUCH_OFF;
        faults = -1;
    }
    return reason;
}

void tk_touch_start(void)
{
    if (mode == TK_TOUCH_OFF)
        return;
    memcpy(facts()->magic, "tktouch", 8);
    facts()->mode = mode;
    real = tk_original;
    tk_original.mmap64 = touch_mmap64;
    tk_original.read = touch_read;
    tk_original.write = touch_write;
    tk_original.execve = touch_execve;
    if (mode == TK_TOUCH_EXACT) {
        tk_original.close = touch_close;
        tk_original.close_range = touch_close_range;
        tk_original.dup2 = touch_dup2;
        tk_original.dup3 = touch_dup3;
    }
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}
