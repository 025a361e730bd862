#define _GNU_SOURCE
#include "interpose.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "detour.h"
#include "gotpatch.h"
#include "hooks.h"
#include "rawnet.h"
#include "spool.h"
#include "touched.h"

struct tk_originals tk_original;

struct call {
    const char *name;
    void *hook;
    void **original;
    void *found;
    size_t bytes; /* of the function; 0 when its library does not say */
};

#define ROW(call_name, result, parameters) \
    {#call_name, (void *)hook_##call_name, (void **)&tk_original.call_name, NULL, 0},
static struct call calls[] = {
    TK_MAP_CALLS(ROW) TK_NET_CALLS(ROW) TK_DATA_CALLS(ROW) TK_NAME_CALLS(ROW) TK_EXEC_CALLS(ROW) TK_WAIT_CALLS(ROW) TK_END_CALLS(ROW)
#if defined(__x86_64__) && defined(__GLIBC__)
        TK_GATED_CALLS(ROW)
#endif
};
#undef ROW
#define ONE(call_name, result, parameters) +1
enum { CALLS = sizeof calls / sizeof *calls, MAP_CALLS = 0 TK_MAP_CALLS(ONE),
       NET_CALLS = 0 TK_NET_CALLS(ONE) };
#undef ONE

/* Names under which libraries import the same calls. */
static const char *const aliases[][2] = {
    {"pread", "pread64"}, {"preadv", "preadv64"}, {"preadv2", "preadv64v2"}, {"pwrite", "pwrite64"},
    {"pwritev", "pwritev64"}, {"pwritev2", "pwritev64v2"}, {"sendfile", "sendfile64"}, {"lseek", "lseek64"},
    {"mmap", "mmap64"}, {"ftruncate", "ftruncate64"}, {"posix_fadvise", "posix_fadvise64"}, {"open", "open64"},
    {"openat", "openat64"}, {"creat", "creat64"}, {"fcntl", "fcntl64"}, {"fstatat", "fstatat64"},
    {"truncate", "truncate64"}, {"getdents", "getdents64"}, {"__read", "read"}, {"__open64", "open64"}, {"__pread64", "pread64"},
};
enum { ALIASES = sizeof aliases / sizeof *aliases };
static struct tk_symbol symbols[CALLS + ALIASES];

#if defined(__x86_64__) && defined(__GLIBC__)
extern int (*tk_gate_vfork)(void) __attribute__((visibility("hidden")));
extern long (*tk_gate_syscall)(long, long, long, long, long, long, long) __attribute__((visibility("hidden")));

static void set_gates(void)
{
    tk_gate_vfork = tk_original.vfork;
    tk_gate_syscall = tk_original.syscall;
}
#else
static void set_gates(void)
{
}
#endif

/* Where the C library has no second name with a 64, the plain one is the same function. */
static void *find_symbol(void *library, const char *name)
{
    char plain[32];
    void *found = dlsym(library, name);
    const char *wide = strstr(name, "64");
    if (found || wide == NULL || strlen(name) >= sizeof plain)
        return found;
    memcpy(plain, name, (size_t)(wide - name));
    strcpy(plain + (wide - name), wide + 2);
    return dlsym(library, plain);
}

static int is_wanted(size_t row)
{
    if (row < MAP_CALLS)
        return tk_touch_wanted() != TK_TOUCH_OFF;
    return row >= MAP_CALLS + NET_CALLS || tk_net_wanted();
}

static void find_calls(void)
{
    void *library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    for (size_t i = 0; i < CALLS; i++) {
        if (!is_wanted(i))
            continue; /* what is not found is not hooked */
        calls[i].found = find_symbol(library ? library : RTLD_DEFAULT, calls[i].name);
        *calls[i].original = calls[i].found;
    }
    set_gates();
}

static struct call *find_call(const char *name)
{
    for (size_t i = 0; i < CALLS; i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

#if defined(__x86_64__) && defined(__GLIBC__)
/* Threads of this process, by the kernel's count: each is a directory here, beside the two that every directory has. 0 when
   it does not say. */
static int thread_count(void)
{
    struct stat found;
    if (TK_RAW4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &found, 0) != 0 || found.st_nlink < 3)
        return 0;
    return (int)found.st_nlink - 2;
}
#endif

static void leave(struct tk_interposed *out, const char *name, const char *reason)
{
    if (out->left_count < sizeof out->left / sizeof *out->left)
        out->left[out->left_count++] = (struct tk_left){name, reason};
}

#if defined(__x86_64__) && defined(__GLIBC__)

static int by_address(const void *left, const void *right)
{
    uintptr_t a = (uintptr_t)(*(struct call *const *)left)->found, b = (uintptr_t)(*(struct call *const *)right)->found;
    return (a > b) - (a < b);
}

static void take_size(struct call **sorted, uintptr_t address, size_t bytes)
{
    size_t low = 0, high = CALLS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uintptr_t)sorted[middle]->found < address)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < CALLS && (uintptr_t)sorted[low]->found == address; low++)
        sorted[low]->bytes = bytes;
}

/* One pass over the C library's symbols: dladdr would go through all of them for every call, which was half of the time
   that hooking took. In what the linker writes the names follow the symbols. */
static void find_sizes(void)
{
    struct call *sorted[CALLS];
    struct link_map *map = NULL;
    Dl_info info;
    const ElfW(Sym) *first = NULL, *end = NULL;
    if (!dladdr1((const void *)tk_original.read, &info, (void **)&map, RTLD_DL_LINKMAP) || map == NULL)
        return;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            first = (const ElfW(Sym) *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRTAB)
            end = (const ElfW(Sym) *)entry->d_un.d_ptr;
    }
    for (size_t i = 0; i < CALLS; i++)
        sorted[i] = &calls[i];
    qsort(sorted, CALLS, sizeof *sorted, by_address);
    for (const ElfW(Sym) *symbol = first; symbol && symbol + 1 <= end; symbol++)
        if (symbol->st_value)
            take_size(sorted, map->l_addr + symbol->st_value, symbol->st_size);
}

static size_t function_bytes(const struct call *call)
{
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (call->bytes)
        return call->bytes;
    if (!dladdr1(call->found, &info, (void **)&symbol, RTLD_DL_SYMENT) || symbol == NULL || info.dli_saddr != call->found)
        return 0;
    return symbol->st_size;
}

/* Two rows may name one function (plain and _nocancel in a C library that has them as one): patched once. */
static int planned_before(size_t row)
{
    for (size_t i = 0; i < row; i++)
        if (calls[i].found == calls[row].found) {
            *calls[row].original = *calls[i].original;
            return 1;
        }
    return 0;
}

static void plan(struct tk_interposed *out)
{
    for (size_t i = 0; i < CALLS; i++) {
        enum tk_detour_result result;
        if (calls[i].found == NULL || planned_before(i))
            continue;
        result = tk_detour_plan(calls[i].found, function_bytes(&calls[i]), calls[i].hook, calls[i].original);
        if (result == TK_DETOURED)
            out->hooked++;
        else
            leave(out, calls[i].name, tk_detour_reason(result));
    }
}

static const char *try_detour(struct tk_interposed *out)
{
    const char *reason;
    if (thread_count() != 1)
        return "the process has more than one thread already";
    reason = tk_detour_prepare((const void *)tk_original.read);
    if (reason)
        return reason;
    find_sizes();
    plan(out);
    set_gates();
    reason = tk_detour_commit();
    if (reason) {
        find_calls();
        out->hooked = out->left_count = 0;
    }
    return reason;
}

#else

static const char *try_detour(struct tk_interposed *out)
{
    (void)out;
    return tk_detour_prepare(NULL);
}

#endif

static void collect_symbols(void)
{
    for (size_t i = 0; i < CALLS; i++)
        symbols[i] = (struct tk_symbol){calls[i].name, calls[i].found, calls[i].hook};
    for (size_t i = 0; i < ALIASES; i++) {
        const struct call *call = find_call(aliases[i][1]);
        symbols[CALLS + i] = (struct tk_symbol){aliases[i][0], call->found, call->hook};
    }
}

static const char *try_got(struct tk_interposed *out)
{
    collect_symbols();
    out->hooked = (size_t)tk_interpose_again();
    leave(out, "stdio, aio, stat, readdir", "calls inside the C library are not seen by this way");
    return out->hooked ? NULL : "no call of the C library's I/O was found in the libraries loaded";
}

int tk_interpose_again(void)
{
    return tk_got_patch(symbols, CALLS + ALIASES, (const void *)&tk_interpose);
}

void tk_interpose(int detour, int got, struct tk_interposed *out)
{
    sigset_t all, before;
    const char *refused = "not asked for";

    memset(out, 0, sizeof *out);
    find_calls();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    if (detour && (refused = try_detour(out)) == NULL) {
        out->method = TK_DETOUR;
    } else if (got) {
        const char *reason = try_got(out);
        out->method = reason ? TK_NONE : TK_GOT;
        out->reason = reason ? reason : refused;
    } else {
        out->reason = refused;
    }
    if (find_call("vfork") == NULL || out->method == TK_NONE)
        tk_always_ask = 1;
    for (size_t i = 0; i < out->left_count; i++)
        if (strcmp(out->left[i].name, "vfork") == 0)
            tk_always_ask = 1;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
