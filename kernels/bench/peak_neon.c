#include "peak.h"
#include "vector_neon.h"

ES_PEAK_DEFINE(es_peak_neon, v4_t, 4, 12, "w", v4_set1, v4_fma)
