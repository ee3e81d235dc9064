/* AVX-512 without VNNI: 32 registers of sixteen sums. */
#include "s8_x86_512.h"
#include "tile_names.h"

#include "s8_madd.inc.h"

typedef int16_t q16_input_t;
typedef struct { __m512i low, high; } q16_weights_t, q16_quad_t;
typedef __m512i q16_sum_t;

ES_INLINE q16_sum_t q16_load_sum(const int32_t *p) { return _mm512_loadu_si512(p); }
ES_INLINE q16_sum_t q16_zero_sum(void) { return _mm512_setzero_si512(); }
ES_INLINE q16_sum_t q16_add_sum(q16_sum_t a, q16_sum_t b) { return _mm512_add_epi32(a, b); }
ES_INLINE q16_weights_t q16_load_weights(const int8_t *p)
{
    return (q16_weights_t){_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p)),
                           _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p + 32)))};
}
ES_INLINE q16_quad_t q16_quad(const int16_t *p)
{
    return (q16_quad_t){_mm512_set1_epi32(s8_x86_four(p)), _mm512_set1_epi32(s8_x86_four(p + 2))};
}
ES_INLINE q16_sum_t q16_dot(q16_sum_t sum, q16_weights_t w, q16_quad_t x)
{
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(w.low, x.low));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(w.high, x.high));
}
ES_INLINE void q16_store(int8_t *y, q16_sum_t sum, const float *scale, float low, float high, int32_t zero_point)
{
    s8_x86_store16(y, sum, scale, low, high, zero_point);
}

#define S8_NAME bsr16
#define S8_V q16
#define S8_NV 1
#define S8_VW 16
/* As in f32_avx512.c: no more than nine pixels. */
#define S8_MS(F) ES_UP_TO_9(F, 1) ES_UP_TO_9(F, 2) ES_UP_TO_9(F, 3)
#define S8_WIDE_MS(F) ES_UP_TO_9(F, 1)
#include "s8_bsr.inc.h"

#define S8_NAME bsr8
#define S8_V q8
#define S8_NV 1
#define S8_VW 8
#define S8_MS(F) ES_UP_TO_8(F, 1) ES_UP_TO_8(F, 2)
#define S8_WIDE_MS(F) ES_UP_TO_8(F, 1)
#include "s8_bsr.inc.h"

#define S8_NAME bsr4
#define S8_V q4
#define S8_NV 1
#define S8_VW 4
#define S8_MS(F) ES_UP_TO_8(F, 1) ES_UP_TO_8(F, 2)
#define S8_WIDE_MS(F) ES_UP_TO_6(F, 1)
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_avx512 = {
    .input = ES_S8_WIDE,
    .convert = convert,
    .depthwise = {&depthwise16},
    .add = plain_add,
    .bsr16x4 = {&bsr16_narrow, &bsr16_wide},
    .bsr8x4 = {&bsr8_narrow, &bsr8_wide},
    .bsr4x4 = {&bsr4_narrow, &bsr4_wide},
    .vector_rows = 16,
    .pairs = true,
    .tile_bytes = 36 * 1024,
    .least_pixels = 8,
};
