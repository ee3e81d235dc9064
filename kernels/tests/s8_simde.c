/* src/s8_avx512.c with its own intrinsics, which SIMDe does in AVX2, as one more table. */
#define es_s8_avx512 es_s8_simde
#include "../src/s8_avx512.c"
