/* AVX2 without dot products of bytes. vpmaddubsw saturates, so inputs and weights are 16 bits wide: two vpmaddwd, which do
 * not, make the dot products of four inputs. */
#include "s8_x86.h"
#include "tile_names.h"

typedef int16_t q8_input_t;
typedef struct { __m256i low, high; } q8_weights_t, q8_quad_t;
typedef __m256i q8_sum_t;

ES_INLINE q8_sum_t q8_load_sum(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
ES_INLINE q8_sum_t q8_zero_sum(void) { return _mm256_setzero_si256(); }
ES_INLINE q8_sum_t q8_add_sum(q8_sum_t a, q8_sum_t b) { return _mm256_add_epi32(a, b); }
ES_INLINE q8_weights_t q8_load_weights(const int8_t *p)
{
    return (q8_weights_t){_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p)),
                          _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)))};
}
ES_INLINE q8_quad_t q8_quad(const int16_t *p, ptrdiff_t offset)
{
    return (q8_quad_t){_mm256_set1_epi32(s8_x86_four(p + offset)), _mm256_set1_epi32(s8_x86_four(p + offset + 2))};
}
ES_INLINE q8_sum_t q8_dot(q8_sum_t sum, q8_weights_t w, q8_quad_t x)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w.low, x.low));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w.high, x.high));
}
static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    s8_x86_to_wide(x, to, count, zero_point);
}

/* Depthwise: sixteen channels, taps in pairs of 16 bits. */
typedef int16_t d16_input_t;
typedef struct { __m256i upper[2], lower[2]; } d16_column_t;        /* rows 0 and 1, row 2 and zero */
typedef struct { __m256i q[2]; } d16_sums_t;
typedef struct { __m256 q[2]; } d16_scales_t;

ES_INLINE __m256i d16_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
ES_INLINE d16_column_t d16_column(const int16_t *x, ptrdiff_t x_row)
{
    const __m256i first = d16_load(x), second = d16_load(x + x_row), third = d16_load(x + 2 * x_row);
    const __m256i zero = _mm256_setzero_si256();
    return (d16_column_t){{_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)},
                          {_mm256_unpacklo_epi16(third, zero), _mm256_unpackhi_epi16(third, zero)}};
}
ES_INLINE d16_sums_t d16_load_sums(const int32_t *bias) { return (d16_sums_t){{d16_load(bias), d16_load(bias + 8)}}; }
ES_INLINE d16_scales_t d16_load_scales(const float *scale)
{
    return (d16_scales_t){{_mm256_loadu_ps(scale), _mm256_loadu_ps(scale + 8)}};
}
ES_INLINE d16_sums_t d16_add_column(d16_sums_t sums, const void *weights, int kx, d16_column_t taps)
{
    const int16_t *w = (const int16_t *)weights + kx * 64;
    ES_UNROLL for (int q = 0; q < 2; ++q) {
        sums.q[q] = _mm256_add_epi32(sums.q[q], _mm256_madd_epi16(taps.upper[q], d16_load(w + q * 16)));
        sums.q[q] = _mm256_add_epi32(sums.q[q], _mm256_madd_epi16(taps.lower[q], d16_load(w + 32 + q * 16)));
    }
    return sums;
}
ES_INLINE void d16_store_sums(int8_t *y, d16_sums_t sums, d16_scales_t scales, es_s8_output output)
{
    const __m256i words = _mm256_packs_epi32(s8_x86_outputs(sums.q[0], scales.q[0], output),
                                             s8_x86_outputs(sums.q[1], scales.q[1], output));
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)y, bytes);
}

#define DW_NAME depthwise16
#define DW_V d16
#define DW_G 16
#define DW_QUADS 2
#define DW_T 4
#include "s8_depthwise.inc.h"

#include "s8_plain.inc.h"

#define S8_NAME bsr8
#define S8_V q8
#define S8_NV 1
#define S8_VW 8
#define S8_MS(F) ES_UP_TO_6(F, 1) ES_4_TO_6(F, 2)
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_avx2 = {
    .input = ES_S8_WIDE,
    .convert = convert,
    .depthwise = {&depthwise16},
    .add = plain_add,
    .bsr8x4 = &bsr8,
    .vector_rows = 8,
    .pairs = true,
    .tile_bytes = 24 * 1024,
    .least_pixels = 5,
};
