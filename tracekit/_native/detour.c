/* How an entry is patched. The five bytes of a near jump replace the entry's first instructions; they lead to an island
   within 2 GiB that jumps on to the hook, wherever it lives. The instructions that stood there are relocated into the same
   island, followed by a jump back. The page is written first and becomes executable afterwards: no page of ours is ever
   writable and executable at once. The C library's own pages are for the microseconds of the patch; where the kernel
   forbids that, /proc/self/mem is tried, and where it forbids that too, nothing has been changed. */
#define _GNU_SOURCE
#include "detour.h"

#include <features.h>

#if defined(__x86_64__) && defined(__GLIBC__)

#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "decode.h"
#include "raw.h"

enum { JUMP = 5, ISLAND = 96, PAGES = 4096 * 3, MOST = PAGES / ISLAND, REACH = 0x70000000 };

struct patch {
    uint8_t *entry;
    uint8_t before[JUMP];
    uint8_t after[JUMP];
};

static uint8_t *islands;
static unsigned planned;
static struct patch patches[MOST];

const char *tk_detour_prepare(const void *near)
{
    uintptr_t base = (uintptr_t)near & ~(uintptr_t)0xfffff;
    planned = 0;
    /* A free place is looked for downwards from the library, where the loader leaves gaps; FIXED_NOREPLACE (Linux 4.17;
       older kernels take the address as a hint) makes sure nothing is overwritten. */
    for (uintptr_t step = 1; step < 512; step++) {
        uintptr_t hint = base - step * 0x100000;
        void *got = mmap((void *)hint, PAGES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got == MAP_FAILED)
            continue;
        if ((uintptr_t)got + REACH > base && (uintptr_t)got < base + REACH) {
            islands = got;
            return NULL;
        }
        munmap(got, PAGES);
    }
    return "no free memory within reach of the C library";
}

static void far_jump(uint8_t *at, const void *target)
{
    static const uint8_t jump[6] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip), the address follows */
    memcpy(at, jump, 6);
    memcpy(at + 6, &target, 8);
}

static int near_jump(uint8_t *bytes, const uint8_t *at, const uint8_t *target)
{
    intptr_t distance = target - (at + JUMP);
    int32_t narrow = (int32_t)distance;
    if (narrow != distance)
        return -1;
    bytes[0] = 0xe9;
    memcpy(bytes + 1, &narrow, 4);
    return 0;
}

enum tk_detour_result tk_detour_plan(void *entry, size_t length, void *hook, void **original)
{
    static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};
    uint8_t *start = entry, *island, *copy;
    struct patch *patch;
    unsigned written;
    int taken;

    if (planned == MOST)
        return TK_OUT_OF_ROOM;
    /* The landing pad of an indirect branch stays where it is (Intel CET). */
    if (length >= 4 && memcmp(start, endbr64, 4) == 0) {
        start += 4;
        length -= 4;
    }
    if (length < JUMP)
        return TK_TOO_SHORT;
    island = islands + planned * ISLAND;
    copy = island + 16;
    taken = tk_relocate(start, length, JUMP, copy, ISLAND - 16 - 14 - 16, &written);
    if (taken < 0)
        return TK_UNKNOWN_PROLOGUE;
    if (tk_jumps_into(start, length, (unsigned)taken))
        return TK_JUMPED_INTO;
    patch = &patches[planned];
    patch->entry = start;
    if (near_jump(patch->after, start, island) < 0)
        return TK_OUT_OF_ROOM;
    memcpy(patch->before, start, JUMP);
    far_jump(island, hook);
    far_jump(copy + written, start + taken);
    *original = copy;
    planned++;
    return TK_DETOURED;
}

/* By hand: the page being written may hold memcpy itself. */
static void put(volatile uint8_t *at, const uint8_t *bytes)
{
    for (int i = 0; i < JUMP; i++)
        at[i] = bytes[i];
}

static int put_through_mprotect(uint8_t *at, const uint8_t *bytes)
{
    uintptr_t first = (uintptr_t)at & ~(uintptr_t)4095;
    size_t span = (((uintptr_t)at + JUMP - 1) & ~(uintptr_t)4095) - first + 4096;
    if (TK_RAW3(SYS_mprotect, first, span, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return -1;
    put(at, bytes);
    return TK_RAW3(SYS_mprotect, first, span, PROT_READ | PROT_EXEC) == 0 ? 0 : -1;
}

struct span {
    uintptr_t first, end;
    int inside;
};

static int holds_span(struct dl_phdr_info *info, size_t size, void *wanted)
{
    struct span *span = wanted;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && segment->p_flags == (PF_R | PF_X) && begin <= span->first
            && span->end <= begin + segment->p_memsz)
            span->inside = 1;
    }
    return span->inside;
}

/* All entries lie in one segment of code as a rule: two calls of mprotect then do for all of them, where two for each would
   be a third of an interpreter's start. Returns 0 when that was not possible; nothing has changed then. */
static int put_all_at_once(void)
{
    struct span span = {UINTPTR_MAX, 0, 0};
    for (unsigned i = 0; i < planned; i++) {
        uintptr_t entry = (uintptr_t)patches[i].entry;
        span.first = entry < span.first ? entry : span.first;
        span.end = entry + JUMP > span.end ? entry + JUMP : span.end;
    }
    if (planned == 0 || !dl_iterate_phdr(holds_span, &span))
        return 0;
    span.first &= ~(uintptr_t)4095;
    span.end = (span.end + 4095) & ~(uintptr_t)4095;
    if (TK_RAW3(SYS_mprotect, span.first, span.end - span.first, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return 0;
    for (unsigned i = 0; i < planned; i++)
        put(patches[i].entry, patches[i].after);
    return TK_RAW3(SYS_mprotect, span.first, span.end - span.first, PROT_READ | PROT_EXEC) == 0;
}

static int put_through_mem(int memory, uint8_t *at, const uint8_t *bytes)
{
    return TK_RAW4(SYS_pwrite64, memory, bytes, JUMP, at) == JUMP ? 0 : -1;
}

static int put_one(int *memory, uint8_t *at, const uint8_t *bytes)
{
    if (*memory == -1) {
        if (put_through_mprotect(at, bytes) == 0)
            return 0;
        *memory = (int)TK_RAW4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
        if (*memory < 0)
            return -1;
    }
    return *memory >= 0 ? put_through_mem(*memory, at, bytes) : -1;
}

const char *tk_detour_commit(void)
{
    int memory = -1;
    unsigned done = 0;
    if (TK_RAW3(SYS_mprotect, islands, PAGES, PROT_READ | PROT_EXEC) != 0) {
        TK_RAW2(SYS_munmap, islands, PAGES);
        return "the kernel forbids new executable memory";
    }
    if (put_all_at_once())
        return NULL;
    while (done < planned && put_one(&memory, patches[done].entry, patches[done].after) == 0)
        done++;
    if (done < planned) /* what was patched works through its island until it is put back */
        for (unsigned i = done; i-- > 0;)
            put_one(&memory, patches[i].entry, patches[i].before);
    if (memory >= 0)
        TK_RAW1(SYS_close, memory);
    return done == planned ? NULL : "the kernel forbids writing to the C library's code";
}

int tk_detour_holds(const void *address)
{
    const uint8_t *at = address;
    return islands && at >= islands && at <= islands + PAGES;
}

#else

int tk_detour_holds(const void *address)
{
    (void)address;
    return 0;
}

const char *tk_detour_prepare(const void *near)
{
    (void)near;
#if defined(__GLIBC__)
    return "detours are written for x86-64 only";
#else
    return "detours are written for the GNU C library only";
#endif
}

enum tk_detour_result tk_detour_plan(void *entry, size_t length, void *hook, void **original)
{
    (void)entry, (void)length, (void)hook, (void)original;
    return TK_REFUSED;
}

const char *tk_detour_commit(void)
{
    return "detours are not available here";
}

#endif

const char *tk_detour_reason(enum tk_detour_result result)
{
    switch (result) {
    case TK_DETOURED:
        return "patched";
    case TK_UNKNOWN_PROLOGUE:
        return "its first instructions are not known";
    case TK_TOO_SHORT:
        return "it is too short";
    case TK_JUMPED_INTO:
        return "it jumps into its own first instructions";
    case TK_OUT_OF_ROOM:
        return "no room within reach";
    default:
        return "refused";
    }
}
