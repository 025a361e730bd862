/* The C library's I/O entry points and what stands in for them. */
#ifndef TRACEKIT_HOOKS_H
#define TRACEKIT_HOOKS_H

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__GLIBC__)
/* musl has one function where glibc has two, and makes the longer name a macro: here they are names. */
#undef creat64
#undef fstatat64
#undef ftruncate64
#undef getdents64
#undef lseek64
#undef mmap64
#undef open64
#undef openat64
#undef posix_fadvise64
#undef pread64
#undef preadv64
#undef pwrite64
#undef pwritev64
#undef sendfile64
#undef truncate64
#if !defined(STATX_TYPE) /* before musl 1.2.5 */
#include <linux/stat.h>
#endif
#endif

/* name, result, parameters. In a C library with two names for one function the first that is found is patched; every
   row has its hook_NAME and its tk_original.NAME. */
#define TK_DATA_CALLS(X) \
    X(read, ssize_t, (int fd, void *to, size_t bytes)) \
    X(__read_nocancel, ssize_t, (int fd, void *to, size_t bytes)) \
    X(pread64, ssize_t, (int fd, void *to, size_t bytes, off_t offset)) \
    X(__pread64_nocancel, ssize_t, (int fd, void *to, size_t bytes, off_t offset)) \
    X(readv, ssize_t, (int fd, const struct iovec *vector, int count)) \
    X(preadv64, ssize_t, (int fd, const struct iovec *vector, int count, off_t offset)) \
    X(preadv64v2, ssize_t, (int fd, const struct iovec *vector, int count, off_t offset, int flags)) \
    X(write, ssize_t, (int fd, const void *from, size_t bytes)) \
    X(__write_nocancel, ssize_t, (int fd, const void *from, size_t bytes)) \
    X(pwrite64, ssize_t, (int fd, const void *from, size_t bytes, off_t offset)) \
    X(writev, ssize_t, (int fd, const struct iovec *vector, int count)) \
    X(pwritev64, ssize_t, (int fd, const struct iovec *vector, int count, off_t offset)) \
    X(pwritev64v2, ssize_t, (int fd, const struct iovec *vector, int count, off_t offset, int flags)) \
    X(sendfile64, ssize_t, (int to, int from, off_t *offset, size_t bytes)) \
    X(copy_file_range, ssize_t, (int from, off_t *in, int to, off_t *out, size_t bytes, unsigned flags)) \
    X(splice, ssize_t, (int from, off_t *in, int to, off_t *out, size_t bytes, unsigned flags)) \
    X(lseek64, off_t, (int fd, off_t offset, int whence)) \
    X(mmap64, void *, (void *at, size_t bytes, int protection, int flags, int fd, off_t offset)) \
    X(fsync, int, (int fd)) \
    X(fdatasync, int, (int fd)) \
    X(ftruncate64, int, (int fd, off_t bytes)) \
    X(posix_fadvise64, int, (int fd, off_t offset, off_t bytes, int advice)) \
    X(readahead, ssize_t, (int fd, off_t offset, size_t bytes)) \
    X(getdents64, ssize_t, (int fd, void *to, size_t bytes))

#define TK_NAME_CALLS(X) \
    X(open64, int, (const char *path, int flags, mode_t mode)) \
    X(__open64_nocancel, int, (const char *path, int flags, mode_t mode)) \
    X(openat64, int, (int directory, const char *path, int flags, mode_t mode)) \
    X(creat64, int, (const char *path, mode_t mode)) \
    X(close, int, (int fd)) \
    X(__close_nocancel, int, (int fd)) \
    X(close_range, int, (unsigned first, unsigned last, int flags)) \
    X(closefrom, void, (int first)) \
    X(dup, int, (int fd)) \
    X(dup2, int, (int fd, int copy)) \
    X(dup3, int, (int fd, int copy, int flags)) \
    X(fcntl64, int, (int fd, int command, long argument)) \
    X(fstatat64, int, (int directory, const char *path, struct stat *to, int flags)) \
    X(statx, int, (int directory, const char *path, int flags, unsigned mask, struct statx *to)) \
    X(truncate64, int, (const char *path, off_t bytes)) \
    X(unlink, int, (const char *path)) \
    X(unlinkat, int, (int directory, const char *path, int flags)) \
    X(mkdir, int, (const char *path, mode_t mode)) \
    X(rmdir, int, (const char *path)) \
    X(rename, int, (const char *from, const char *to)) \
    X(renameat, int, (int from_directory, const char *from, int to_directory, const char *to)) \
    X(renameat2, int, (int from_directory, const char *from, int to_directory, const char *to, unsigned flags)) \
    X(prctl, int, (int option, long a, long b, long c, long d)) \
    X(chdir, int, (const char *path)) \
    X(fchdir, int, (int fd))

#define TK_EXEC_CALLS(X) \
    X(execve, int, (const char *path, char *const *arguments, char *const *environment)) \
    X(execveat, int, (int directory, const char *path, char *const *arguments, char *const *environment, int flags)) \
    X(fexecve, int, (int fd, char *const *arguments, char *const *environment)) \
    X(posix_spawn, int, (pid_t *pid, const char *path, const void *actions, const void *attributes, \
                         char *const *arguments, char *const *environment)) \
    X(posix_spawnp, int, (pid_t *pid, const char *file, const void *actions, const void *attributes, \
                          char *const *arguments, char *const *environment))

/* Calls that change what is mapped: hooked only where touched pages are looked for (touched.c). */
#define TK_MAP_CALLS(X) \
    X(munmap, int, (void *at, size_t bytes)) \
    X(mremap, void *, (void *at, size_t bytes, size_t new_bytes, int flags, void *new_at)) \
    X(madvise, int, (void *at, size_t bytes, int advice)) \
    X(mprotect, int, (void *at, size_t bytes, int protection))

/* Calls that make threads and say what signals do: hooked only where raw system calls are caught (rawnet.c). */
#if defined(__x86_64__) && defined(__GLIBC__)
#define TK_NET_CALLS(X) \
    X(pthread_create, int, (pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)) \
    X(pthread_sigmask, int, (int how, const sigset_t *set, sigset_t *before)) \
    X(sigaction, int, (int signal, const struct sigaction *action, struct sigaction *before))
#else
#define TK_NET_CALLS(X)
#endif

/* How a process ends by itself (ending.c). */
#define TK_END_CALLS(X) X(_exit, void, (int status))

#define TK_WAIT_CALLS(X) \
    X(wait4, pid_t, (pid_t pid, int *status, int options, void *usage)) \
    X(waitpid, pid_t, (pid_t pid, int *status, int options)) \
    X(wait3, pid_t, (int *status, int options, void *usage)) \
    X(wait, pid_t, (int *status)) \
    X(waitid, int, (idtype_t kind, id_t id, siginfo_t *info, int options))

/* Calls that return twice or take what they are given: entered in assembler, without a frame of ours (gates.c). */
#define TK_GATED_CALLS(X) \
    X(vfork, int, (void)) \
    X(syscall, long, (long number, long a, long b, long c, long d, long e, long f))

#define TK_ALL_CALLS(X) TK_DATA_CALLS(X) TK_NAME_CALLS(X) TK_EXEC_CALLS(X) TK_WAIT_CALLS(X) TK_MAP_CALLS(X) TK_NET_CALLS(X) TK_END_CALLS(X) TK_GATED_CALLS(X)

struct tk_originals {
#define FIELD(name, result, parameters) result(*name) parameters;
    TK_ALL_CALLS(FIELD)
#undef FIELD
};
extern struct tk_originals tk_original __attribute__((visibility("hidden")));

#define DECLARE(name, result, parameters) result hook_##name parameters;
TK_ALL_CALLS(DECLARE)
#undef DECLARE

/* openat2(2), which the C library has no function for. */
long tk_openat2(int directory, const char *path, const void *how, size_t bytes);

/* seccomp(2). */
long tk_confining_syscall(long number, long operation, long flags, long arguments);

/* Variables a program started without ours gets back: "NAME=value", a NULL at the end; `path_entry` goes to the front of
   PYTHONPATH, `preload_entry` to that of LD_PRELOAD (both may be NULL). The strings stay the caller's and must live on. */
void tk_exec_environment(char **variables, const char *path_entry, const char *preload_entry);

/* Whether children are looked at when they end. */
extern int tk_children;

#endif
