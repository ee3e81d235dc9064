/* AVX-512 with VNNI: 32 registers of sixteen sums. */
#include "s8_x86.h"
#include "tile_names.h"

#define S8_DPBUSD256 _mm256_dpbusd_epi32
#define S8_DPBUSD128 _mm_dpbusd_epi32
#define S8_DW_TILE 3
#include "s8_vnni.inc.h"

#define X_V d64
#define X_T __m512i
#define X_F __m512
#define X_(op) ES_JOIN(_mm512_, op)
#define X_LOAD(p) _mm512_loadu_si512(p)
#define X_STORE(p, v) _mm512_storeu_si512(p, v)
#define X_DPBUSD _mm512_dpbusd_epi32
#define X_G 64
#define DW_T S8_DW_TILE
#include "s8_vnni_depthwise.inc.h"

typedef uint8_t q16_input_t;
typedef __m512i q16_weights_t, q16_quad_t, q16_sum_t;

ES_INLINE q16_sum_t q16_load_sum(const int32_t *p) { return _mm512_loadu_si512(p); }
ES_INLINE q16_sum_t q16_zero_sum(void) { return _mm512_setzero_si512(); }
ES_INLINE q16_sum_t q16_add_sum(q16_sum_t a, q16_sum_t b) { return _mm512_add_epi32(a, b); }
ES_INLINE q16_weights_t q16_load_weights(const int8_t *p) { return _mm512_loadu_si512(p); }
ES_INLINE q16_quad_t q16_quad(const uint8_t *p, ptrdiff_t offset) { return _mm512_set1_epi32(s8_x86_four(p + offset)); }
ES_INLINE q16_sum_t q16_dot(q16_sum_t sum, q16_weights_t w, q16_quad_t x) { return _mm512_dpbusd_epi32(sum, x, w); }
typedef __m512 q16_scale_t;
ES_INLINE q16_scale_t q16_load_scale(const float *scale) { return _mm512_loadu_ps(scale); }
ES_INLINE void q16_store(int8_t *y, const q16_sum_t *sums, int count, const q16_scale_t *scales, es_s8_output o)
{
    ES_UNROLL for (int i = 0; i < count; ++i) {
        const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i]), scales[i]);
        const __m512 clamped = _mm512_min_ps(_mm512_set1_ps(o.high), _mm512_max_ps(_mm512_set1_ps(o.low), scaled));
        const __m512i outputs = _mm512_add_epi32(_mm512_cvtps_epi32(clamped), _mm512_set1_epi32(o.zero_point));
        _mm_storeu_si128((__m128i *)(void *)(y + 16 * i), _mm512_cvtepi32_epi8(outputs));
    }
}

#define S8_NAME bsr16
#define S8_V q16
#define S8_NV 1
#define S8_VW 16
/* As in f32_avx512.c: no more than nine pixels. */
#define S8_MS(F) ES_UP_TO_9(F, 1) ES_5_TO_9(F, 2) ES_7_TO_9(F, 3)
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_avx512vnni = {
    .input = ES_S8_UNSIGNED,
    .convert = convert,
    .depthwise = {&depthwise64, &depthwise32, &depthwise16},
    .add = plain_add,
    .bsr16x4 = &bsr16,
    .vector_rows = 16,
    .tile_bytes = 36 * 1024,
    .least_pixels = 8,
};
