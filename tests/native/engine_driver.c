/* Runs the replay engine without Python, for sanitizers: random plans from a seed, every invariant checked.

   usage: engine_driver DIRECTORY SEED RUNS native|uring */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tracekit/_native/raw.h"
#include "../../tracekit/_native/replay.h"
#include "chance.h"

enum { FILES = 6, FILE_BYTES = 300000, STREAMS = 12, OPS = 40, TURNS = 3 };

#if defined(__x86_64__) || defined(__aarch64__)
/* rawnet.c's, which is the recorder's. */
__thread volatile uint8_t tk_selector __attribute__((tls_model("initial-exec"), visibility("hidden")));
#endif

static int failures;
static void check(int fine, const char *what, uint64_t seed)
{
    if (!fine) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, what);
        failures++;
    }
}

typedef struct {
    tk_op ops[STREAMS * OPS];
    tk_stream streams[STREAMS];
    tk_file files[FILES];
    char paths[FILES][512], scratch[FILES][512];
    tk_result results[STREAMS * OPS * TURNS];
    tk_replay replay;
    int listened, stop_after;
} plan;

static bool hear(void *argument, const tk_progress *progress)
{
    plan *mine = argument;
    (void)progress;
    return mine->stop_after == 0 || ++mine->listened < mine->stop_after;
}

static void draw_ops(plan *made, int64_t *count)
{
    int streams = 1 + (int)draw(STREAMS);
    bool only_reads = draw(3) == 0, crowded = draw(2) == 0;
    *count = 0;
    made->replay.helped = !only_reads;
    for (int s = 0; s < streams; s++) {
        int mine = 1 + (int)draw(OPS);
        int after = s > 0 && draw(4) == 0 ? (int)draw((uint64_t)s) : -1;
        made->streams[s] = (tk_stream){.first = *count, .count = mine, .after = after, .group = s % 3};
        int64_t time = 0;
        for (int i = 0; i < mine; i++, (*count)++) {
            uint64_t pick = draw(100);
            uint8_t kind = only_reads || pick < 70 ? TK_READ : (uint8_t)draw(TK_KINDS);
            time = made->replay.pace == TK_RECORDED ? time + (int64_t)draw(200000) : (int64_t)draw(100000);
            if (crowded) /* many at one moment */
                time = time / 300000 * 300000;
            made->ops[*count] = (tk_op){.time = time, .offset = (int64_t)draw(FILE_BYTES), .length = (uint32_t)draw(70000),
                                        .file = (int32_t)draw(FILES), .order = (uint32_t)*count, .kind = kind};
        }
    }
    made->replay.stream_count = streams;
}

static void draw_plan(plan *made, const char *directory, enum tk_how how)
{
    memset(made, 0, sizeof *made);
    tk_replay *replay = &made->replay;
    replay->how = how;
    replay->pace = (enum tk_pace)draw(3);
    draw_ops(made, &replay->op_count);
    for (int f = 0; f < FILES; f++) {
        snprintf(made->paths[f], sizeof made->paths[f], "%s/%s%d", directory, f == 5 ? "missing" : "data", f);
        snprintf(made->scratch[f], sizeof made->scratch[f], "%s/scratch%d", directory, f);
        made->files[f] = (tk_file){.path = made->paths[f], .scratch = made->scratch[f], .advice = -1,
                                   .align = f == 1 ? 4096 : 0, .flags = f == 2 ? TK_CHANGED | TK_IN_SCRATCH : TK_CHANGED};
        if (f == 3 || f == 5) /* one handle for all streams, and a file for which there is none */
            made->files[f].flags |= TK_RESIDENT;
    }
    replay->ops = made->ops;
    replay->streams = made->streams;
    replay->files = made->files;
    replay->file_count = FILES;
    replay->results = made->results;
    replay->results_fd = -1;
    if (draw(3) == 0) { /* as a run does that is longer than memory */
        replay->results = NULL;
        replay->chunks = STREAMS + 1 + (int)draw(8);
    }
    replay->turns = 1 + (int64_t)draw(TURNS);
    replay->period = 8000000;
    replay->max_ops = draw(3) == 0 ? 1 + (int64_t)draw(4) : 0;
    replay->max_bytes = draw(3) == 0 ? 1 + (int64_t)draw(100000) : 0;
    replay->max_errors = draw(10) == 0 ? (int64_t)draw(20) : -1;
    replay->workers = 1 + (int)draw(STREAMS);
    replay->handles = 1 + (int)draw(12);
    replay->keys = how == TK_URING ? 2 * FILES * STREAMS : 2 * FILES;
    replay->spare_bytes = (int64_t)draw(1 << 20);
    replay->realtime = draw(4) == 0;
    if (!replay->helped && draw(4) != 0) { /* as one worker watches for all: paced reads through the page cache, without caps */
        replay->max_ops = replay->max_bytes = 0;
        replay->realtime = true;
        replay->handles = 2 * FILES;
        for (int f = 0; f < FILES; f++)
            made->files[f].align = 0;
    }
    replay->listen = hear;
    replay->listener = made;
    made->stop_after = draw(20) == 0 ? 1 : 0;
}

/* Most ops and bytes in flight at any submit, by brute force. */
static void check_caps(const plan *made, int64_t rows, uint64_t seed)
{
    const tk_replay *replay = &made->replay;
    for (int64_t i = 0; i < rows; i++) {
        const tk_result *at = &made->results[i];
        int64_t ops = 0;
        if (at->submit == 0)
            continue;
        for (int64_t j = 0; j < rows; j++) {
            const tk_result *other = &made->results[j];
            ops += other->submit && other->submit <= at->submit && other->complete > at->submit;
        }
        check(!replay->max_ops || ops <= replay->max_ops, "more ops in flight than the cap", seed);
    }
}

static void check_stream(const plan *made, int s, bool complete, uint64_t seed)
{
    const tk_replay *replay = &made->replay;
    const tk_stream *stream = &replay->streams[s];
    const tk_result *rows = &made->results[stream->first * replay->turns];
    int64_t count = stream->count * replay->turns, before = 0;
    bool ended = false;
    for (int64_t i = 0; i < count; i++) {
        if (rows[i].submit == 0) {
            ended = true;
            continue;
        }
        check(!ended, "an op after one that was not issued", seed);
        check(rows[i].row == stream->first * replay->turns + i, "a record in the wrong row", seed);
        check(rows[i].submit >= rows[i].due, "an op before it was due", seed);
        check(rows[i].submit >= before, "an op before the one ahead of it had completed", seed);
        check(rows[i].complete >= rows[i].submit, "an op that ended before it began", seed);
        check(rows[i].submit >= rows[i].free, "an op before its stream was free", seed);
        const tk_op *op = &replay->ops[stream->first + i % stream->count];
        if (op->kind == TK_READ && op->file < 5 && op->file != 2 && !rows[i].error) {
            int64_t left = FILE_BYTES - op->offset;
            check(rows[i].result == (op->length < left ? op->length : left), "a read of another size", seed);
        }
        before = rows[i].complete;
    }
    check(!complete || !ended, "an op that was not issued", seed);
}

static int64_t longest(const plan *made)
{
    int64_t rows = 0;
    for (int s = 0; s < made->replay.stream_count; s++)
        rows += made->streams[s].count * made->replay.turns;
    return rows;
}

/* The row of the op with this number in the order across streams. */
static int64_t row_of(const plan *made, int64_t number)
{
    const tk_replay *replay = &made->replay;
    int64_t turn = number / replay->op_count, op = number % replay->op_count;
    for (int s = 0; s < replay->stream_count; s++) {
        const tk_stream *stream = &replay->streams[s];
        if (op >= stream->first && op < stream->first + stream->count)
            return stream->first * replay->turns + turn * stream->count + op - stream->first;
    }
    return -1;
}

/* The records of a file, each to its row. */
static void collect(plan *made, FILE *log, uint64_t seed)
{
    tk_result result;
    int64_t rows = made->replay.op_count * made->replay.turns;
    rewind(log);
    while (fread(&result, sizeof result, 1, log) == 1) {
        result.row = result.row < 0 || result.row >= rows ? -1 : row_of(made, result.row);
        bool fresh = result.row >= 0 && made->results[result.row].submit == 0;
        check(fresh, "a record of no row, or a second one", seed);
        if (fresh)
            made->results[result.row] = result;
    }
}

/* Reads block again. */
static void drop_pages(const plan *made)
{
    for (int f = 0; f < FILES; f++) {
        int fd = open(made->paths[f], O_RDONLY);
        if (fd < 0)
            continue;
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static void run_one(const char *directory, uint64_t seed, enum tk_how how)
{
    static plan made;
    tk_outcome outcome;
    sow(seed);
    draw_plan(&made, directory, how);
    FILE *log = made.replay.results ? NULL : tmpfile();
    if (log)
        made.replay.results_fd = fileno(log);
    if (draw(4) == 0)
        drop_pages(&made);
    int error = tk_replay_run(&made.replay, &outcome);
    if (log) {
        collect(&made, log, seed);
        fclose(log);
    }
    check(error == 0, "the run did not start", seed);
    check(outcome.stopped != TK_BROKEN, "the run broke", seed);
    int64_t rows = longest(&made);
    for (int s = 0; s < made.replay.stream_count; s++)
        check_stream(&made, s, outcome.stopped == TK_RUNNING, seed);
    check_caps(&made, rows, seed);
    check(!made.replay.max_ops || outcome.peak_ops <= made.replay.max_ops, "the gate's own peak above the cap", seed);
    check(outcome.stopped || outcome.progress.done == rows, "not as many done as there are", seed);
}

int main(int count, char **arguments)
{
    if (count != 5)
        return 2;
    char path[512], block[FILE_BYTES];
    memset(block, 7, sizeof block);
    for (int f = 0; f < FILES - 1; f++) {
        snprintf(path, sizeof path, "%s/data%d", arguments[1], f);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || write(fd, block, sizeof block) != (ssize_t)sizeof block)
            return 2;
        close(fd);
    }
    uint64_t first = strtoull(arguments[2], NULL, 10), runs = strtoull(arguments[3], NULL, 10);
    for (uint64_t i = 0; i < runs; i++)
        run_one(arguments[1], first + i, strcmp(arguments[4], "uring") ? TK_WORKERS : TK_URING);
    printf("%llu runs, %d failures\n", (unsigned long long)runs, failures);
    return failures != 0;
}
