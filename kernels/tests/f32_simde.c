/* src/f32_avx512.c with its own intrinsics, which SIMDe does in AVX2, as one more table. */
#define es_f32_avx512 es_f32_simde
#include "../src/f32_avx512.c"
