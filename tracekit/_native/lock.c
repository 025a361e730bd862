/* A lock for what takes well under a microsecond. Who finds it taken looks again for about as long, then sleeps; who is awake
   when it comes free takes it, also ahead of one that is being woken. A lock that is handed to its first waiter (as the
   kernel does with priority inheritance) stands still until that thread has a core: in bursts a fifth of the time went there.
   Priorities are not inherited; all threads that take such a lock have the same. */
#define _GNU_SOURCE
#include "engine.h"

enum { FREE, TAKEN, WAITED_FOR };
enum { LOOKS = 100 };

static bool try_lock(tk_lock *lock)
{
    uint32_t seen = FREE;
    return atomic_load_explicit(lock, memory_order_relaxed) == FREE &&
           atomic_compare_exchange_strong_explicit(lock, &seen, TAKEN, memory_order_acquire, memory_order_relaxed);
}

void tk_lock_take(tk_lock *lock)
{
    for (int look = 0; look < LOOKS; look++) {
        if (try_lock(lock))
            return;
        tk_pause();
    }
    while (atomic_exchange_explicit(lock, WAITED_FOR, memory_order_acquire) != FREE)
        tk_futex_wait(lock, WAITED_FOR, 0);
}

void tk_lock_leave(tk_lock *lock)
{
    if (atomic_exchange_explicit(lock, FREE, memory_order_release) == WAITED_FOR)
        tk_futex_wake(lock, 1);
}
