/* src/s8_avx512vnni.c with its own intrinsics, which SIMDe does in AVX2, as one more table. */
#define es_s8_avx512vnni es_s8_vnni_simde
#include "../src/s8_avx512vnni.c"
