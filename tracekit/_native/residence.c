/* Counts come from cachestat(2), which walks the pages that are there: whole files first, and for those cached in part a
   window at a time. Only in windows cached in part are pages asked for one by one (mincore over a short mapping). Stacks
   here may be small, so windows and runs are gathered in pieces. */
#define _GNU_SOURCE
#include "residence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CACHESTAT = 451,      /* the same on every architecture; Linux 6.5 */
    WINDOW = 2048,        /* pages */
    MOST_WINDOWS = 1024,  /* that may be asked about page by page: 8 GiB of 4 KiB pages, some 0.1 s */
    MOST_COUNTED = 65536, /* windows that are counted at all: 512 GiB */
    OLD_WINDOWS = 128,    /* the same without cachestat, where every page has to be asked for: 1 GiB */
    RUNS = 128,           /* in a record */
    MOST_RECORDS = 512,
    PROBES = 64,
    PATH_ROOM = 600,
};

static _Atomic uint64_t *table;
static uint64_t slots;
static uint32_t page_bytes = 4096;
static _Atomic int too_old; /* the kernel has no cachestat */

void tk_residence_start(const char *directory)
{
    char path[PATH_ROOM];
    struct stat facts;
    size_t bytes = strlen(directory);
    int fd;
    void *mapped;

    if (table || bytes + 11 > sizeof path)
        return;
    memcpy(path, directory, bytes);
    memcpy(path + bytes, "/residence", 11);
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (fstat(fd, &facts) == 0 && facts.st_size >= 4096 && facts.st_size % 8 == 0) {
        mapped = mmap(NULL, (size_t)facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapped != MAP_FAILED) {
            slots = (uint64_t)facts.st_size / 8;
            page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
            table = mapped;
        }
    }
    close(fd);
}

static uint64_t key_of(const struct tk_identity *identity)
{
    uint64_t key = identity->inode * UINT64_C(0x9e3779b97f4a7c15) ^ identity->device * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 32) * UINT64_C(0x94d049bb133111eb);
    key ^= key >> 29;
    return key ? key : 1;
}

/* Whether the file is ours to look at: nobody in this run has come before. */
static int claim(const struct tk_identity *identity)
{
    uint64_t key = key_of(identity);
    for (int probe = 0; probe < PROBES; probe++) {
        uint64_t place = 1 + (key + (uint64_t)probe) % (slots - 1), found = 0;
        if (atomic_load_explicit(&table[place], memory_order_relaxed) == key)
            return 0;
        if (atomic_compare_exchange_strong(&table[place], &found, key))
            return 1;
        if (found == key)
            return 0;
    }
    atomic_fetch_add_explicit(&table[0], 1, memory_order_relaxed);
    return 0;
}

struct span {
    uint64_t offset, bytes;
};

/* Cached pages of a range; -1 where the system does not tell. */
static int64_t cached(int fd, uint64_t offset, uint64_t bytes)
{
    struct span span = {offset, bytes};
    uint64_t counts[5] = {0};
    long result;
    if (atomic_load_explicit(&too_old, memory_order_relaxed))
        return -1;
    result = TK_RAW4(CACHESTAT, fd, &span, counts, 0);
    if (result == -ENOSYS)
        atomic_store_explicit(&too_old, 1, memory_order_relaxed);
    return result == 0 ? (int64_t)counts[0] : -1;
}

/* The file as it is put together: runs gathered, records written. */
struct look {
    struct tk_thread *thread;
    uint64_t now;
    uint32_t what;
    struct tk_pages head;
    uint32_t first, count; /* the run that is growing */
    uint32_t filled, records;
    uint32_t runs[RUNS][2];
};

static void write_out(struct look *look, enum tk_pages_end end)
{
    tk_note_text(look->thread, look->what, look->filled, end, look->now, look->now, &look->head, sizeof look->head,
                 look->runs, look->filled * sizeof *look->runs);
    look->filled = 0;
    look->records++;
    look->thread = tk_local.thread; /* the note may have turned to the next chunk */
}

static void keep_run(struct look *look)
{
    if (look->count == 0)
        return;
    if (look->filled == RUNS)
        write_out(look, TK_PAGES_MORE);
    look->runs[look->filled][0] = look->first;
    look->runs[look->filled++][1] = look->count;
    look->count = 0;
}

static void add_run(struct look *look, uint64_t first, uint64_t count)
{
    if (look->count && look->first + (uint64_t)look->count == first) {
        look->count += (uint32_t)count;
        return;
    }
    keep_run(look);
    look->first = (uint32_t)first;
    look->count = (uint32_t)count;
}

/* Pages of a window one by one. -1 where mincore does not tell: to a user who may not write to the file it shows all. */
static int64_t page_by_page(struct look *look, int fd, uint64_t first, uint64_t pages, int64_t expected)
{
    unsigned char vector[WINDOW];
    uint64_t bytes = pages * page_bytes, resident = 0;
    long at = TK_RAW(SYS_mmap, 0, bytes, PROT_READ, MAP_SHARED, fd, first * page_bytes);
    long result;

    if (at < 0 && at > -4096)
        return -1;
    result = TK_RAW3(SYS_mincore, at, bytes, vector);
    TK_RAW2(SYS_munmap, at, bytes);
    if (result != 0)
        return -1;
    for (uint64_t page = 0; page < pages; page++)
        resident += vector[page] & 1;
    if (resident == pages && expected >= 0 && (uint64_t)expected < pages)
        return -1;
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t begin = page;
        while (page < pages && vector[page] & 1)
            page++;
        if (page > begin)
            add_run(look, first + begin, page - begin);
    }
    return (int64_t)resident;
}

static int may_ask(int fd)
{
    struct stat facts;
    long user = TK_RAW0(SYS_geteuid);
#if defined(__x86_64__) || defined(__aarch64__)
    return user == 0 || (TK_RAW2(SYS_fstat, fd, &facts) == 0 && (long)facts.st_uid == user);
#else
    (void)facts;
    return 0;
#endif
}

/* All windows of a file of which the count, where there is one, says that some pages are there and others are not. Returns
   0 when it had to be given up. */
static int windows(struct look *look, int fd, uint64_t pages, int counted)
{
    uint32_t asked = 0;
    if (pages > (uint64_t)WINDOW * (counted ? MOST_COUNTED : OLD_WINDOWS))
        return 0;
    for (uint64_t first = 0; first < pages; first += WINDOW) {
        uint64_t size = pages - first < WINDOW ? pages - first : WINDOW;
        int64_t count = counted ? cached(fd, first * page_bytes, size * page_bytes) : -1;
        if (count == 0)
            continue;
        if (count == (int64_t)size) {
            add_run(look, first, size);
            look->head.resident += size;
            continue;
        }
        if (++asked > MOST_WINDOWS || look->records >= MOST_RECORDS)
            return 0;
        count = page_by_page(look, fd, first, size, count);
        if (count < 0)
            return 0;
        look->head.resident += (uint64_t)count;
    }
    return 1;
}

static void look_closer(struct look *look, int fd, uint64_t pages, int64_t count)
{
    look->head.resident = 0;
    if ((count >= 0 || may_ask(fd)) && windows(look, fd, pages, count >= 0)) {
        keep_run(look);
        if (look->head.resident == pages && look->records == 0)
            look->filled = 0;
        write_out(look, TK_PAGES_DONE);
        return;
    }
    look->filled = 0;
    look->head.resident = count < 0 ? UINT64_MAX : (uint64_t)count;
    write_out(look, TK_PAGES_LEFT_OUT);
}

static __attribute__((noinline)) void look_at(struct tk_thread *thread, int fd, uint32_t file,
                                              const struct tk_identity *identity, uint64_t pages, int64_t count)
{
    struct look look;
    look.thread = thread;
    look.now = tk_ticks();
    look.what = TK_PAGES | file << TK_FILE_SHIFT;
    look.head = (struct tk_pages){identity->size, count < 0 ? UINT64_MAX : (uint64_t)count, page_bytes, 0};
    look.count = look.filled = look.records = 0;
    if (pages >> 32)
        write_out(&look, TK_PAGES_LEFT_OUT);
    else if (count == 0 || count >= (int64_t)pages)
        write_out(&look, TK_PAGES_DONE);
    else
        look_closer(&look, fd, pages, count);
}

void tk_residence_look(struct tk_thread *thread, int fd, uint32_t file, const struct tk_identity *identity)
{
    uint64_t pages = (identity->size + page_bytes - 1) / page_bytes;
    if (TK_LIKELY(table == NULL) || !S_ISREG(identity->mode) || !claim(identity))
        return;
    look_at(thread, fd, file, identity, pages, pages ? cached(fd, 0, 0) : 0);
}

void tk_residence_before(int fd)
{
    struct tk_thread *thread;
    if (table == NULL || !tk_on || (uint32_t)fd >= tk_fd_count || (thread = tk_self()) == NULL)
        return;
    tk_fd_learn(thread, fd);
}
