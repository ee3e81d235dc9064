/* src/s8_avxvnni.c, its one instruction that AVX2 lacks done by SIMDe, as one more table. */
#include <immintrin.h>
#include <simde/x86/avx512/dpbusd.h>
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#define _mm_dpbusd_avx_epi32 simde_mm_dpbusd_epi32
#define es_s8_avxvnni es_s8_avxvnni_simde
#include "../src/s8_avxvnni.c"
