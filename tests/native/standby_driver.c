/* Takes the core away from who watches for all streams: his first sleep does not end before another worker has done many of the
   ops that he should have. The supervisor, who would end the watch for that after some ten milliseconds, does not. What is here
   stands in for the engine's own functions (-Wl,--wrap).

   usage: standby_driver DIRECTORY */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tracekit/_native/engine.h"
#include "../../tracekit/_native/replay.h"

enum { STREAMS = 4, OPS = 200, BLOCK = 4096, BLOCKS = 64, GAP_NS = 800000, WANTED = 100 };
static const int64_t PATIENCE_NS = 20000000000;

static _Atomic int overslept;
static _Atomic int64_t meanwhile;

static int64_t done_by_others(const tk_worker *worker)
{
    int64_t done = 0;
    for (int32_t i = 0; i < worker->run->worker_count; i++)
        done += &worker->run->workers[i] == worker ? 0 : atomic_load(&worker->run->workers[i].done);
    return done;
}

void __real_tk_wake_for(tk_worker *worker, int64_t moment, int64_t after, uint32_t alarm, int32_t sleepers);
void __wrap_tk_wake_for(tk_worker *worker, int64_t moment, int64_t after, uint32_t alarm, int32_t sleepers)
{
    if (!tk_watch_held(worker->run) || atomic_exchange(&overslept, 1)) {
        __real_tk_wake_for(worker, moment, after, alarm, sleepers);
        return;
    }
    for (int64_t until = tk_now_ns() + PATIENCE_NS; tk_now_ns() < until && meanwhile < WANTED; meanwhile = done_by_others(worker))
        usleep(1000);
}

void __wrap_tk_worker_relief(tk_run *run)
{
    (void)run;
}

static tk_op ops[STREAMS * OPS];
static tk_stream streams[STREAMS];
static tk_result results[STREAMS * OPS];

static void plan(void)
{
    for (int i = 0; i < STREAMS * OPS; i++)
        ops[i] = (tk_op){.time = (int64_t)(i % OPS) * GAP_NS + i / OPS * (GAP_NS / STREAMS), .offset = (int64_t)(i % BLOCKS) * BLOCK,
                         .length = BLOCK, .order = (uint32_t)(i % OPS * STREAMS + i / OPS), .kind = TK_READ};
    for (int i = 0; i < STREAMS; i++)
        streams[i] = (tk_stream){.first = (int64_t)i * OPS, .count = OPS, .after = -1};
}

static int wrong_rows(void)
{
    int wrong = 0;
    for (int i = 0; i < STREAMS * OPS; i++) {
        const tk_result *row = &results[i];
        bool after = i % OPS == 0 || row->submit >= results[i - 1].complete;
        wrong += row->row != i || row->result != BLOCK || row->submit < row->due || !after;
    }
    return wrong;
}

int main(int count, char **arguments)
{
    static char block[BLOCK], path[4096];
    if (count != 2)
        return 2;
    snprintf(path, sizeof path, "%s/data", arguments[1]);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < BLOCKS; i++)
        if (write(fd, block, BLOCK) != BLOCK)
            return 2;
    plan();
    tk_file file = {.path = path, .advice = -1};
    tk_replay replay = {.how = TK_WORKERS, .pace = TK_RECORDED, .ops = ops, .op_count = STREAMS * OPS, .streams = streams,
                        .stream_count = STREAMS, .files = &file, .file_count = 1, .results = results, .results_fd = -1, .turns = 1,
                        .period = (int64_t)OPS * GAP_NS, .max_errors = -1, .workers = STREAMS, .handles = 2, .keys = 2,
                        .realtime = true};
    tk_outcome outcome;
    if (tk_replay_run(&replay, &outcome))
        return 2;
    if (!outcome.realtime)
        printf("no real-time priority\n");
    else
        printf("overslept %d, %s meanwhile, %d wrong\n", atomic_load(&overslept), meanwhile >= WANTED ? "many" : "too few", wrong_rows());
    return 0;
}
