#include "peak.h"
#include "vector_x86.h"

ES_PEAK_DEFINE(es_peak_avx2, v8_t, 8, 12, "x", v8_set1, v8_fma)
