#define _GNU_SOURCE     /* dl_iterate_phdr */
#include "rounding.h"

#include <link.h>
#include <string.h>

static int is_tflite_runtime(struct dl_phdr_info *library, size_t size, void *found)
{
    (void)size;
    if (library->dlpi_name != NULL && strstr(library->dlpi_name, "/tflite_runtime/") != NULL)
        *(bool *)found = true;
    return *(bool *)found;
}

bool es_runtime_rounds_fixed(void)
{
    bool found = false;
    dl_iterate_phdr(is_tflite_runtime, &found);
    return found;
}
