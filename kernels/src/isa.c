/* The instruction sets of this build, best first; the first one that the CPU has is taken. */
#include <string.h>

#include "kernels.h"

static const es_isa *const table[] = {
#if defined(__x86_64__)
    &es_isa_avx512,
    &es_isa_avx2,
#elif defined(__aarch64__) || defined(__arm__)
    &es_isa_neon,
#endif
    &es_isa_scalar,
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
