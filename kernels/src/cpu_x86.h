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

/* CPUID leaf 1 ECX and leaf 7 EBX hold all of these bits, and XCR0 these. */
static inline bool es_cpu_has(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint64_t xcr0)
{
    uint32_t a, b, c, d;
    const uint32_t osxsave = 1u << 27;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (leaf1_ecx | osxsave)) != (leaf1_ecx | osxsave))
        return false;
    if ((es_xcr0() & xcr0) != xcr0)
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & leaf7_ebx) == leaf7_ebx;
}

#define ES_LEAF1_ECX_FMA (1u << 12)
#define ES_LEAF7_EBX_AVX2 (1u << 5)
#define ES_LEAF7_EBX_AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) /* F, DQ, BW, VL */

#endif
