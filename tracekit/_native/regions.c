#define _GNU_SOURCE
#include "regions.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* linux/fs.h of Linux 6.7; older headers lack it. */
struct page_run {
    uint64_t start, end, categories;
};
struct scan_request {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
enum { IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4, RUNS = 512 };
#define SCAN _IOWR('f', 16, struct scan_request)

static struct tk_region *table;
static char (*names)[TK_REGION_NAME];
static _Atomic size_t count;
static _Atomic uint32_t changes; /* odd while rows move */
static struct page_run runs[RUNS];
int tk_regions_vague;

static void *memory(size_t bytes)
{
    long got = TK_RAW(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return got < 0 && got > -4096 ? NULL : (void *)got;
}

int tk_regions_start(void)
{
    if (table == NULL)
        table = memory(sizeof *table * TK_REGIONS);
    if (names == NULL)
        names = memory(sizeof *names * TK_REGIONS);
    count = 0;
    return table && names ? 0 : -1;
}

static uint64_t pages_of(const struct tk_region *region)
{
    return (region->end - region->start) / TK_PAGE;
}

static uint64_t bitmap_bytes(const struct tk_region *region)
{
    return (pages_of(region) / 64 + 1) * 8;
}

struct tk_region *tk_region_add(const struct tk_region *like, const char *name)
{
    struct tk_region *region = &table[count];
    if (count == TK_REGIONS)
        return NULL;
    *region = *like;
    region->noted = memory(bitmap_bytes(region));
    if (region->noted == NULL)
        return NULL;
    memcpy(names[count], name, region->name_bytes);
    count++;
    changes += 2;
    return region;
}

void tk_region_remove(struct tk_region *region)
{
    size_t row = (size_t)(region - table);
    TK_RAW2(SYS_munmap, region->noted, bitmap_bytes(region));
    changes++;
    count--;
    if (row != count) {
        *region = table[count];
        memcpy(names[row], names[count], region->name_bytes);
    }
    changes++;
}

const char *tk_region_name(const struct tk_region *region)
{
    return names[region - table];
}

struct tk_region *tk_region_in(size_t *at, uintptr_t start, uintptr_t end)
{
    while (*at < count) {
        struct tk_region *region = &table[(*at)++];
        if (region->start < end && start < region->end)
            return region;
    }
    return NULL;
}

size_t tk_region_count(void)
{
    return count;
}

int tk_regions_overlap(uintptr_t start, uintptr_t end)
{
    uint32_t before = changes;
    size_t at = 0;
    return count && (tk_region_in(&at, start, end) != NULL || before & 1 || before != changes);
}

/* -- noting ------------------------------------------------------------------------------------------------------- */

/* The file's number in this process; a forked child begins to count anew. */
static struct tk_thread *introduce(struct tk_region *region, struct tk_thread *thread, uint64_t now)
{
    if (region->generation == tk_generation && region->file)
        return thread;
    region->file = tk_new_file();
    region->generation = tk_generation;
    region->identity.path_bytes = region->name_bytes;
    if (region->file)
        tk_note_text(thread, TK_FILE | region->file << TK_FILE_SHIFT, 0, -1, now, now, &region->identity,
                     sizeof region->identity, tk_region_name(region), region->name_bytes);
    return tk_local.thread;
}

/* Pages `first` to `last` of the region, which were not noted before. */
static void note(struct tk_region *region, uint64_t first, uint64_t last, uint64_t now)
{
    uint64_t from = first * TK_PAGE, to = last * TK_PAGE;
    struct tk_thread *thread = tk_self();
    to = to > region->bytes ? region->bytes : to;
    if (thread == NULL || from >= to)
        return;
    thread = introduce(region, thread, now);
    tk_note(thread, TK_TOUCH | region->file << TK_FILE_SHIFT, region->offset + (int64_t)from, to - from, tk_regions_vague,
            region->since, now);
}

static int is_noted(const struct tk_region *region, uint64_t page)
{
    return (int)(region->noted[page / 64] >> page % 64 & 1);
}

/* Mark pages as noted, and note those that were not, in runs as long as they come. */
static int64_t mark(struct tk_region *region, uint64_t first, uint64_t last, uint64_t now, int silently)
{
    int64_t found = 0;
    for (uint64_t page = first; page < last;) {
        uint64_t begin;
        if (page % 64 == 0 && page + 64 <= last && region->noted[page / 64] == UINT64_MAX) {
            page += 64;
            continue;
        }
        if (is_noted(region, page)) {
            page++;
            continue;
        }
        for (begin = page; page < last && !is_noted(region, page); page++)
            region->noted[page / 64] |= UINT64_C(1) << page % 64;
        found += (int64_t)(page - begin);
        if (!silently)
            note(region, begin, page, now);
    }
    return found;
}

/* What the process no longer has mapped (let go, or reclaimed by the kernel) is touched anew when it comes again. */
static void unmark(struct tk_region *region, uint64_t first, uint64_t last)
{
    for (uint64_t page = first; page < last;) {
        if (page % 64 == 0 && page + 64 <= last) {
            if (region->noted[page / 64])
                region->noted[page / 64] = 0;
            page += 64;
        } else {
            region->noted[page / 64] &= ~(UINT64_C(1) << page % 64);
            page++;
        }
    }
}

/* -- looking ------------------------------------------------------------------------------------------------------ */

static long scan(int pagemap, struct scan_request *request)
{
    request->size = sizeof *request;
    request->vec = (uint64_t)(uintptr_t)runs;
    request->vec_len = RUNS;
    request->category_anyof_mask = request->return_mask = IS_PRESENT | IS_SWAPPED;
    return TK_RAW3(SYS_ioctl, pagemap, SCAN, request);
}

int64_t tk_region_look(struct tk_region *region, int pagemap, int silently)
{
    uint64_t now = tk_ticks(), next = 0;
    struct scan_request request = {.start = region->start, .end = region->end};
    int64_t found = 0;

    for (; request.start < region->end; request.start = request.walk_end) {
        long filled = scan(pagemap, &request);
        if (filled < 0 || request.walk_end <= request.start)
            return -1;
        for (long i = 0; i < filled; i++) {
            uint64_t first = (runs[i].start - region->start) / TK_PAGE, last = (runs[i].end - region->start) / TK_PAGE;
            unmark(region, next, first);
            found += mark(region, first, last, now, silently);
            next = last;
        }
    }
    unmark(region, next, pages_of(region));
    region->since = now;
    return found;
}

int tk_region_try(int pagemap, uintptr_t page)
{
    struct scan_request request = {.start = page, .end = page + TK_PAGE};
    long result = scan(pagemap, &request);
    return result < 0 ? (int)-result : 0;
}
