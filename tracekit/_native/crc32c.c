#include "crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdatomic.h>
#endif

#define POLYNOMIAL 0x82F63B78u /* 0x1EDC6F41 with its bits the other way round */

/* tables[0] is the table of one byte; tables[k] advances by k zero bytes more (slicing-by-8, Kounavis and Berry 2005). */
static uint32_t tables[8][256];
static int ready;

static void prepare(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++)
            tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xFF];
    /* Two threads that both prepare write the same values. */
    __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
}

static uint32_t by_tables(uint32_t crc, const unsigned char *bytes, size_t length)
{
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
        prepare();
    for (; length >= 8; bytes += 8, length -= 8) {
        crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        crc = tables[7][crc & 0xFF] ^ tables[6][(crc >> 8) & 0xFF] ^ tables[5][(crc >> 16) & 0xFF] ^ tables[4][crc >> 24] ^
              tables[3][bytes[4]] ^ tables[2][bytes[5]] ^ tables[1][bytes[6]] ^ tables[0][bytes[7]];
    }
    while (length--)
        crc = (crc >> 8) ^ tables[0][(crc ^ *bytes++) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *bytes, size_t length)
{
    uint64_t wide = crc;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (length--)
        crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}

/* Asked once, when it is first needed. The compiler's own __builtin_cpu_supports would ask everything at once whenever the
   library is loaded, also for the recorder: in a virtual machine each question is answered by the host, 45 us for all. */
static int has_instruction(void)
{
    static _Atomic int known;
    unsigned int eax, ebx, ecx = 0, edx;
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        answer = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_SSE4_2) ? 1 : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer > 0;
}
#endif

uint32_t tk_crc32c(uint32_t crc, const unsigned char *bytes, size_t length)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (has_instruction())
        return ~by_instruction(crc, bytes, length);
#endif
    return ~by_tables(crc, bytes, length);
}
