/* The instruction sets of this build, best first; the first one that the CPU has is taken. */
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include "cpu_x86.h"

static bool has_avx512vnni(void)
{
    return es_cpu_has(&(es_cpu_x86){ES_LEAF1_ECX_FMA, ES_LEAF7_EBX_AVX2 | ES_LEAF7_EBX_AVX512, ES_LEAF7_ECX_AVX512VNNI, 0,
                                    ES_XCR0_AVX512});
}

static bool has_avx512(void)
{
    return es_cpu_has(&(es_cpu_x86){ES_LEAF1_ECX_FMA, ES_LEAF7_EBX_AVX2 | ES_LEAF7_EBX_AVX512, 0, 0, ES_XCR0_AVX512});
}

static bool has_avxvnni(void)
{
    return es_cpu_has(&(es_cpu_x86){ES_LEAF1_ECX_FMA, ES_LEAF7_EBX_AVX2, 0, ES_LEAF7_1_EAX_AVXVNNI, ES_XCR0_AVX});
}

static bool has_avx2(void)
{
    return es_cpu_has(&(es_cpu_x86){ES_LEAF1_ECX_FMA, ES_LEAF7_EBX_AVX2, 0, 0, ES_XCR0_AVX});
}
#elif defined(__aarch64__) || defined(__arm__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

#if defined(__aarch64__)
#define NEON_TARGET "aarch64-neon"

static bool has_neondot(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

static bool has_neon(void)
{
    return true;
}
#else
#define NEON_TARGET "armv7l-neon"

static bool has_neon(void)
{
    const unsigned long wanted = HWCAP_NEON | HWCAP_VFPv4;
    return (getauxval(AT_HWCAP) & wanted) == wanted;
}
#endif
#endif

static bool always(void)
{
    return true;
}

static const es_isa *const table[] = {
#if defined(__x86_64__)
    &(const es_isa){"avx512vnni", "x86_64-avx512vnni", has_avx512vnni, &es_f32_avx512, &es_s8_avx512vnni},
    &(const es_isa){"avx512", "x86_64-avx512", has_avx512, &es_f32_avx512, &es_s8_avx2},
    &(const es_isa){"avxvnni", "x86_64-avxvnni", has_avxvnni, &es_f32_avx2, &es_s8_avxvnni},
    &(const es_isa){"avx2", "x86_64-avx2", has_avx2, &es_f32_avx2, &es_s8_avx2},
#elif defined(__aarch64__)
    &(const es_isa){"neondot", "aarch64-neondot", has_neondot, &es_f32_neon, &es_s8_neondot},
    &(const es_isa){"neon", NEON_TARGET, has_neon, &es_f32_neon, &es_s8_neon},
#elif defined(__arm__)
    &(const es_isa){"neon", NEON_TARGET, has_neon, &es_f32_neon, &es_s8_neon},
#endif
    &(const es_isa){"scalar", "any-scalar", always, &es_f32_scalar, &es_s8_scalar},
};
enum { COUNT = sizeof table / sizeof *table };

const es_isa *const *es_isa_list(size_t *count)
{
    *count = COUNT;
    return table;
}

const char *es_isa_name(const es_isa *isa)
{
    return isa->name;
}

const char *es_isa_target(const es_isa *isa)
{
    return isa->target;
}

bool es_isa_usable(const es_isa *isa)
{
    return isa->usable();
}

es_status es_isa_select(const char *name, const es_isa **isa)
{
    const bool any = name == NULL || *name == '\0';
    for (size_t i = 0; i < COUNT; ++i) {
        if (!any && strcmp(name, table[i]->name) != 0)
            continue;
        if (table[i]->usable()) {
            *isa = table[i];
            return ES_OK;
        }
        if (!any)
            return ES_UNUSABLE_ISA;
    }
    return ES_UNKNOWN_ISA;      /* never for `any`: scalar is always usable */
}
