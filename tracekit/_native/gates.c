/* Two entries that no C function can stand in for. vfork returns twice into the caller's frame, so ours must have none:
   it marks the thread and jumps on. syscall passes anything on, also calls that return twice: only the numbers of I/O
   calls take the way through C. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>

#include "ending.h"
#include "hooks.h"
#include "noted.h"
#include "spool.h"

#if defined(__x86_64__) && defined(__GLIBC__)

const unsigned char tk_noted_numbers[TK_NUMBERS] = {
    [SYS_read] = 1, [SYS_write] = 1, [SYS_pread64] = 1, [SYS_pwrite64] = 1, [SYS_readv] = 1, [SYS_writev] = 1,
    [SYS_preadv] = 1, [SYS_pwritev] = 1, [SYS_preadv2] = 1, [SYS_pwritev2] = 1, [SYS_sendfile] = 1,
    [SYS_copy_file_range] = 1, [SYS_splice] = 1, [SYS_lseek] = 1, [SYS_open] = 1, [SYS_openat] = 1, [SYS_creat] = 1,
    [SYS_close] = 1, [SYS_dup] = 1, [SYS_dup2] = 1, [SYS_dup3] = 1, [SYS_fsync] = 1, [SYS_fdatasync] = 1,
    [SYS_io_uring_setup] = 1,
    [SYS_mmap] = 1, [SYS_ftruncate] = 1, [SYS_readahead] = 1, [SYS_getdents64] = 1, [SYS_close_range] = 1,
    [SYS_openat2] = 1, [SYS_newfstatat] = 1, [SYS_statx] = 1, [SYS_truncate] = 1, [SYS_unlink] = 1, [SYS_unlinkat] = 1,
    [SYS_rename] = 1, [SYS_renameat] = 1, [SYS_renameat2] = 1, [SYS_mkdir] = 1, [SYS_rmdir] = 1, [SYS_chdir] = 1,
    [SYS_fchdir] = 1, [SYS_seccomp] = 1,
};

/* The C library's functions report as syscall() does: -1 and errno. */
long tk_noted_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    switch (number) {
    case SYS_read: return hook_read((int)a, (void *)b, (size_t)c);
    case SYS_write: return hook_write((int)a, (const void *)b, (size_t)c);
    case SYS_pread64: return hook_pread64((int)a, (void *)b, (size_t)c, d);
    case SYS_pwrite64: return hook_pwrite64((int)a, (const void *)b, (size_t)c, d);
    case SYS_readv: return hook_readv((int)a, (const struct iovec *)b, (int)c);
    case SYS_writev: return hook_writev((int)a, (const struct iovec *)b, (int)c);
    case SYS_preadv: return hook_preadv64((int)a, (const struct iovec *)b, (int)c, d);
    case SYS_pwritev: return hook_pwritev64((int)a, (const struct iovec *)b, (int)c, d);
    case SYS_preadv2: return hook_preadv64v2((int)a, (const struct iovec *)b, (int)c, d, (int)f);
    case SYS_pwritev2: return hook_pwritev64v2((int)a, (const struct iovec *)b, (int)c, d, (int)f);
    case SYS_sendfile: return hook_sendfile64((int)a, (int)b, (off_t *)c, (size_t)d);
    case SYS_copy_file_range: return hook_copy_file_range((int)a, (off_t *)b, (int)c, (off_t *)d, (size_t)e, (unsigned)f);
    case SYS_splice: return hook_splice((int)a, (off_t *)b, (int)c, (off_t *)d, (size_t)e, (unsigned)f);
    case SYS_lseek: return hook_lseek64((int)a, b, (int)c);
    case SYS_open: return hook_open64((const char *)a, (int)b, (mode_t)c);
    case SYS_openat: return hook_openat64((int)a, (const char *)b, (int)c, (mode_t)d);
    case SYS_creat: return hook_creat64((const char *)a, (mode_t)b);
    case SYS_close: return hook_close((int)a);
    case SYS_dup: return hook_dup((int)a);
    case SYS_dup2: return hook_dup2((int)a, (int)b);
    case SYS_dup3: return hook_dup3((int)a, (int)b, (int)c);
    case SYS_fsync: return hook_fsync((int)a);
    case SYS_fdatasync: return hook_fdatasync((int)a);
    case SYS_io_uring_setup: return tk_ring_made(tk_original.syscall(number, a, b, c, d, e, f));
    case SYS_mmap: return (long)hook_mmap64((void *)a, (size_t)b, (int)c, (int)d, (int)e, f);
    case SYS_ftruncate: return hook_ftruncate64((int)a, b);
    case SYS_readahead: return hook_readahead((int)a, b, (size_t)c);
    case SYS_getdents64: return hook_getdents64((int)a, (void *)b, (size_t)c);
    case SYS_close_range: return hook_close_range((unsigned)a, (unsigned)b, (int)c);
    case SYS_openat2: return tk_openat2((int)a, (const char *)b, (const void *)c, (size_t)d);
    case SYS_newfstatat: return hook_fstatat64((int)a, (const char *)b, (struct stat *)c, (int)d);
    case SYS_statx: return hook_statx((int)a, (const char *)b, (int)c, (unsigned)d, (struct statx *)e);
    case SYS_truncate: return hook_truncate64((const char *)a, b);
    case SYS_unlink: return hook_unlink((const char *)a);
    case SYS_unlinkat: return hook_unlinkat((int)a, (const char *)b, (int)c);
    case SYS_rename: return hook_rename((const char *)a, (const char *)b);
    case SYS_renameat: return hook_renameat((int)a, (const char *)b, (int)c, (const char *)d);
    case SYS_renameat2: return hook_renameat2((int)a, (const char *)b, (int)c, (const char *)d, (unsigned)e);
    case SYS_mkdir: return hook_mkdir((const char *)a, (mode_t)b);
    case SYS_rmdir: return hook_rmdir((const char *)a);
    case SYS_chdir: return hook_chdir((const char *)a);
    case SYS_fchdir: return hook_fchdir((int)a);
    case SYS_seccomp: return tk_confining_syscall(number, a, b, c);
    default: return tk_original.syscall(number, a, b, c, d, e, f);
    }
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define VFORKED 164
#define FORKS 84
_Static_assert(offsetof(struct tk_thread, vforked) == VFORKED, "the gate below sets it");
_Static_assert(offsetof(struct tk_process, forks) == FORKS, "the gate below counts in it");

extern int (*tk_gate_vfork)(void) __attribute__((visibility("hidden")));
extern long (*tk_gate_syscall)(long, long, long, long, long, long, long) __attribute__((visibility("hidden")));
int (*tk_gate_vfork)(void);
long (*tk_gate_syscall)(long, long, long, long, long, long, long);

__asm__(".text\n"
        ".hidden hook_vfork\n.globl hook_vfork\n.type hook_vfork, @function\n"
        "hook_vfork:\n"
        "  endbr64\n"
        "  movq tk_live@GOTPCREL(%rip), %rax\n"
        "  movq (%rax), %rax\n"
        "  movl (%rax), %edx\n" /* the generation; 0 in a forked child that has not been set up: nothing here is its own */
        "  movq tk_generation@GOTPCREL(%rip), %rax\n"
        "  cmpl (%rax), %edx\n"
        "  jne 1f\n"
        "  movq tk_process@GOTPCREL(%rip), %rax\n"
        "  movq (%rax), %rax\n"
        "  lock incl " TEXT(FORKS) "(%rax)\n"
        "  movq tk_local@gottpoff(%rip), %rax\n"
        "  movq %fs:(%rax), %rcx\n"
        "  testq %rcx, %rcx\n"
        "  je 1f\n"
        "  cmpl %fs:8(%rax), %edx\n"
        "  jne 1f\n"
        "  movb $1, " TEXT(VFORKED) "(%rcx)\n"
        "1: movq tk_gate_vfork(%rip), %rax\n"
        "  jmp *%rax\n"
        ".size hook_vfork, .-hook_vfork\n"
        ".hidden hook_syscall\n.globl hook_syscall\n.type hook_syscall, @function\n"
        "hook_syscall:\n"
        "  endbr64\n"
        "  cmpq $439, %rdi\n"
        "  ja 1f\n"
        "  leaq tk_noted_numbers(%rip), %rax\n"
        "  cmpb $0, (%rax,%rdi)\n"
        "  jne tk_noted_syscall\n"
        "1: movq tk_gate_syscall(%rip), %rax\n"
        "  jmp *%rax\n"
        ".size hook_syscall, .-hook_syscall\n");

#endif
