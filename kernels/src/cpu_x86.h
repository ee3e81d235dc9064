/* What this x86-64 CPU has and the operating system saves, from CPUID and XGETBV: the compiler's own builtin for it
 * depends on its run-time library. */
#ifndef ES_CPU_X86_H
#define ES_CPU_X86_H

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

/* XCR0: SSE and AVX state; opmask and ZMM state. */
#define ES_XCR0_AVX 0x06u
#define ES_XCR0_AVX512 0xe6u

static inline uint64_t es_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Bits that must all be set: CPUID leaf 1 ECX, leaf 7 EBX and ECX, leaf 7.1 EAX, and XCR0. */
typedef struct es_cpu_x86 {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_1_eax;
    uint64_t xcr0;
} es_cpu_x86;

static inline bool es_cpu_has(const es_cpu_x86 *wanted)
{
    uint32_t a, b, c, d;
    const uint32_t osxsave = 1u << 27, leaf1_ecx = wanted->leaf1_ecx | osxsave;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1_ecx) != leaf1_ecx || (es_xcr0() & wanted->xcr0) != wanted->xcr0 ||
        !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & wanted->leaf7_ebx) != wanted->leaf7_ebx ||
        (c & wanted->leaf7_ecx) != wanted->leaf7_ecx)
        return false;
    if (wanted->leaf7_1_eax == 0)
        return true;
    const uint32_t subleaves = a;
    return subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & wanted->leaf7_1_eax) == wanted->leaf7_1_eax;
}

#define ES_LEAF1_ECX_FMA (1u << 12)
#define ES_LEAF7_EBX_AVX2 (1u << 5)
#define ES_LEAF7_EBX_AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) /* F, DQ, BW, VL */
#define ES_LEAF7_ECX_AVX512VNNI (1u << 11)
#define ES_LEAF7_1_EAX_AVXVNNI (1u << 4)

#endif
