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
    static es_isa simde;
    const es_isa *avx2;
    if (es_isa_select("avx2", &avx2) == ES_OK) {
        simde = es_isa_simde;
        simde.name = "avx512-by-simde";
        isas[usable++] = &simde;
    }
#elif defined(__x86_64__)
    if (!said)
        printf("SKIPPED: the AVX-512 file through SIMDe, which is not installed (apt install libsimde-dev)\n");
#endif
    said = true;
    return usable;
}
