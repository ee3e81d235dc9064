#include "peak.h"
#include "vector_x86_512.h"

ES_PEAK_DEFINE(es_peak_avx512, v16_t, 16, 16, "v", v16_set1, v16_fma)
