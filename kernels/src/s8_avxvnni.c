/* AVX2 with AVX-VNNI: 16 registers of eight sums. */
#include "s8_x86.h"
#include "tile_names.h"

#define S8_DPBUSD256 _mm256_dpbusd_avx_epi32
#define S8_DPBUSD128 _mm_dpbusd_avx_epi32
#define S8_DW_TILE 2
#include "s8_vnni.inc.h"

typedef uint8_t q8_input_t;
typedef __m256i q8_weights_t, q8_quad_t, q8_sum_t;

ES_INLINE q8_sum_t q8_load_sum(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
ES_INLINE q8_sum_t q8_zero_sum(void) { return _mm256_setzero_si256(); }
ES_INLINE q8_sum_t q8_add_sum(q8_sum_t a, q8_sum_t b) { return _mm256_add_epi32(a, b); }
ES_INLINE q8_weights_t q8_load_weights(const int8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
ES_INLINE q8_quad_t q8_quad(const uint8_t *p, ptrdiff_t offset) { return _mm256_set1_epi32(s8_x86_four(p + offset)); }
ES_INLINE q8_sum_t q8_dot(q8_sum_t sum, q8_weights_t w, q8_quad_t x) { return S8_DPBUSD256(sum, x, w); }
#define S8_NAME bsr8
#define S8_V q8
#define S8_NV 1
#define S8_VW 8
#define S8_MS(F) ES_UP_TO_6(F, 1) ES_4_TO_6(F, 2)
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_avxvnni = {
    .input = ES_S8_UNSIGNED,
    .convert = convert,
    .depthwise = {&depthwise32, &depthwise16},
    .add = plain_add,
    .bsr8x4 = &bsr8,
    .vector_rows = 8,
    .tile_bytes = 24 * 1024,
    .least_pixels = 6,
};
