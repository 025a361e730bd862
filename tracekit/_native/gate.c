/* The in-flight gate: the counterpart of tracekit/replay/inflight.py, and the same rule. Who comes first enters first, so a
   large op is not starved by small ones that would still fit; an op above the byte cap goes when nothing else is inside,
   and nothing joins it. */
#define _GNU_SOURCE
#include "engine.h"

enum { QUEUED, ADMITTED, REFUSED };

void tk_gate_open(tk_gate *gate, int64_t max_ops, int64_t max_bytes)
{
    *gate = (tk_gate){.max_ops = max_ops, .max_bytes = max_bytes};
}

static bool fits(const tk_gate *gate, int64_t size)
{
    if (gate->max_ops && gate->ops >= gate->max_ops)
        return false;
    return gate->max_bytes == 0 || gate->ops == 0 || gate->bytes + size <= gate->max_bytes;
}

static void admit(tk_gate *gate, int64_t size)
{
    gate->ops++;
    gate->bytes += size;
    gate->peak_ops = gate->ops > gate->peak_ops ? gate->ops : gate->peak_ops;
    gate->peak_bytes = gate->bytes > gate->peak_bytes ? gate->bytes : gate->peak_bytes;
}

/* Enter if that is possible now; for an engine that keeps its own queue. */
bool tk_gate_try(tk_gate *gate, int64_t size)
{
    tk_lock_take(&gate->lock);
    bool now = !gate->closed && fits(gate, size);
    if (now)
        admit(gate, size);
    tk_lock_leave(&gate->lock);
    return now;
}

/* Wait for admission; false when the gate was closed meanwhile. */
bool tk_gate_enter(tk_gate *gate, tk_ticket *ticket, int64_t size)
{
    *ticket = (tk_ticket){.size = size};
    tk_lock_take(&gate->lock);
    bool closed = gate->closed, now = !closed && gate->first == NULL && fits(gate, size);
    if (now) {
        admit(gate, size);
    } else if (!closed) {
        if (gate->last)
            gate->last->next = ticket;
        else
            gate->first = ticket;
        gate->last = ticket;
    }
    tk_lock_leave(&gate->lock);
    if (now || closed)
        return now;
    while (atomic_load_explicit(&ticket->state, memory_order_acquire) == QUEUED)
        tk_futex_wait(&ticket->state, QUEUED, 0);
    return atomic_load_explicit(&ticket->state, memory_order_acquire) == ADMITTED;
}

/* Take the first ticket off the queue; its owner may be gone as soon as the state is set, so nothing is read after. */
static void answer(tk_gate *gate, uint32_t state)
{
    tk_ticket *ticket = gate->first;
    gate->first = ticket->next;
    if (gate->first == NULL)
        gate->last = NULL;
    atomic_store_explicit(&ticket->state, state, memory_order_release);
    tk_futex_wake(&ticket->state, 1);
}

void tk_gate_leave(tk_gate *gate, int64_t size)
{
    tk_lock_take(&gate->lock);
    gate->ops--;
    gate->bytes -= size;
    while (gate->first && fits(gate, gate->first->size)) {
        admit(gate, gate->first->size);
        answer(gate, ADMITTED);
    }
    tk_lock_leave(&gate->lock);
}

void tk_gate_close(tk_gate *gate)
{
    tk_lock_take(&gate->lock);
    gate->closed = true;
    while (gate->first)
        answer(gate, REFUSED);
    tk_lock_leave(&gate->lock);
}
