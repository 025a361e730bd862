/* When who is idle looks after who watches, and how far a moment must be away for a sleep to pay: what watch.c and wake.c say, held against what they
   are to say. Prints what is wrong. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "../../tracekit/_native/engine.h"
#include "../../tracekit/_native/standstill.h"

static int failures;

static void expect(const char *what, int64_t is, int64_t wanted)
{
    if (is == wanted)
        return;
    printf("%s: %lld, not %lld\n", what, (long long)is, (long long)wanted);
    failures++;
}

/* The looks of a run whose ops are so far apart: `calm` ns apart, and `alert` for half a second after an op was overdue. */
static void check_looks(const char *what, int64_t apart, int64_t calm, int64_t alert)
{
    static tk_run run;
    memset(&run, 0, sizeof run);
    run.streams.op_count = 1000;
    run.streams.period = 1000 * apart;
    tk_watch_plan(&run, true);
    int64_t begun = 1000000123, now = begun + 777;
    run.post.looks = begun;
    atomic_store(&run.post.idle, 1);
    for (int i = 0; i < 2; i++) { /* from one look to the next */
        int64_t next = tk_watch_look(&run.post, now, false), after = tk_watch_look(&run.post, next, false);
        expect(what, after - next, calm);
        expect(what, (next - begun) % calm, 0);
        expect(what, next > now, true);
        now = after;
    }
    int64_t overdue = now, soon = tk_watch_look(&run.post, overdue, true);
    expect(what, tk_watch_look(&run.post, soon, false) - soon, alert);
    now = overdue + 500000001;
    int64_t next = tk_watch_look(&run.post, now, false);
    expect(what, tk_watch_look(&run.post, next, false) - next, calm);
}

static void check_sleeps(void)
{
    tk_wake wake = {.late = {16000, 40000}, .sleeps = {8, 8}, .ahead = 1};
    int64_t moment = 1000000000;
    expect("a sleep whose timer is set when it begins", tk_wake_pays(&wake, moment), 16000);
    wake.ahead = moment - 8000;
    expect("one whose timer is set ahead", tk_wake_pays(&wake, moment), 8000);
    wake = (tk_wake){.late = {16000, 40000}, .sleeps = {8, 8}, .ahead = 1, .less = TK_WAKE_PARTS / 2};
    expect("of a thread that is half as much awake", tk_wake_pays(&wake, moment), 8000);
    wake.less = TK_WAKE_PARTS;
    expect("of one that hardly sleeps", tk_wake_pays(&wake, moment), 3000);
    wake = (tk_wake){.late = {4800, 40000}, .sleeps = {8, 8}, .ahead = 1};
    expect("where clocks are cheap", tk_wake_pays(&wake, moment), 3000);
}

int main(void)
{
    cpu_set_t ours;
    check_sleeps();
    if (sched_getaffinity(0, sizeof ours, &ours) == 0 && CPU_COUNT(&ours) > 1) {
        check_looks("20,000 ops/s", 50000, TK_SENTINEL_NS, TK_SENTINEL_NS / 4);
        check_looks("100,000 ops/s", 10000, TK_SENTINEL_NS / 4, TK_SENTINEL_NS / 8);
        check_looks("1,000 ops/s", 1000000, TK_SENTINEL_NS / 16 * 2, TK_SENTINEL_NS / 16);
    }
    printf("%d failures\n", failures);
    return failures > 0;
}
