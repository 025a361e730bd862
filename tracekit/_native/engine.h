/* The replay engine: what its parts share. Times are CLOCK_MONOTONIC nanoseconds, sizes bytes.

   engine.c   the run: threads, the supervisor (signals, progress), the door for Python
   guard.c    real-time priority, given up before the kernel takes it
   standstill.c  whether the machine itself stood still
   streams.c  when the next op of each stream is due, and which stream is next
   waits.c    claims whose moment has not come, which others may take when it has
   gate.c     caps on ops and bytes in flight, first come first served
   lock.c     the lock of what takes no time
   wake.c     how long before a moment a thread wakes, and the sleep until then
   files.c    descriptors: handles of each stream, and those of recorded opens
   issue.c    how each kind of op is done
   ahead.c    what is opened before the run begins
   memory.c   destination buffers by size class
   results.c  one record per op, to an array or through a ring of chunks to a file
   workers.c  engine "native": threads that claim the next due op
   quick.c    their reads in a row, where there is nothing to wait for
   watch.c    whether one of them watches for all: where reads do not block
   post.c     what each of them does then
   cached.c   the reads of who watches: they say when they would block
   uring.c    engine "uring": one thread and an io_uring
   helpers.c  threads that do what would hold the ring up */
#ifndef TRACEKIT_ENGINE_H
#define TRACEKIT_ENGINE_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pace.h"
#include "post.h"

/* The values of tracekit.replay.compile.Kind. */
enum tk_kind { TK_READ, TK_OPEN, TK_CLOSE, TK_STAT, TK_LIST, TK_MMAP, TK_FSYNC, TK_WRITE, TK_DELETE, TK_KINDS };
enum tk_pace { TK_RECORDED, TK_THINK, TK_ASAP };
enum tk_how { TK_WORKERS, TK_URING };
enum { TK_NOW = 0 }; /* a due time: at once */

/* The layouts of these four are also those of tracekit.replay.native (NumPy structured types); a test compares them. */
enum { TK_EXPECTED = 1 }; /* tk_op.flags: it failed in the recording too */
typedef struct {
    int64_t time;   /* recorded: due after the start of the run; think: think time before it */
    int64_t offset; /* of a write, -1: at the end */
    uint32_t length;
    int32_t file;
    uint32_t order; /* its place among the ops of all streams */
    uint8_t kind;
    uint8_t flags;
    uint8_t unused[2];
} tk_op;

typedef struct {
    int64_t first; /* its ops are ops[first] to ops[first + count - 1] */
    int64_t count;
    int32_t after; /* closed loop: the stream whose end its start waits for; -1 for the start of the run */
    int32_t group; /* streams of one group close each other's files */
} tk_stream;

/* tk_file.flags: read from there; written, synced or deleted there; all of it is in memory, so that nothing is read ahead */
enum { TK_IN_SCRATCH = 1, TK_CHANGED = 2, TK_RESIDENT = 4 };
typedef struct {
    const char *path;
    const char *scratch; /* where changes go; NULL when there are none */
    uint32_t align;      /* O_DIRECT with this alignment; 0: through the page cache */
    int32_t advice;      /* for posix_fadvise(2); -1: none */
    uint32_t flags;
    uint32_t unused;
} tk_file;

typedef struct {
    int64_t row; /* in an array: its place there, first * repetitions + repetition * count + position in the stream;
                    in a file: its number in the order across streams, behind those of the repetitions before */
    int64_t due;
    int64_t free; /* when its stream could issue it */
    int64_t submit;
    int64_t complete;
    int64_t stall;  /* wait at the gate */
    int64_t worker; /* wait for a free worker or ring slot */
    int32_t result; /* bytes moved, -1 where the kind moves none or failed */
    int32_t error;
} tk_result;

/* -- lock.c -- */
typedef _Atomic uint32_t tk_lock; /* 0: free */
void tk_lock_take(tk_lock *lock);
void tk_lock_leave(tk_lock *lock);

/* -- wake.c -- */
enum { TK_WAKE_PARTS = 8 };
typedef struct {
    int64_t late[2];     /* how late short and long sleeps end, ns */
    int sleeps[2];       /* how many of them are known, as far as that matters */
    int64_t looked, cpu; /* at the last look: when, and the thread's CPU time */
    int less;            /* how much less early than that, in eighths */
    bool opened;         /* timers: from the first use on */
    int timers[2];       /* set ahead in turn; -1: there is none */
    int64_t ahead;       /* for when the last of them is set */
} tk_wake;
void tk_wake_close(tk_wake *wake);
int64_t tk_wake_at(const tk_wake *wake, int64_t moment, int64_t sleep);
int64_t tk_wake_pays(const tk_wake *wake, int64_t moment);
int64_t tk_wake_apart(const tk_wake *wake, int64_t takes);
void tk_wake_ahead(tk_wake *wake, int64_t moment);
int64_t tk_wake_early(const tk_wake *wake, int64_t sleep);
void tk_wake_ended(tk_wake *wake, int64_t sleep, int64_t late);
void tk_wake_look(tk_wake *wake, int64_t now);
void tk_pause(void);

/* -- memory.c -- */
enum { TK_CLASSES = 34 };
typedef struct tk_block tk_block;
typedef struct {
    tk_lock lock;
    tk_block *spare[TK_CLASSES];
    int64_t held;  /* bytes in spare blocks */
    int64_t limit; /* how many of them may be kept */
    bool shared;   /* by several threads */
} tk_pool;
typedef struct {
    void *address;
    int size_class;
} tk_buffer;

void tk_pool_open(tk_pool *pool, int64_t limit, bool shared);
void tk_pool_close(tk_pool *pool);
void tk_pool_give(tk_pool *pool, tk_buffer *buffer);
bool tk_pool_fit(tk_pool *pool, size_t length, tk_buffer *buffer);

/* -- gate.c -- */
typedef struct tk_ticket {
    struct tk_ticket *next;
    int64_t size;
    _Atomic uint32_t state;
} tk_ticket;
typedef struct {
    tk_lock lock;
    int64_t max_ops, max_bytes; /* 0: no cap */
    int64_t ops, bytes, peak_ops, peak_bytes;
    tk_ticket *first, *last;
    bool closed;
} tk_gate;

void tk_gate_open(tk_gate *gate, int64_t max_ops, int64_t max_bytes);
bool tk_gate_try(tk_gate *gate, int64_t size);
bool tk_gate_enter(tk_gate *gate, tk_ticket *ticket, int64_t size);
void tk_gate_leave(tk_gate *gate, int64_t size);
void tk_gate_close(tk_gate *gate);

/* -- results.c -- */
enum { TK_CHUNK = 2048 };
typedef struct tk_chunk tk_chunk;
typedef _Atomic(tk_chunk *) tk_own_chunk; /* the one a thread writes into, NULL: none */
typedef struct {
    tk_result *rows; /* NULL: through chunks to `fd` */
    int fd;
    pthread_mutex_t lock;
    tk_chunk *full, *full_last, *spare;
    int full_count, made, limit;
    const tk_worker *threads; /* whose chunks they are */
    int thread_count;
    pthread_t writer;
    bool writing;              /* there is a writer */
    _Atomic bool closing;      /* the writer is to end */
    _Atomic uint32_t call;     /* futex: the writer looks at once */
    _Atomic uint32_t returned; /* futex: chunks given back so far */
    _Atomic int64_t stalls;    /* how often a thread waited for a chunk */
    _Atomic int error;         /* errno of a failed write, 0 */
} tk_results;

bool tk_took_longer(const tk_result *result, int64_t than);
int tk_results_open(tk_results *results, tk_result *rows, int64_t count, int fd, int limit);
void tk_results_free(tk_results *results);
void tk_results_put(tk_results *results, tk_own_chunk *mine, const tk_result *result);
void tk_results_flush(tk_results *results, tk_own_chunk *mine);
int tk_results_start(tk_results *results, const tk_worker *threads, int count);
int tk_results_close(tk_results *results);

/* -- streams.c -- */
typedef struct {
    const tk_stream *plan;
    int64_t position; /* next op */
    int64_t turn;     /* repetition */
    int64_t free;     /* when the stream could issue its next op */
    int64_t due;      /* when that op is due */
    int64_t debt;     /* think mode: own lateness that the next think times pay */
    int64_t ended;    /* repetitions completed */
    int64_t end;      /* when the last of them was over */
    int32_t waiters;  /* first of the streams anchored at this one's end, -1 */
    int32_t sibling;  /* the next of those, -1 */
    bool waiting;     /* for its anchor, or for the end of the repetition */
    _Atomic uint32_t ticket; /* of the claim that waits for its moment; 0: there is none */
} __attribute__((aligned(64))) tk_state;

typedef struct {
    int64_t key;
    int32_t stream;
    union {
        uint32_t ticket; /* in `waits` */
        uint32_t length; /* in `heap`: of the stream's next op */
    };
} tk_entry;
typedef struct {
    tk_entry *entries; /* the least key first */
    int32_t count;
} tk_heap;

typedef struct {
    const tk_op *ops;
    const tk_stream *plans;
    int64_t op_count;
    int32_t stream_count;
    enum tk_pace pace;
    int64_t turns, period, start;
    bool in_order; /* issue order across streams is kept */
    bool release;  /* ops are a mapped file: pages are given back behind us */
    int64_t release_ops; /* after so many ops of a stream */
    tk_state *states;
    tk_heap heap;  /* streams with an op to issue */
    tk_heap waits; /* claims that wait for their moment, and some that no longer do */
    int32_t room;  /* in `waits` */
    uint32_t tickets;
    int32_t unfinished; /* streams that have not completed their last op */
    int32_t in_turn;    /* closed loop: streams that have not completed this repetition */
} tk_streams;

/* What is to be known of an op to issue it. */
typedef struct {
    int32_t stream;
    const tk_op *op;
    int64_t row;
    int64_t number; /* in the order across streams */
    int64_t due;
    int64_t free;
} tk_claim;

int tk_streams_open(tk_streams *streams, int32_t workers);
void tk_streams_free(tk_streams *streams);
void tk_streams_start(tk_streams *streams, int64_t start);
const tk_entry *tk_streams_top(const tk_streams *streams);
int32_t tk_streams_pop(tk_streams *streams);
void tk_streams_push(tk_streams *streams, int32_t stream);
void tk_streams_look(const tk_streams *streams, int32_t stream, tk_claim *claim);
void tk_streams_ready(tk_streams *streams, int32_t stream, int64_t due, int64_t ready);
bool tk_streams_next(tk_streams *streams, int32_t stream, int64_t complete);
int64_t tk_streams_foresee(const tk_streams *streams, int64_t moment, int64_t apart);
int tk_streams_end(tk_streams *streams, int32_t stream, int64_t complete);

/* -- waits.c -- */
void tk_heap_push(tk_heap *heap, tk_entry entry);
tk_entry tk_heap_pop(tk_heap *heap);
uint32_t tk_waits_add(tk_streams *streams, const tk_claim *claim);
bool tk_waits_over(tk_streams *streams, int32_t stream, uint32_t ticket);
int32_t tk_waits_take(tk_streams *streams, int64_t now, int64_t before);

/* -- files.c -- */
enum { TK_PINNED = -1 }; /* in place of an errno: no handle can give way now */
typedef struct {
    int64_t key; /* -1: empty */
    int32_t fd;
    uint32_t used;
    int32_t users; /* ops in flight on it */
} tk_handle;
typedef struct {
    tk_handle *slots;
    int32_t sets, ways;
    uint32_t clock;
    uint32_t opened; /* how often a file was opened for one of them */
} tk_handles;
typedef struct tk_opened tk_opened;
typedef struct {
    pthread_mutex_t lock;
    tk_opened **buckets;
    int64_t unmatched;
} tk_recorded;

int tk_handles_open(tk_handles *handles, int32_t capacity, int64_t keys, int32_t files);
void tk_handles_close(tk_handles *handles);
tk_handle *tk_handle_for(tk_handles *handles, int64_t key, const tk_file *file, bool change, int *error);
void tk_handle_prefetch(const tk_handles *handles, int64_t key);
tk_handle *tk_common_open(const tk_file *files, int32_t count);
void tk_common_close(tk_handle *common, int32_t count);
void tk_handle_drop(tk_handles *handles, int64_t key);
int tk_recorded_open(tk_recorded *recorded);
void tk_recorded_free(tk_recorded *recorded);
int tk_recorded_put(tk_recorded *recorded, int32_t group, int32_t file, int fd);
int tk_recorded_take(tk_recorded *recorded, int32_t group, int32_t file);

/* -- issue.c -- */
enum { TK_FILLING = 1 << 20 };
typedef struct {
    const tk_file *files;
    const void *filling; /* TK_FILLING bytes that writes write, again and again */
    tk_recorded recorded;
    tk_handle *common; /* by file: a handle for all streams, fd -1: each has its own; NULL: so it is for all files */
} tk_issue;

/* An op with everything it needs: which descriptor, and for reads the range that is really asked for. */
typedef struct {
    tk_handle *handle; /* NULL: an op on names, or one whose file could not be opened */
    int64_t first;
    uint32_t span;
    int error; /* why there is no handle */
} tk_aim;

bool tk_moves(const tk_op *op);
int64_t tk_read_at(int fd, void *address, size_t length, int64_t offset, int *error);
int64_t tk_weight(const tk_issue *issue, const tk_op *op);
int64_t tk_key(const tk_issue *issue, int32_t stream, const tk_op *op);
void tk_aim_at(tk_issue *issue, tk_handles *handles, int64_t key, const tk_op *op, tk_aim *aim);
void tk_aim_prefetch(const tk_issue *issue, const tk_handles *handles, int64_t key, const tk_op *op);
int64_t tk_issue_op(tk_issue *issue, tk_handles *handles, int32_t group, int64_t key, const tk_op *op, const tk_aim *aim,
                    void *address, int *error);
int64_t tk_delivered(const tk_issue *issue, const tk_op *op, int64_t result);

/* -- engine.c -- */
enum { TK_HELPERS = 4 };
typedef struct {
    _Atomic int32_t tid; /* 0: there is none */
    int64_t cpu;         /* supervisor: CPU time at its last look */
} tk_helper;
struct tk_worker {
    tk_run *run;
    pthread_t thread;
    tk_own_chunk chunk;
    tk_buffer small, large; /* for reads of up to TK_SMALL: kept; for others */
    uint32_t index;
    int64_t idle_since; /* when it last had nothing to do; 0: it has */
    _Atomic int64_t done;
    _Atomic int64_t bytes; /* asked of the system, after rounding */
    _Atomic int64_t moved; /* delivered, as results say */
    _Atomic int64_t busy;  /* ns in ops */
    _Atomic int64_t late;  /* of the last op, ns */
    _Atomic int32_t tid;
    _Atomic bool in_call; /* doing an op now, where workers are fewer than streams */
    bool blocked;         /* its last op did, most likely */
    bool cached;          /* its last op is known not to have */
    int64_t called;       /* when it last asked for more workers */
    int64_t cpu;          /* supervisor: CPU time at its last look */
    tk_wake wake;
} __attribute__((aligned(64)));

enum tk_stop { TK_RUNNING, TK_ASKED, TK_ERRORS, TK_BROKEN };
struct tk_run {
    tk_streams streams;
    tk_issue issue;
    tk_gate gate;
    bool gated;
    bool quick; /* no schedule, no caps, no order across streams: an op has nothing to wait for */
    tk_results results;
    tk_pool pool;
    tk_handles *handles; /* native: one per stream, or per worker where those are apart; uring: one for all */
    int32_t tables;      /* how many of them */
    bool apart;          /* each worker has a table of descriptors of its own */
    bool helped;  /* uring: there are ops that are no reads */
    bool preopen; /* there is room for every handle that is ever asked for */
    bool opened;  /* and all of them are open */
    int32_t file_count;
    enum tk_how how;
    tk_worker *workers;
    int32_t worker_count;
    tk_helper helpers[TK_HELPERS]; /* uring */
    int64_t max_errors;     /* -1: never stop */
    int64_t start_at;       /* the earliest start */
    tk_lock lock;           /* native: guards `streams` */
    _Atomic uint32_t ready; /* futex: threads that are prepared */
    _Atomic uint32_t go;    /* futex: the run has begun */
    _Atomic uint32_t alarm; /* futex: sleepers look again */
    _Atomic uint32_t bell;  /* futex: idle workers look again */
    _Atomic int32_t idle;
    _Atomic uint32_t active; /* futex: how many workers take part; the others are parked */
    _Atomic uint32_t least;  /* not to be parked */
    _Atomic int32_t sleepers; /* threads that wait for a moment of their own */
    _Atomic int32_t watching; /* threads that look at the clock until their moment */
    tk_post post;
    bool stranded; /* an op was long overdue at the supervisor's last look */
    int32_t cores;
    _Atomic int64_t in_turn; /* order across streams: the number of the op whose turn it is */
    _Atomic int64_t errors;  /* ops that failed and had not in the recording */
    _Atomic int32_t stop;
    _Atomic uint32_t alive;  /* futex: workers still running */
    _Atomic int32_t trouble; /* errno that kept the engine from going on */
};

/* -- guard.c -- */
typedef struct {
    bool wanted, held;
    int64_t checked, cpu, calm_since;
    int32_t taken_away;
    int policy; /* of the calling thread, before */
    struct sched_param parameter;
} tk_guard;
int tk_guard_raise(tk_run *run, tk_guard *guard);
void tk_guard_lower(tk_guard *guard);
void tk_guard_look(tk_run *run, tk_guard *guard);

tk_handles *tk_handles_of(const tk_worker *worker, int32_t stream);
void tk_ahead(tk_run *run, int64_t handles); /* ahead.c */
void tk_ahead_direct(tk_run *run);
void tk_run_stop(tk_run *run, enum tk_stop why);
uint32_t tk_run_first(const tk_run *run, bool realtime);
void tk_run_call(tk_run *run, uint32_t count);
void tk_run_finish(tk_run *run);
void tk_run_record(tk_worker *worker, const tk_claim *claim, const tk_aim *aim, tk_result *result);

/* -- workers.c, quick.c, uring.c -- */
enum { TK_QUICK_NS = 25000 }; /* an op that takes longer than that, and 1 ns a byte, has most likely blocked */
enum { TK_SMALL = 1 << 16 }; /* a buffer of this size is kept between ops, a larger one belongs to the bytes in flight */
void tk_worker_main(tk_worker *worker);
void tk_worker_await_call(tk_worker *worker);
void tk_worker_relief(tk_run *run);
tk_buffer *tk_worker_buffer(tk_worker *worker, const tk_aim *aim);
void tk_worker_allocate(tk_worker *worker, const tk_op *op, tk_aim *aim);
void tk_watch_count(tk_run *run, const tk_result *result, bool blocked);
bool tk_cached_read(const tk_aim *aim, char *address, int64_t *moved, int *error);
void tk_wake_for(tk_worker *worker, int64_t moment, int64_t after, uint32_t alarm, int32_t sleepers);
void tk_quick_reads(tk_worker *worker, tk_claim *claim);
typedef struct tk_uring tk_uring;
int tk_uring_open(tk_uring **uring, tk_worker *worker);
void tk_uring_main(tk_uring *uring);
void tk_uring_close(tk_uring *uring);

/* Futexes, with an absolute CLOCK_MONOTONIC deadline (0: none). */
void tk_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline_ns);
void tk_futex_wake(_Atomic uint32_t *word, int count);
/* A mutex that a real-time thread can wait for without being held up by a preempted normal one. */
int tk_mutex_open(pthread_mutex_t *mutex);

#endif
