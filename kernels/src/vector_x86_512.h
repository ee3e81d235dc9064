/* Vectors of 16 floats for AVX-512 (F, VL, BW, DQ). */
#ifndef ES_VECTOR_X86_512_H
#define ES_VECTOR_X86_512_H

#include "vector_x86.h"

typedef __m512 v16_t, v16_x_t;
typedef __m512i v16_positions_t;

ES_INLINE v16_t v16_load(const float *p) { return _mm512_loadu_ps(p); }
ES_INLINE v16_t v16_zero(void) { return _mm512_setzero_ps(); }
ES_INLINE v16_t v16_set1(float f) { return _mm512_set1_ps(f); }
ES_INLINE v16_t v16_broadcast(const float *p) { return _mm512_set1_ps(*p); }
ES_INLINE v16_t v16_broadcast4(const float *p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
ES_INLINE v16_t v16_fma(v16_t sum, v16_t a, v16_t b) { return _mm512_fmadd_ps(a, b, sum); }
ES_INLINE v16_t v16_fma_x(v16_t sum, v16_t a, v16_x_t b) { return _mm512_fmadd_ps(a, b, sum); }
ES_INLINE v16_t v16_add(v16_t a, v16_t b) { return _mm512_add_ps(a, b); }
ES_INLINE v16_t v16_min(v16_t a, v16_t b) { return _mm512_min_ps(a, b); }
ES_INLINE v16_t v16_max(v16_t a, v16_t b) { return _mm512_max_ps(a, b); }
ES_INLINE void v16_store(float *p, v16_t v) { _mm512_storeu_ps(p, v); }

ES_INLINE v16_t v16_pick(v16_t four, v16_positions_t positions) { return _mm512_permutevar_ps(four, positions); }
ES_INLINE void v16_positions(const uint8_t *packed, v16_positions_t *first, v16_positions_t *second)
{
    int32_t bits[2];
    memcpy(bits, packed, sizeof bits);
    const __m512i shift = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *first = _mm512_srlv_epi32(_mm512_set1_epi32(bits[0]), shift);
    *second = _mm512_srlv_epi32(_mm512_set1_epi32(bits[1]), shift);
}

ES_INLINE void v16_broadcast_four(const float *p, v16_x_t w[4])
{
    const __m512 four = _mm512_broadcast_f32x4(_mm_loadu_ps(p));
    w[0] = _mm512_permute_ps(four, 0x00);
    w[1] = _mm512_permute_ps(four, 0x55);
    w[2] = _mm512_permute_ps(four, 0xaa);
    w[3] = _mm512_permute_ps(four, 0xff);
}

/* A 16x16 square turned: rows are loaded as quarters, four rows to a register, so that only 4x4 squares within the
 * 128-bit lanes are left to turn and no shuffle crosses them. */
ES_INLINE v16_t v16_quarters(const float *a, const float *b, const float *c, const float *d)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(a));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(b), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(c), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(d), 3);
}
ES_INLINE void v16_turn_lanes(v16_t t[16])
{
    ES_UNROLL for (int quarter = 0; quarter < 16; quarter += 4) {
        const __m512 a0 = _mm512_unpacklo_ps(t[quarter], t[quarter + 1]);
        const __m512 a1 = _mm512_unpackhi_ps(t[quarter], t[quarter + 1]);
        const __m512 a2 = _mm512_unpacklo_ps(t[quarter + 2], t[quarter + 3]);
        const __m512 a3 = _mm512_unpackhi_ps(t[quarter + 2], t[quarter + 3]);
        t[quarter] = _mm512_shuffle_ps(a0, a2, 0x44);
        t[quarter + 1] = _mm512_shuffle_ps(a0, a2, 0xee);
        t[quarter + 2] = _mm512_shuffle_ps(a1, a3, 0x44);
        t[quarter + 3] = _mm512_shuffle_ps(a1, a3, 0xee);
    }
}
ES_INLINE void v16_load_turned(const float *p, size_t stride, v16_t t[16])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i)
        ES_UNROLL for (size_t quarter = 0; quarter < 4; ++quarter) {
            const float *from = p + i * stride + 4 * quarter;
            t[4 * quarter + i] = v16_quarters(from, from + 4 * stride, from + 8 * stride, from + 12 * stride);
        }
    v16_turn_lanes(t);
}
ES_INLINE void v16_gather_turned(const float *const *rows, size_t offset, v16_t t[16])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i)
        ES_UNROLL for (size_t quarter = 0; quarter < 4; ++quarter) {
            const size_t at = offset + 4 * quarter;
            t[4 * quarter + i] = v16_quarters(rows[i] + at, rows[i + 4] + at, rows[i + 8] + at, rows[i + 12] + at);
        }
    v16_turn_lanes(t);
}

#endif
