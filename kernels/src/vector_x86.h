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

/* Lane-wise: 1 register of four weights, each in all of its lanes. */
ES_INLINE void v8_broadcast_four(const float *p, v8_x_t w[4])
{
    const __m256 four = _mm256_broadcast_ps((const __m128 *)p);
    w[0] = _mm256_permute_ps(four, 0x00);
    w[1] = _mm256_permute_ps(four, 0x55);
    w[2] = _mm256_permute_ps(four, 0xaa);
    w[3] = _mm256_permute_ps(four, 0xff);
}

/* An 8x8 square turned: its rows are loaded as halves, so that only 4x4 squares within the 128-bit lanes are left to turn
 * and no shuffle crosses them. */
#define V8_HALVES(low, high) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1)
ES_INLINE void v8_turn_lanes(v8_t t[8])
{
    ES_UNROLL for (int half = 0; half < 8; half += 4) {
        const __m256 a0 = _mm256_unpacklo_ps(t[half], t[half + 1]), a1 = _mm256_unpackhi_ps(t[half], t[half + 1]);
        const __m256 a2 = _mm256_unpacklo_ps(t[half + 2], t[half + 3]);
        const __m256 a3 = _mm256_unpackhi_ps(t[half + 2], t[half + 3]);
        t[half] = _mm256_shuffle_ps(a0, a2, 0x44);
        t[half + 1] = _mm256_shuffle_ps(a0, a2, 0xee);
        t[half + 2] = _mm256_shuffle_ps(a1, a3, 0x44);
        t[half + 3] = _mm256_shuffle_ps(a1, a3, 0xee);
    }
}
ES_INLINE void v8_load_turned(const float *p, size_t stride, v8_t t[8])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i) {
        t[i] = V8_HALVES(p + i * stride, p + (i + 4) * stride);
        t[i + 4] = V8_HALVES(p + i * stride + 4, p + (i + 4) * stride + 4);
    }
    v8_turn_lanes(t);
}
ES_INLINE void v8_gather_turned(const float *const *rows, size_t offset, v8_t t[8])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i) {
        t[i] = V8_HALVES(rows[i] + offset, rows[i + 4] + offset);
        t[i + 4] = V8_HALVES(rows[i] + offset + 4, rows[i + 4] + offset + 4);
    }
    v8_turn_lanes(t);
}

#endif
