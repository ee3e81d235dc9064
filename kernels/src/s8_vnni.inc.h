/* The int8 kernels of eight and four sums with vpdpbusd, whose first factor is unsigned: inputs plus 128. Defined by the
 * including file: S8_DPBUSD256 and S8_DPBUSD128, the instruction's intrinsics in its encoding; S8_DW_TILE, outputs of a
 * depthwise tile. */

typedef uint8_t q8_input_t, q4_input_t;
typedef __m256i q8_weights_t, q8_quad_t, q8_sum_t;
typedef __m128i q4_weights_t, q4_quad_t, q4_sum_t;

ES_INLINE q8_sum_t q8_load_sum(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
ES_INLINE q8_sum_t q8_zero_sum(void) { return _mm256_setzero_si256(); }
ES_INLINE q8_sum_t q8_add_sum(q8_sum_t a, q8_sum_t b) { return _mm256_add_epi32(a, b); }
ES_INLINE q8_weights_t q8_load_weights(const int8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
ES_INLINE q8_quad_t q8_quad(const uint8_t *p) { return _mm256_set1_epi32(s8_x86_four(p)); }
ES_INLINE q8_sum_t q8_dot(q8_sum_t sum, q8_weights_t w, q8_quad_t x) { return S8_DPBUSD256(sum, x, w); }
ES_INLINE void q8_store(int8_t *y, q8_sum_t sum, const float *scale, float low, float high, int32_t zero_point)
{
    s8_x86_store8(y, sum, scale, low, high, zero_point);
}

ES_INLINE q4_sum_t q4_load_sum(const int32_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
ES_INLINE q4_sum_t q4_zero_sum(void) { return _mm_setzero_si128(); }
ES_INLINE q4_sum_t q4_add_sum(q4_sum_t a, q4_sum_t b) { return _mm_add_epi32(a, b); }
ES_INLINE q4_weights_t q4_load_weights(const int8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
ES_INLINE q4_quad_t q4_quad(const uint8_t *p) { return _mm_set1_epi32(s8_x86_four(p)); }
ES_INLINE q4_sum_t q4_dot(q4_sum_t sum, q4_weights_t w, q4_quad_t x) { return S8_DPBUSD128(sum, x, w); }
ES_INLINE void q4_store(int8_t *y, q4_sum_t sum, const float *scale, float low, float high, int32_t zero_point)
{
    s8_x86_store4(y, sum, scale, low, high, zero_point);
}

static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    s8_x86_to_unsigned(x, to, count, zero_point);
}

static const int8_t es_zero_bytes[64];

#define X_V d32
#define X_T __m256i
#define X_F __m256
#define X_(op) ES_JOIN(_mm256_, op)
#define X_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define X_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define X_DPBUSD S8_DPBUSD256
#define X_G 32
#define DW_T S8_DW_TILE
#include "s8_vnni_depthwise.inc.h"

#define X_V d16
#define X_T __m128i
#define X_F __m128
#define X_(op) ES_JOIN(_mm_, op)
#define X_LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define X_STORE(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)
#define X_DPBUSD S8_DPBUSD128
#define X_G 16
#define DW_T S8_DW_TILE
#include "s8_vnni_depthwise.inc.h"

#include "s8_plain.inc.h"
