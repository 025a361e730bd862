/* When it is looked which pages are mapped. The hooks of calls that the recorder hooks anyway are not touched: where they go on
   to the C library, a function of ours is put in between while a mode is on. */
#define _GNU_SOURCE
#include "touched.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"
#include "hooks.h"
#include "maps.h"
#include "regions.h"
#include "spool.h"

/* Looking may take one part in SHARE of the time; what was not used is kept, up to SAVED ticks. What a look takes is known
   when it is over: it may leave a debt, which is waited for. (To ask beforehand whether there is enough for another like the
   last ended all looking after one that took more than SAVED, because its core was taken away.) Between calls of read
   and write, which can be many, it may take one part in SHARE_OF_CALLS. */
enum { SHARE = 4, SHARE_OF_CALLS = 20, SAVED = 1 << 25 };

static enum tk_touch_mode mode;
static struct tk_originals real;
static _Atomic uintptr_t owner; /* of the lock */
static unsigned depth;
static _Atomic uint64_t looked, cost; /* ticks: when last, and how long it took */
static int64_t saved = SAVED;
static uint64_t saved_until;

struct tk_touch_facts *tk_touch_facts(void)
{
    return (struct tk_touch_facts *)((char *)tk_process + TK_TOUCH_FACTS);
}

/* -- the lock: signals wait, so that a handler's munmap finds it free, and its owner may take it again ------------- */

void tk_touch_enter(uint64_t *signals)
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

void tk_touch_leave(const uint64_t *signals)
{
    if (--depth == 0)
        atomic_store_explicit(&owner, 0, memory_order_release);
    tk_restore_signals(signals);
}

/* -- looking ------------------------------------------------------------------------------------------------------ */

int tk_touch_pagemap(void)
{
    return (int)TK_RAW4(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
}

/* At the whole of every region that overlaps the range. Under the lock. */
void tk_touch_look(uintptr_t start, uintptr_t end)
{
    uint64_t begin = tk_ticks();
    struct tk_region *region;
    size_t at = 0;
    int64_t found, pages = 0;
    int pagemap;

    if (tk_self() == NULL || (pagemap = tk_touch_pagemap()) < 0) /* a child of vfork leaves its parent's table alone */
        return;
    while ((region = tk_region_in(&at, start, end)) != NULL)
        if ((found = tk_region_look(region, pagemap, 0)) > 0)
            pages += found;
    TK_RAW1(SYS_close, pagemap);
    looked = tk_ticks();
    cost = looked - begin;
    atomic_fetch_add_explicit(&tk_touch_facts()->looks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tk_touch_facts()->look_ticks, cost, memory_order_relaxed);
    atomic_fetch_add_explicit(&tk_touch_facts()->pages, (uint64_t)pages, memory_order_relaxed);
}

/* Under the lock. */
static int can_afford(void)
{
    uint64_t now = tk_ticks();
    saved += (int64_t)((now - saved_until) / SHARE);
    saved = saved > SAVED ? SAVED : saved;
    saved_until = now;
    return saved > 0;
}

/* Look everywhere, as long as this costs a small part of the time. */
static void look_if_due(int at_context)
{
    uint64_t signals;
    if (tk_region_count() == 0 || !tk_on || (!at_context && tk_ticks() - looked < SHARE_OF_CALLS * cost))
        return;
    tk_touch_enter(&signals);
    if (can_afford()) {
        tk_touch_look(0, UINTPTR_MAX);
        saved -= (int64_t)cost;
        tk_regions_vague = 0;
    } else if (at_context) {
        tk_regions_vague = 1;
    }
    tk_touch_leave(&signals);
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
    tk_touch_enter(&signals);
    if (tk_region_count())
        tk_touch_look(0, UINTPTR_MAX);
    tk_touch_facts()->closed = (uint32_t)tk_faults_are_lost();
    tk_touch_facts()->ended = 1;
    tk_touch_leave(&signals);
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
        tk_touch_facts()->ended = 0;
    return result;
}

/* -- fork --------------------------------------------------------------------------------------------------------- */

static uint64_t signals_of_fork;

static void before_fork(void)
{
    tk_touch_enter(&signals_of_fork);
}

static void after_fork(void)
{
    tk_touch_leave(&signals_of_fork);
}

static void after_fork_in_child(void)
{
    if (tk_region_count() && tk_on)
        tk_self(); /* becomes a process of its own now, before it touches anything */
    depth = 0;
    atomic_store(&owner, 0);
    tk_restore_signals(&signals_of_fork);
}

/* Runs once in every forked child. Its page table has nothing of clean file maps yet; what it has is not its doing. */
void tk_touch_reborn(void)
{
    struct tk_region *region;
    size_t at = 0;
    int pagemap;
    if (mode == TK_TOUCH_OFF)
        return;
    depth = 0;
    atomic_store(&owner, 0);
    memcpy(tk_touch_facts()->magic, "tktouch", 8);
    tk_touch_facts()->mode = mode;
    tk_faults_drop();
    pagemap = tk_touch_pagemap();
    while ((region = tk_region_in(&at, 0, UINTPTR_MAX)) != NULL) {
        if (!tk_map_registered(region->start, region->end))
            tk_touch_facts()->refused = 1;
        region->since = tk_ticks();
        atomic_fetch_add_explicit(&tk_touch_facts()->maps, 1, memory_order_relaxed);
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

static const char *try_pagemap(void *page)
{
    int pagemap = tk_touch_pagemap(), error;
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
        reason = tk_faults_try(page);
    munmap(page, TK_PAGE);
    if (reason)
        mode = TK_TOUCH_OFF;
    return reason;
}

void tk_touch_start(void)
{
    if (mode == TK_TOUCH_OFF)
        return;
    memcpy(tk_touch_facts()->magic, "tktouch", 8);
    tk_touch_facts()->mode = mode;
    real = tk_original;
    tk_original.read = touch_read;
    tk_original.write = touch_write;
    tk_original.execve = touch_execve;
    tk_maps_start();
    if (mode == TK_TOUCH_EXACT)
        tk_faults_hide();
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}
