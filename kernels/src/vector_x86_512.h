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
ES_INLINE void v16_store_part(float *p, v16_t v, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), v);
}

ES_INLINE v16_t v16_pick(v16_t four, v16_positions_t positions) { return _mm512_permutevar_ps(four, positions); }
ES_INLINE void v16_positions(const uint8_t *packed, v16_positions_t *first, v16_positions_t *second)
{
    int32_t bits[2];
    memcpy(bits, packed, sizeof bits);
    const __m512i shift = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *first = _mm512_srlv_epi32(_mm512_set1_epi32(bits[0]), shift);
    *second = _mm512_srlv_epi32(_mm512_set1_epi32(bits[1]), shift);
}

/* Within the 128-bit lanes first (4x4 squares), then the lanes themselves. */
ES_INLINE void v16_transpose(v16_t t[16])
{
    __m512 a[16], b[16];
    ES_UNROLL for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
    }
    ES_UNROLL for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    ES_UNROLL for (int i = 0; i < 4; ++i) {
        const __m512 c0 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88), c1 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
        const __m512 c2 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        const __m512 c3 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(c0, c2, 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(c1, c3, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(c0, c2, 0xdd);
        t[i + 12] = _mm512_shuffle_f32x4(c1, c3, 0xdd);
    }
}

#endif
