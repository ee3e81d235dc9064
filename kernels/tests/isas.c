#include "isas.h"

#include <stdio.h>
#include <string.h>

size_t usable_isas(const es_isa *isas[MOST_ISAS])
{
    static bool said;
    size_t count, usable = 0;
    const es_isa *const *all = es_isa_list(&count);
    for (size_t i = 0; i < count; ++i)
        if (es_isa_usable(all[i]))
            isas[usable++] = all[i];
        else if (!said)
            printf("SKIPPED: %s, this CPU lacks it\n", es_isa_name(all[i]));
#if defined(ES_HAVE_SIMDE)
    static const struct { const char *name; const es_f32_kernels *f32; const es_s8_kernels *s8; } tables[] = {
        {"avx512vnni-by-simde", &es_f32_simde, &es_s8_vnni_simde},
        {"avxvnni-by-simde", NULL, &es_s8_avxvnni_simde},
    };
    static es_isa simde[sizeof tables / sizeof *tables];
    const es_isa *avx2;
    if (es_isa_select("avx2", &avx2) == ES_OK)
        for (size_t i = 0; i < sizeof tables / sizeof *tables; ++i) {
            simde[i] = *avx2;
            simde[i].name = tables[i].name;
            simde[i].f32 = tables[i].f32 != NULL ? tables[i].f32 : avx2->f32;
            simde[i].s8 = tables[i].s8;
            isas[usable++] = &simde[i];
        }
#elif defined(__x86_64__)
    if (!said)
        printf("SKIPPED: the AVX-512 files through SIMDe, which is not installed (apt install libsimde-dev)\n");
#endif
    said = true;
    return usable;
}
