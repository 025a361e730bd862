/* Which maps are looked at, and what keeps the table of them right. */
#define _GNU_SOURCE
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "faults.h"
#include "fdtable.h"
#include "hooks.h"
#include "regions.h"
#include "spool.h"
#include "touched.h"

/* Values that older C libraries lack. */
enum { ADVICE_DONTNEED = 4, ADVICE_REMOVE = 9, ADVICE_PAGEOUT = 21, ADVICE_DONTNEED_LOCKED = 24 };
enum { SYNC_MAP = 0x80000, ATTRIBUTE_DAX = 0x200000 };
#define TMPFS 0x01021994
#define HUGETLBFS 0x958458f6

static void *(*original_mmap64)(void *, size_t, int, int, int, off_t);

int tk_map_registered(uintptr_t start, uintptr_t end)
{
    return tk_touch_wanted() != TK_TOUCH_EXACT || tk_faults_register(start, end);
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
    if (tk_touch_wanted() != TK_TOUCH_EXACT || (map->flags & MAP_TYPE) == MAP_PRIVATE || access < 0 || (access & O_ACCMODE) != O_RDONLY)
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
    if (!tk_map_registered(like->start, like->end))
        return TK_LEFT_REFUSED;
    region = tk_region_add(like, name);
    if (region == NULL)
        return TK_LEFT_FULL;
    /* What is mapped already was noted before, or is not the program's doing. */
    if ((pagemap = tk_touch_pagemap()) >= 0) {
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
        atomic_fetch_add_explicit(&tk_touch_facts()->maps, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&tk_touch_facts()->privately, (uint64_t)privately, memory_order_relaxed);
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
    tk_touch_enter(&signals);
    left = unsuitable(map, &about);
    if (left == TK_LEFT_NONE)
        left = begin_to_watch(map, &like, name);
    if (left != TK_LEFT_NONE)
        note_left(left, &like, name);
    tk_touch_leave(&signals);
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
    tk_touch_look(start, end);
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
    tk_touch_enter(&signals);
    forget((uintptr_t)at, end_of(at, bytes));
    tk_touch_leave(&signals);
}

static void *watched_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    struct asked map = {bytes, protection, flags, fd, offset};
    void *result;
    int error = errno;
    if (flags & MAP_FIXED)
        forget_range(at, bytes);
    errno = error;
    result = original_mmap64(at, bytes, protection, flags, fd, offset);
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
    tk_touch_enter(&signals);
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
    tk_touch_leave(&signals);
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
    tk_touch_enter(&signals);
    tk_touch_look((uintptr_t)at, end_of(at, bytes));
    result = tk_original.madvise(at, bytes, advice);
    error = errno;
    tk_touch_look((uintptr_t)at, end_of(at, bytes));
    tk_touch_leave(&signals);
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
        tk_touch_enter(&signals);
        while ((region = tk_region_in(&row, (uintptr_t)at, end_of(at, bytes))) != NULL)
            refused |= region->privately;
        tk_touch_leave(&signals);
    }
    if (refused) {
        errno = EACCES;
        return -1;
    }
    return tk_original.mprotect(at, bytes, protection);
}

void tk_maps_start(void)
{
    original_mmap64 = tk_original.mmap64;
    tk_original.mmap64 = watched_mmap64;
}
