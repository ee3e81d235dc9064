/* Vectors of 4 and 8 floats for x86-64 with AVX2 and FMA. The clamps keep a NaN, as the second operand of min and max. */
#ifndef ES_VECTOR_X86_H
#define ES_VECTOR_X86_H

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

typedef __m128 v4_t, v4_x_t;
typedef __m256 v8_t, v8_x_t;
typedef __m256i v8_positions_t;

ES_INLINE v4_t v4_load(const float *p) { return _mm_loadu_ps(p); }
ES_INLINE v4_t v4_zero(void) { return _mm_setzero_ps(); }
ES_INLINE v4_t v4_set1(float f) { return _mm_set1_ps(f); }
ES_INLINE v4_t v4_broadcast(const float *p) { return _mm_broadcast_ss(p); }
ES_INLINE v4_t v4_fma(v4_t sum, v4_t a, v4_t b) { return _mm_fmadd_ps(a, b, sum); }
ES_INLINE v4_t v4_fma_x(v4_t sum, v4_t a, v4_x_t b) { return _mm_fmadd_ps(a, b, sum); }
ES_INLINE v4_t v4_add(v4_t a, v4_t b) { return _mm_add_ps(a, b); }
ES_INLINE v4_t v4_min(v4_t a, v4_t b) { return _mm_min_ps(a, b); }
ES_INLINE v4_t v4_max(v4_t a, v4_t b) { return _mm_max_ps(a, b); }
ES_INLINE void v4_store(float *p, v4_t v) { _mm_storeu_ps(p, v); }
ES_INLINE void v4_store_part(float *p, v4_t v, size_t n)
{
    float lanes[4];
    _mm_storeu_ps(lanes, v);
    memcpy(p, lanes, n * sizeof *p);
}

ES_INLINE v8_t v8_load(const float *p) { return _mm256_loadu_ps(p); }
ES_INLINE v8_t v8_zero(void) { return _mm256_setzero_ps(); }
ES_INLINE v8_t v8_set1(float f) { return _mm256_set1_ps(f); }
ES_INLINE v8_t v8_broadcast(const float *p) { return _mm256_broadcast_ss(p); }
ES_INLINE v8_t v8_broadcast4(const float *p) { return _mm256_broadcast_ps((const __m128 *)p); }
ES_INLINE v8_t v8_fma(v8_t sum, v8_t a, v8_t b) { return _mm256_fmadd_ps(a, b, sum); }
ES_INLINE v8_t v8_fma_x(v8_t sum, v8_t a, v8_x_t b) { return _mm256_fmadd_ps(a, b, sum); }
ES_INLINE v8_t v8_add(v8_t a, v8_t b) { return _mm256_add_ps(a, b); }
ES_INLINE v8_t v8_min(v8_t a, v8_t b) { return _mm256_min_ps(a, b); }
ES_INLINE v8_t v8_max(v8_t a, v8_t b) { return _mm256_max_ps(a, b); }
ES_INLINE void v8_store(float *p, v8_t v) { _mm256_storeu_ps(p, v); }
ES_INLINE void v8_store_part(float *p, v8_t v, size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane), v);
}

/* vpermilps looks at the lowest two bits of each lane only: shifting them there is all the unpacking. */
ES_INLINE v8_t v8_pick(v8_t four, v8_positions_t positions) { return _mm256_permutevar_ps(four, positions); }
ES_INLINE void v8_positions(const uint8_t *packed, v8_positions_t *first, v8_positions_t *second)
{
    int32_t bits;
    memcpy(&bits, packed, sizeof bits);
    const __m256i all = _mm256_set1_epi32(bits);
    *first = _mm256_srlv_epi32(all, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    *second = _mm256_srlv_epi32(all, _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30));
}

ES_INLINE void v8_transpose(v8_t t[8])
{
    const __m256 a0 = _mm256_unpacklo_ps(t[0], t[1]), a1 = _mm256_unpackhi_ps(t[0], t[1]);
    const __m256 a2 = _mm256_unpacklo_ps(t[2], t[3]), a3 = _mm256_unpackhi_ps(t[2], t[3]);
    const __m256 a4 = _mm256_unpacklo_ps(t[4], t[5]), a5 = _mm256_unpackhi_ps(t[4], t[5]);
    const __m256 a6 = _mm256_unpacklo_ps(t[6], t[7]), a7 = _mm256_unpackhi_ps(t[6], t[7]);
    const __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xee);
    const __m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xee);
    const __m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xee);
    const __m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xee);
    t[0] = _mm256_permute2f128_ps(b0, b4, 0x20);
    t[1] = _mm256_permute2f128_ps(b1, b5, 0x20);
    t[2] = _mm256_permute2f128_ps(b2, b6, 0x20);
    t[3] = _mm256_permute2f128_ps(b3, b7, 0x20);
    t[4] = _mm256_permute2f128_ps(b0, b4, 0x31);
    t[5] = _mm256_permute2f128_ps(b1, b5, 0x31);
    t[6] = _mm256_permute2f128_ps(b2, b6, 0x31);
    t[7] = _mm256_permute2f128_ps(b3, b7, 0x31);
}

#endif
