/* System calls made by hand. What runs inside a hook must not pass through the C library entries that are hooked, must
   not touch errno, and must be safe in a signal handler and in a child of vfork. Results are the kernel's: -errno on error. */
#ifndef TRACEKIT_RAW_H
#define TRACEKIT_RAW_H

#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__) || defined(__aarch64__)
/* While it is 1, calls from outside the C library are caught where that was asked for (rawnet.h): not ours. */
extern __thread volatile uint8_t tk_selector __attribute__((tls_model("initial-exec"), visibility("hidden")));
#endif

#if defined(__x86_64__)
static inline long tk_raw6(long number, long a, long b, long c, long d, long e, long f)
{
    /* Before the registers are set: a sanitizer makes calls of these, and calls do not keep them. */
    uint8_t selector = tk_selector;
    long result;
    tk_selector = 0;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    tk_selector = selector;
    return result;
}
#elif defined(__aarch64__)
static inline long tk_raw6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#define TRACEKIT_NO_RAW 1
#endif

#ifndef TRACEKIT_NO_RAW
#define TK_RAW(number, a, b, c, d, e, f) \
    tk_raw6((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define TK_RAW0(number) TK_RAW(number, 0, 0, 0, 0, 0, 0)
#define TK_RAW1(number, a) TK_RAW(number, a, 0, 0, 0, 0, 0)
#define TK_RAW2(number, a, b) TK_RAW(number, a, b, 0, 0, 0, 0)
#define TK_RAW3(number, a, b, c) TK_RAW(number, a, b, c, 0, 0, 0)
#define TK_RAW4(number, a, b, c, d) TK_RAW(number, a, b, c, d, 0, 0)
#endif

#endif
