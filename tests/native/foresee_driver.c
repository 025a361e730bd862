/* Holds what the engine foresees of a schedule against all of its moments in order: random plans, random moments.

   usage: foresee_driver PLANS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tracekit/_native/engine.h"

enum { STREAMS = 7, OPS = 30, ASKED = 20, MOST_GAP = 50, FORESEEN = 8 };

static int by_size(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

/* The first of the sorted moments behind `moment` that is more than `apart` behind the one before it. */
static int64_t expected(const int64_t *moments, int count, int64_t moment, int64_t apart)
{
    int at = 0;
    for (int look = 0; look < FORESEEN; look++) {
        while (at < count && moments[at] <= moment)
            at++;
        if (at == count)
            return 0;
        if (moments[at] - moment > apart)
            return moments[at];
        moment = moments[at];
    }
    return 0;
}

static int wrong(int64_t start)
{
    static tk_op ops[STREAMS * OPS];
    static int64_t moments[STREAMS * OPS];
    tk_stream plans[STREAMS];
    int failures = 0, used = 1 + rand() % STREAMS, count = used * OPS;
    memset(ops, 0, sizeof ops);
    for (int stream = 0; stream < used; stream++) {
        plans[stream] = (tk_stream){.first = stream * OPS, .count = OPS, .after = -1};
        int64_t at = 0;
        for (int i = stream * OPS; i < (stream + 1) * OPS; i++) {
            ops[i].time = at += 1 + rand() % MOST_GAP;
            moments[i] = start + at;
        }
    }
    qsort(moments, (size_t)count, sizeof *moments, by_size);
    tk_streams streams = {.ops = ops, .plans = plans, .op_count = count, .stream_count = used, .pace = TK_RECORDED,
                          .turns = 1};
    if (tk_streams_open(&streams, 2))
        return 1;
    tk_streams_start(&streams, start);
    for (int i = 0; i < ASKED; i++) {
        int64_t moment = start + rand() % (OPS * MOST_GAP), apart = rand() % 20;
        failures += tk_streams_foresee(&streams, moment, apart) != expected(moments, count, moment, apart);
    }
    tk_streams_free(&streams);
    return failures;
}

int main(int argument_count, char **arguments)
{
    int plans = argument_count == 2 ? atoi(arguments[1]) : 0, failures = 0;
    for (int i = 0; i < plans; i++)
        failures += wrong(1000 + i);
    printf("%d plans, %d failures\n", plans, failures);
    return failures > 0;
}
