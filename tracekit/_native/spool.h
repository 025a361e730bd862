/* The spool: what a hook has seen is written as a 32-byte record into a file mapped by its thread alone.

   A process has one head, a page, and every thread has a chunk (`<pid>.<start>.<n>.ops`): a header, records growing upwards
   from it, texts growing downwards from the end. The first chunk, the head behind it, and the lines that Python writes behind
   that are one file, because making a file is the dearest part of a process's start; where there is no room for that much, the
   head has a file of its own (`<pid>.<start>.head`), with the lines. One unlocked add on the thread's own cursor
   reserves both, so a signal handler that interrupts a hook takes the next slot. A record counts when its time is not
   zero; that word is written last. Chunks are allocated on disk before they are mapped: a full disk is a counted loss,
   never SIGBUS. The kernel keeps the pages of a process that was killed, so what was written is not lost with it. */
#ifndef TRACEKIT_SPOOL_H
#define TRACEKIT_SPOOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "raw.h"

/* 2: head, first chunk and lines in one file. Readers refuse others. */
enum { TK_LAYOUT = 2, TK_FIRST = 1 << 16 /* bytes of the first chunk, behind which the head stands */ };

/* What a record says. Numbers are part of the layout: never reuse one. */
enum tk_kind {
    TK_READ = 1, TK_WRITE, TK_OPEN, TK_CLOSE, TK_STAT, TK_LIST, TK_MMAP, TK_DELETE, TK_RENAME, TK_TRUNCATE, TK_FSYNC,
    TK_FADVISE, TK_READAHEAD, TK_MKDIR, TK_RMDIR,
    TK_SPLICE_READ, /* a read the kernel does not count as one (splice) */
    TK_SPLICE_WRITE,
    TK_TOUCH = 28, /* pages found mapped: touched within dur; ret: the context may be another */
    TK_FILE = 32, /* text: struct tk_identity; where the file was not opened by name before our eyes, its path, and len: flags */
    TK_CWD,       /* text: the directory that this thread's relative paths are relative to, from here on */
    TK_THREAD,    /* from here on the chunk belongs to thread `ret` */
    TK_CONTEXT,   /* offset: sample, len: step, ret: epoch, dur: worker, file: run; all ones is "none", of run 0 */
    TK_EXEC,      /* text: path and arguments, each ended by a zero byte; ret: pid; len: errno when it failed */
    TK_LEFT = 40, /* a map whose pages are not looked at; ret: enum tk_touch_left */
    TK_PAGES, /* text: struct tk_pages and runs (residence.h) */
    TK_REAP = 44, /* ret: a child that ended and is being waited for; offset: bytes the kernel counted as read, or -1 */
};

struct tk_record {
    _Atomic uint64_t t; /* ticks (TSC) or ns (CLOCK_MONOTONIC) at submission; 0: not finished */
    int64_t offset;     /* bytes; or position << 32 | length of a text in this chunk */
    uint32_t len;       /* bytes asked for; open: its flags */
    int32_t ret;        /* bytes moved, or -errno; open: the descriptor */
    uint32_t dur;       /* ticks: low 29 bits shifted left by 5 x the high 3 */
    uint32_t what;      /* kind (6 bits), TK_WIDE, file << 7 */
};

enum { TK_WIDE = 64, TK_FILE_SHIFT = 7 }; /* TK_WIDE: `len` counts pages of 4096 bytes */
#define TK_LAST_FILE ((UINT32_C(1) << 25) - 1)

struct tk_identity {
    uint64_t device, inode, size;
    uint32_t mode, path_bytes;
};

struct tk_context {
    int64_t sample;
    uint32_t step, epoch, worker, run;
};

/* The header of a chunk, and the state of the thread that writes it. */
struct tk_thread {
    char magic[8]; /* "tkops\0\0\0" */
    uint32_t layout, header_bytes;
    uint64_t process_start;
    int32_t pid, tid, sequence, clock;
    uint64_t bytes; /* of the whole chunk */
    uint64_t anchor_ticks;
    int64_t anchor_ns;
    struct tk_context context; /* in force where the chunk begins */
    uint64_t refused; /* the cursor before the first reservation that found no room; 0: none yet */
    uint8_t unused[128 - 96];
    _Atomic uint64_t cursor; /* slots taken, text bytes taken << 32 */
    uint64_t ignored_read, ignored_written, ignored_calls;
    uint32_t seen_cwd; /* version of the working directory last noted */
    uint8_t vforked;   /* a child of vfork may be running on this thread's memory */
    uint8_t hushed;    /* names looked up and directories listed are not noted */
    struct tk_context now;
    struct tk_thread *before; /* the chunk this thread filled last, still mapped */
};
enum { TK_HEADER = 256 };
_Static_assert(sizeof(struct tk_record) == 32, "a record is 32 bytes");
_Static_assert(offsetof(struct tk_thread, cursor) == 128, "readers know where the cursor is");
_Static_assert(sizeof(struct tk_thread) <= TK_HEADER, "the header has its place");

/* The head of a process. */
struct tk_process {
    char magic[8]; /* "tkproc\0\0" */
    uint32_t layout, clock;
    uint64_t start; /* ticks: with the pid, the process's name */
    int64_t start_ns;
    int32_t pid, parent;
    _Atomic uint64_t lost, ignored_read, ignored_written, wrong_offsets;
    _Atomic uint32_t files, cwd, chunks, forks;
    _Atomic uint32_t confined; /* it installed a seccomp filter, and was left alone from then on */
    uint32_t with_chunk;       /* the head stands behind the first chunk, in one file */
};

struct tk_local {
    struct tk_thread *thread;
    uint32_t generation;
};

#if defined(__GLIBC__)
/* Two words of the loader's static surplus: no call and no allocation to reach them, also in a signal handler. */
#define TK_TLS __attribute__((tls_model("initial-exec"), visibility("hidden")))
#else
#define TK_TLS __attribute__((visibility("hidden")))
#endif
extern __thread struct tk_local tk_local TK_TLS;

extern struct tk_process *tk_process;
extern volatile uint32_t *tk_live; /* the generation, on a page that reads as zero in a forked child */
extern uint32_t tk_generation;
extern int tk_on;
extern int tk_clock_tsc;
extern uint8_t tk_always_ask; /* calls of vfork go unseen here: every chunk begins as if there had been one */

#define TK_LIKELY(x) __builtin_expect(!!(x), 1)
#define TK_UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline uint64_t tk_ticks(void)
{
#if defined(__x86_64__)
    if (TK_LIKELY(tk_clock_tsc))
        return __builtin_ia32_rdtsc();
#endif
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* CLOCK_MONOTONIC in ns and the time stamp counter (0 where there is none) at one moment. */
int64_t tk_anchor(uint64_t *ticks);

/* Begin spooling into `directory`. Returns NULL or the reason it cannot be done. */
const char *tk_spool_start(const char *directory, int tsc);

/* What else a forked child must forget; called once in it. */
extern void (*tk_spool_reborn)(void);

struct tk_thread *tk_attach(void);
struct tk_thread *tk_after_vfork(struct tk_thread *thread);
struct tk_thread *tk_turn(struct tk_thread *full);
void tk_count_apart(ssize_t read, ssize_t written);
void tk_count_lost(void);
void tk_count_lost_ops(uint64_t ops);
uint32_t tk_new_file(void);

/* Append a text to a file by one write, or to the lines of this process where `path` is empty; whether all of it is there. */
int tk_append_line(const char *path, const char *text, size_t bytes);

void tk_set_context(const struct tk_context *context);
void tk_thread_ends(void *unused);
void tk_block_signals(uint64_t *before);
void tk_restore_signals(const uint64_t *before);

/* The calling thread's chunk; NULL when nothing may be recorded or changed here: switched off, a child of vfork, or a
   forked child that another thread is just setting up. */
static inline struct tk_thread *tk_self(void)
{
    struct tk_thread *thread = tk_local.thread;
    if (TK_UNLIKELY(thread == NULL || tk_local.generation != *tk_live))
        return tk_attach();
    return TK_UNLIKELY(thread->vforked) ? tk_after_vfork(thread) : thread;
}

static inline uint64_t tk_advance(_Atomic uint64_t *cursor, uint64_t by)
{
#if defined(__x86_64__)
    /* One instruction, not locked: only this thread and its own signal handlers write here. */
    __asm__ volatile("xaddq %0, %1" : "+r"(by), "+m"(*cursor)::"cc");
    return by;
#else
    return atomic_fetch_add_explicit(cursor, by, memory_order_relaxed);
#endif
}

/* Reserve a slot in this chunk, and `text` bytes of room (their place is stored in *at); NULL when it is full. */
static inline struct tk_record *tk_take_in(struct tk_thread *chunk, uint32_t text, uint64_t *at)
{
    uint64_t was = tk_advance(&chunk->cursor, 1 | (uint64_t)text << 32);
    uint64_t slot = (uint32_t)was, used = (was >> 32) + text;
    if (TK_LIKELY(TK_HEADER + (slot + 1) * 32 + used <= chunk->bytes)) {
        if (text)
            *at = chunk->bytes - used;
        return (struct tk_record *)((char *)chunk + TK_HEADER) + slot;
    }
    if (chunk->refused == 0 || was < chunk->refused)
        chunk->refused = was;
    return NULL;
}

/* The same, in the next chunk where this one is full; *thread becomes the chunk that holds them. NULL when there is no space
   left: counted. */
static inline struct tk_record *tk_take(struct tk_thread **thread, uint32_t text, uint64_t *at)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        struct tk_thread *chunk = *thread;
        struct tk_record *record = tk_take_in(chunk, text, at);
        if (TK_LIKELY(record != NULL))
            return record;
        chunk = tk_turn(chunk);
        if (chunk == NULL)
            break;
        *thread = chunk;
    }
    tk_count_lost();
    return NULL;
}

static inline uint32_t tk_pack_duration(uint64_t ticks)
{
    uint32_t exponent = 0;
    while (TK_UNLIKELY(ticks >> 29) && exponent < 7) {
        ticks >>= 5;
        exponent++;
    }
    return (uint32_t)(ticks & 0x1fffffff) | exponent << 29;
}

/* Fill a reserved slot; the time goes last and makes it count. */
static inline void tk_fill(struct tk_record *record, uint32_t what, int64_t offset, uint64_t len, int64_t ret,
                           uint64_t begin, uint64_t end)
{
    if (TK_UNLIKELY(len > UINT32_MAX)) {
        len = (len + 4095) >> 12;
        len = len > UINT32_MAX ? UINT32_MAX : len;
        what |= TK_WIDE;
    }
    record->offset = offset;
    record->len = (uint32_t)len;
    record->ret = ret > INT32_MAX ? INT32_MAX : (int32_t)ret;
    record->dur = tk_pack_duration(end - begin);
    record->what = what;
    atomic_store_explicit(&record->t, begin, memory_order_release);
}

static inline void tk_note(struct tk_thread *thread, uint32_t what, int64_t offset, uint64_t len, int64_t ret,
                           uint64_t begin, uint64_t end)
{
    struct tk_record *record = tk_take(&thread, 0, NULL);
    if (TK_LIKELY(record != NULL))
        tk_fill(record, what, offset, len, ret, begin, end);
}

/* A record with a text, in this chunk; 0 when it is full. */
static inline int tk_note_name_in(struct tk_thread *thread, uint32_t what, uint64_t len, int64_t ret, uint64_t begin,
                                  uint64_t end, const char *text, size_t bytes)
{
    uint64_t at = 0;
    struct tk_record *record = tk_take_in(thread, (uint32_t)((bytes + 7) & ~UINT64_C(7)), &at);
    if (TK_UNLIKELY(record == NULL))
        return 0;
    memcpy((char *)thread + at, text, bytes);
    tk_fill(record, what, (int64_t)(at << 32 | bytes), len, ret, begin, end);
    return 1;
}

/* The same of up to two parts. */
int tk_note_text_in(struct tk_thread *thread, uint32_t what, uint64_t len, int64_t ret, uint64_t begin, uint64_t end,
                    const void *first, size_t first_bytes, const void *second, size_t second_bytes);

/* The same, in the next chunk where this one is full. */
void tk_note_text(struct tk_thread *thread, uint32_t what, uint64_t len, int64_t ret, uint64_t begin, uint64_t end,
                  const void *first, size_t first_bytes, const void *second, size_t second_bytes);

#endif
