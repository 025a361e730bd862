/* Reads in a row: a worker that has its stream to itself, in a run without schedule, caps or order across streams. Every op
   does what workers.c would do; what it would ask each time (is it due, is there room, whose turn is it) is known here. */
#define _GNU_SOURCE
#include "engine.h"

/* Issue the claimed read and those that follow it, up to the first op that is none, needs a large buffer, cannot be aimed, or
   is the last of its repetition. The claim is then that op. */
void tk_quick_reads(tk_worker *worker, tk_claim *claim)
{
    tk_run *run = worker->run;
    tk_handles *handles = tk_handles_of(worker, claim->stream);
    const tk_state *state = &run->streams.states[claim->stream];
    int64_t left = state->plan->count - 1 - state->position;
    for (; left > 0 && atomic_load_explicit(&run->stop, memory_order_relaxed) == TK_RUNNING; left--) {
        const tk_op *op = claim->op;
        tk_result result = {0};
        tk_aim aim;
        if (op->kind != TK_READ)
            return;
        tk_aim_at(&run->issue, handles, tk_key(&run->issue, claim->stream, op), op, &aim);
        if (aim.error || aim.span > TK_SMALL || !tk_pool_fit(&run->pool, TK_SMALL, &worker->small))
            return;
        result.submit = tk_now_ns();
        int64_t moved = tk_read_at(aim.handle->fd, worker->small.address, aim.span, aim.first, &result.error);
        result.complete = tk_now_ns();
        result.result = (int32_t)tk_delivered(&run->issue, op, moved);
        tk_run_record(worker, claim, &aim, &result);
        tk_streams_next(&run->streams, claim->stream, result.complete);
        tk_streams_look(&run->streams, claim->stream, claim);
    }
}
