/* The kernel's io_uring interface, as far as it is used here (include/uapi/linux/io_uring.h). Written out because build
   machines have older headers than the kernels their programs meet. */
#ifndef TRACEKIT_URING_ABI_H
#define TRACEKIT_URING_ABI_H

#include <stdint.h>

enum { URING_READ = 22 };
enum { URING_ENTER_GETEVENTS = 1 << 0, URING_ENTER_EXT_ARG = 1 << 3, URING_ENTER_ABS_TIMER = 1 << 5 };
enum { URING_FEAT_SINGLE_MMAP = 1 << 0, URING_FEAT_NODROP = 1 << 1, URING_FEAT_EXT_ARG = 1 << 8, URING_FEAT_MIN_TIMEOUT = 1 << 15 };
enum {
    URING_SETUP_CLAMP = 1 << 4,
    URING_SETUP_CQSIZE = 1 << 3,
    URING_SETUP_COOP_TASKRUN = 1 << 8,
    URING_SETUP_SINGLE_ISSUER = 1 << 12,
    URING_SETUP_DEFER_TASKRUN = 1 << 13,
};
#define URING_OFF_SQ_RING 0ULL
#define URING_OFF_SQES 0x10000000ULL

/* The same numbers on every architecture but alpha (include/uapi/asm-generic/unistd.h). */
enum { URING_SYS_SETUP = 425, URING_SYS_ENTER = 426 };

typedef struct {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data;
    uint16_t buf_index, personality;
    int32_t file_index;
    uint64_t addr3, pad;
} uring_sqe;

typedef struct {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
} uring_cqe;

typedef struct {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    uint64_t user_addr;
} uring_sq_offsets;

typedef struct {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    uint64_t user_addr;
} uring_cq_offsets;

typedef struct {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
    uring_sq_offsets sq;
    uring_cq_offsets cq;
} uring_params;

/* Enter's extended argument. */
typedef struct {
    uint64_t sigmask;
    uint32_t sigmask_size, pad;
    uint64_t timespec;
} uring_wait;

typedef struct {
    int64_t seconds, nanoseconds;
} uring_time;

#endif
