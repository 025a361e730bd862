#define _GNU_SOURCE
#include "rawnet.h"

#include <features.h>

#include "raw.h"

#ifndef TRACEKIT_NO_RAW
__thread volatile uint8_t tk_selector __attribute__((tls_model("initial-exec"), visibility("hidden")));
#endif

#if defined(__x86_64__) && defined(__GLIBC__)

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <ucontext.h>

#include "detour.h"
#include "hooks.h"
#include "noted.h"
#include "spool.h"

enum { DISPATCH = 59 /* PR_SET_SYSCALL_USER_DISPATCH */, BY_DISPATCH = 2 /* SYS_USER_DISPATCH */, THREADS = 4096 };
enum { CALL_BYTES = 2, SIGSET_BYTES = 8, RED_ZONE = 128 };

static int wanted;
static _Atomic int on;
static uintptr_t code, code_end; /* of the C library: calls from there are not dispatched */
static void (*restorer)(void);
static uintptr_t gadget; /* "syscall; ret" in the C library */
static _Atomic(volatile uint8_t *) threads[THREADS];
static pthread_key_t exit_key;

static struct tk_net_facts *facts(void)
{
    return (struct tk_net_facts *)((char *)tk_process + TK_NET_FACTS);
}

/* -- threads ------------------------------------------------------------------------------------------------------ */

static long dispatch(int how)
{
    return how ? TK_RAW(SYS_prctl, DISPATCH, 1, code, code_end - code, &tk_selector, 0) : TK_RAW2(SYS_prctl, DISPATCH, 0);
}

static void unblock(void)
{
    uint64_t set = UINT64_C(1) << (SIGSYS - 1);
    TK_RAW4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, SIGSET_BYTES);
}

/* The calling thread's calls are dispatched from here on. 0, or -errno. */
static long cast(void)
{
    long result = -EAGAIN;
    unblock();
    for (int i = 0; i < THREADS && on; i++) {
        volatile uint8_t *nobody = NULL;
        if (!atomic_compare_exchange_strong(&threads[i], &nobody, &tk_selector))
            continue;
        result = dispatch(1);
        if (result == 0)
            tk_selector = 1;
        else
            atomic_store(&threads[i], NULL);
        break;
    }
    return result;
}

/* The byte is about to go with its thread. */
static void haul_in(void *unused)
{
    (void)unused;
    tk_selector = 0;
    dispatch(0);
    for (int i = 0; i < THREADS; i++) {
        volatile uint8_t *mine = &tk_selector;
        if (atomic_compare_exchange_strong(&threads[i], &mine, NULL))
            return;
    }
}

/* Nobody's calls are dispatched any more. */
static void withdraw(void)
{
    if (!atomic_exchange(&on, 0))
        return;
    facts()->withdrawn = 1;
    for (int i = 0; i < THREADS; i++) {
        volatile uint8_t *selector = atomic_load(&threads[i]);
        if (selector)
            *selector = 0;
    }
}

struct beginning {
    void *(*routine)(void *);
    void *argument;
};

static void *begin(void *argument)
{
    struct beginning what = *(struct beginning *)argument;
    free(argument);
    if (on && cast() == 0)
        pthread_setspecific(exit_key, &exit_key);
    return what.routine(what.argument);
}

int hook_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
{
    struct beginning *what = on ? malloc(sizeof *what) : NULL;
    int result;
    if (what == NULL)
        return tk_original.pthread_create(thread, attributes, routine, argument);
    *what = (struct beginning){routine, argument};
    result = tk_original.pthread_create(thread, attributes, begin, what);
    if (result != 0)
        free(what);
    return result;
}

/* -- SIGSYS must never be blocked: the kernel kills a thread that it cannot tell ---------------------------------- */

int hook_pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    sigset_t other;
    if (set == NULL || how == SIG_UNBLOCK || !on || !sigismember(set, SIGSYS))
        return tk_original.pthread_sigmask(how, set, before);
    other = *set;
    sigdelset(&other, SIGSYS);
    return tk_original.pthread_sigmask(how, &other, before);
}

static int is_borrowed_memory(void)
{
    return tk_process == NULL || *tk_live != tk_generation || TK_RAW0(SYS_getpid) != tk_process->pid;
}

/* A program that handles SIGSYS, also by default, shall have it; our handler is none of its business. */
int hook_sigaction(int signal, const struct sigaction *action, struct sigaction *before)
{
    struct sigaction other;
    int ours = on && signal == SIGSYS, result;
    if (!on || (action == NULL && !ours) || is_borrowed_memory())
        return tk_original.sigaction(signal, action, before);
    if (ours && action) {
        withdraw();
    } else if (action && sigismember(&action->sa_mask, SIGSYS)) {
        other = *action;
        sigdelset(&other.sa_mask, SIGSYS);
        action = &other;
    }
    result = tk_original.sigaction(signal, action, before);
    if (result == 0 && ours && before)
        memset(before, 0, sizeof *before);
    return result;
}

/* -- a call that was caught --------------------------------------------------------------------------------------- */

struct caught {
    greg_t *registers;
    long number, a, b, c, d, e, f;
};

enum what_next { GO_ON, KEEP_OUT };

/* The call is made by the thread itself, on its own stack, and not caught. */
static enum what_next again(const struct caught *call)
{
    call->registers[REG_RIP] -= CALL_BYTES;
    call->registers[REG_RAX] = call->number;
    atomic_fetch_add_explicit(&facts()->let_go, 1, memory_order_relaxed);
    return KEEP_OUT;
}

/* The end of a signal handler whose frame another library made: the C library's own way out does the same from a place that
   is not caught. */
static enum what_next out_of_handler(const struct caught *call)
{
    call->registers[REG_RIP] = (greg_t)(uintptr_t)restorer;
    return GO_ON;
}

/* Memory of the program's that may not be there. */
static int fetch(void *to, long from, size_t bytes)
{
    struct iovec here = {to, bytes}, there = {(void *)from, bytes};
    return TK_RAW(SYS_process_vm_readv, TK_RAW0(SYS_getpid), &here, 1, &there, 1, 0) == (long)bytes;
}

static long pass(const struct caught *call)
{
    return TK_RAW(call->number, call->a, call->b, call->c, call->d, call->e, call->f);
}

static long mask_without_ours(const struct caught *call)
{
    uint64_t set;
    if (call->b == 0 || call->a == SIG_UNBLOCK || call->d != SIGSET_BYTES || !fetch(&set, call->b, sizeof set))
        return pass(call);
    set &= ~(UINT64_C(1) << (SIGSYS - 1));
    return TK_RAW4(call->number, call->a, &set, call->c, call->d);
}

/* struct kernel_sigaction: handler, flags, restorer, mask. */
static long action_without_ours(const struct caught *call)
{
    uint64_t action[4];
    if (call->b == 0 || call->d != SIGSET_BYTES || !fetch(action, call->b, sizeof action))
        return pass(call);
    if (call->a == SIGSYS)
        withdraw();
    action[3] &= ~(UINT64_C(1) << (SIGSYS - 1));
    return TK_RAW4(call->number, call->a, action, call->c, call->d);
}

/* A call that must be made on the thread's own stack, because ours may be the alternate one: the thread makes it in the C
   library's code, returns to the stub, and from there to where it was. What stands below its stack pointer stays. */
__asm__(".text\n.hidden tk_net_back\n.globl tk_net_back\n.type tk_net_back, @function\n"
        "tk_net_back:\n  ret $128\n.size tk_net_back, .-tk_net_back\n");
extern char tk_net_back[] __attribute__((visibility("hidden")));

static enum what_next in_the_library(const struct caught *call)
{
    uintptr_t *top = (uintptr_t *)(uintptr_t)(call->registers[REG_RSP] - RED_ZONE) - 2;
    if (gadget == 0)
        return again(call);
    top[0] = (uintptr_t)tk_net_back;
    top[1] = (uintptr_t)call->registers[REG_RIP];
    call->registers[REG_RSP] = (greg_t)(uintptr_t)top;
    call->registers[REG_RIP] = (greg_t)gadget;
    call->registers[REG_RAX] = call->number;
    return GO_ON;
}

/* A process of its own goes on from here like the parent. */
static long forked(const struct caught *call)
{
    long result = pass(call);
    if (result == 0)
        tk_net_reborn();
    return result;
}

static int shares_memory(const struct caught *call)
{
    uint64_t flags = (uint64_t)call->a;
    if (call->number == SYS_clone3 && !fetch(&flags, call->a, sizeof flags))
        return 1;
    return (flags & CLONE_VM) != 0;
}

static long through_a_hook(const struct caught *call)
{
    long result;
    errno = 0;
    switch (call->number) {
    case SYS_mmap:
        result = (long)hook_mmap64((void *)call->a, (size_t)call->b, (int)call->c, (int)call->d, (int)call->e, call->f);
        break;
    case SYS_execve:
        result = hook_execve((const char *)call->a, (char *const *)call->b, (char *const *)call->c);
        break;
    case SYS_stat:
    case SYS_lstat:
        result = hook_fstatat64(AT_FDCWD, (const char *)call->a, (struct stat *)call->b,
                                call->number == SYS_lstat ? AT_SYMLINK_NOFOLLOW : 0);
        break;
    case SYS_newfstatat:
        result = hook_fstatat64((int)call->a, (const char *)call->b, (struct stat *)call->c, (int)call->d);
        break;
    case SYS_exit_group:
        hook__exit((int)call->a);
        return 0;
    default:
        result = tk_noted_syscall(call->number, call->a, call->b, call->c, call->d, call->e, call->f);
    }
    atomic_fetch_add_explicit(&facts()->noted, 1, memory_order_relaxed);
    return result == -1 && errno ? -errno : result;
}

static enum what_next make(const struct caught *call)
{
    long result;
    switch (call->number) {
    case SYS_rt_sigreturn:
        return out_of_handler(call);
    case SYS_vfork:
    case SYS_arch_prctl:
        return again(call);
    case SYS_clone:
    case SYS_clone3:
        if (shares_memory(call))
            return again(call);
        result = forked(call);
        break;
    case SYS_fork:
        result = forked(call);
        break;
    case SYS_rt_sigprocmask:
        result = mask_without_ours(call);
        break;
    case SYS_rt_sigaction:
        result = action_without_ours(call);
        break;
    case SYS_sigaltstack:
        return in_the_library(call);
    case SYS_prctl:
        if (call->a == DISPATCH)
            withdraw();
        result = pass(call);
        break;
    case SYS_mmap: case SYS_execve: case SYS_stat: case SYS_lstat: case SYS_newfstatat: case SYS_exit_group:
        result = through_a_hook(call);
        break;
    default:
        result = call->number >= 0 && call->number < TK_NUMBERS && tk_noted_numbers[call->number] ? through_a_hook(call)
                                                                                                  : pass(call);
    }
    call->registers[REG_RAX] = result;
    return GO_ON;
}

/* SIGSYS from elsewhere (a seccomp filter) ends the process, as it would without us. */
static void not_ours(void)
{
    struct {
        uint64_t handler, flags, restorer, mask;
    } usual = {0, 0, 0, 0};
    TK_RAW4(SYS_rt_sigaction, SIGSYS, &usual, NULL, SIGSET_BYTES);
    TK_RAW3(SYS_tgkill, TK_RAW0(SYS_getpid), TK_RAW0(SYS_gettid), SIGSYS);
}

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    int error = errno;
    enum what_next next;
    struct caught call = {registers, registers[REG_RAX], registers[REG_RDI], registers[REG_RSI],
                          registers[REG_RDX], registers[REG_R10], registers[REG_R8], registers[REG_R9]};
    (void)signal;
    tk_selector = 0;
    if (info->si_code != BY_DISPATCH) {
        not_ours();
        return;
    }
    atomic_fetch_add_explicit(&facts()->caught, 1, memory_order_relaxed);
    if (tk_detour_holds((const void *)(uintptr_t)registers[REG_RIP])) {
        registers[REG_RAX] = pass(&call); /* the copy of a C library function that is hooked already */
        next = GO_ON;
    } else {
        next = make(&call);
    }
    errno = error;
    if (next == GO_ON && on) {
        tk_selector = 1;
        if (!on) /* withdrawn by another thread just now */
            tk_selector = 0;
    }
}

/* -- start -------------------------------------------------------------------------------------------------------- */

static int find_code(struct dl_phdr_info *info, size_t size, void *inside)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t first = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && header->p_flags & PF_X && (uintptr_t)inside >= first &&
            (uintptr_t)inside < first + header->p_memsz) {
            code = first;
            code_end = first + header->p_memsz;
            return 1;
        }
    }
    return 0;
}

static uintptr_t find_gadget(void)
{
    static const uint8_t call_and_return[] = {0x0f, 0x05, 0xc3};
    const uint8_t *at = (const uint8_t *)(uintptr_t)getpid;
    for (int i = 0; i < 24; i++)
        if (memcmp(at + i, call_and_return, sizeof call_and_return) == 0)
            return (uintptr_t)(at + i);
    return 0;
}

const char *tk_net_prepare(void)
{
    tk_selector = 0;
    code = 0, code_end = 1;
    if (dispatch(1) != 0 || dispatch(0) != 0)
        return "the kernel does not dispatch system calls (Linux 5.11), or a seccomp filter forbids it";
    if (!dl_iterate_phdr(find_code, (void *)(uintptr_t)getpid))
        return "the C library's code was not found";
    gadget = find_gadget();
    wanted = 1;
    return NULL;
}

int tk_net_wanted(void)
{
    return wanted;
}

/* The dispatch of the thread that forked is off in the child; the others are not there. */
void tk_net_reborn(void)
{
    if (!on)
        return;
    for (int i = 0; i < THREADS; i++)
        atomic_store(&threads[i], NULL);
    tk_selector = 0;
    memcpy(facts()->magic, "tknet\0\0", 8);
    cast();
}

/* A forked child that has not been set up has its parent's head in its hands, which is not to be written. */
static void after_fork_in_child(void)
{
    if (on && tk_on)
        tk_self();
}

const char *tk_net_start(void)
{
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART}, now;
    struct {
        uint64_t handler, flags, restorer, mask;
    } kept = {0, 0, 0, 0};

    if (tk_original.sigaction(SIGSYS, NULL, &now) != 0 || now.sa_handler != SIG_DFL)
        return "the program handles SIGSYS itself";
    sigemptyset(&action.sa_mask);
    if (tk_original.sigaction(SIGSYS, &action, NULL) != 0)
        return "no handler of SIGSYS can be set";
    TK_RAW4(SYS_rt_sigaction, SIGSYS, NULL, &kept, SIGSET_BYTES);
    restorer = (void (*)(void))(uintptr_t)kept.restorer;
    pthread_key_create(&exit_key, haul_in);
    pthread_atfork(NULL, NULL, after_fork_in_child);
    memcpy(facts()->magic, "tknet\0\0", 8);
    on = 1;
    if (cast() == 0)
        return NULL;
    on = 0;
    tk_original.sigaction(SIGSYS, &now, NULL);
    return "the kernel does not dispatch this thread's system calls";
}

#else

int tk_net_wanted(void)
{
    return 0;
}

const char *tk_net_prepare(void)
{
    return "the net for raw system calls is written for x86-64 and the GNU C library only";
}

const char *tk_net_start(void)
{
    return tk_net_prepare();
}

void tk_net_reborn(void)
{
}

#endif
