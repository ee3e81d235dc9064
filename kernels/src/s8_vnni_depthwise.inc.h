/* A group of channels as vectors of bytes, their three taps interleaved for vpdpbusd. Defined by the including file:
 *   X_V prefix   X_T, X_F vector types   X_(op) an intrinsic of this width   X_LOAD, X_DPBUSD   X_G channels   DW_T */

#define V_(op) ES_JOIN(ES_JOIN(X_V, _), op)

typedef uint8_t V_(input_t);
typedef struct { X_T q[4]; } V_(column_t), V_(sums_t);
typedef struct { X_F q[4]; } V_(scales_t);

ES_INLINE V_(column_t) V_(column)(const uint8_t *x, ptrdiff_t x_row)
{
    const X_T zero = X_LOAD(es_zero_bytes), first = X_LOAD(x), second = X_LOAD(x + x_row), third = X_LOAD(x + 2 * x_row);
    const X_T low = X_(unpacklo_epi8)(first, second), high = X_(unpackhi_epi8)(first, second);
    const X_T low_rest = X_(unpacklo_epi8)(third, zero), high_rest = X_(unpackhi_epi8)(third, zero);
    return (V_(column_t)){{X_(unpacklo_epi16)(low, low_rest), X_(unpackhi_epi16)(low, low_rest),
                           X_(unpacklo_epi16)(high, high_rest), X_(unpackhi_epi16)(high, high_rest)}};
}
ES_INLINE V_(sums_t) V_(load_sums)(const int32_t *bias)
{
    return (V_(sums_t)){{X_LOAD(bias), X_LOAD(bias + X_G / 4), X_LOAD(bias + X_G / 2), X_LOAD(bias + 3 * X_G / 4)}};
}
ES_INLINE V_(scales_t) V_(load_scales)(const float *scale)
{
    return (V_(scales_t)){{X_(loadu_ps)(scale), X_(loadu_ps)(scale + X_G / 4), X_(loadu_ps)(scale + X_G / 2),
                           X_(loadu_ps)(scale + 3 * X_G / 4)}};
}
ES_INLINE V_(sums_t) V_(add_column)(V_(sums_t) sums, const void *weights, int kx, V_(column_t) taps)
{
    const int8_t *w = (const int8_t *)weights + kx * 4 * X_G;
    ES_UNROLL for (int q = 0; q < 4; ++q)
        sums.q[q] = X_DPBUSD(sums.q[q], taps.q[q], X_LOAD(w + q * X_G));
    return sums;
}
ES_INLINE void V_(store_sums)(int8_t *y, V_(sums_t) sums, V_(scales_t) scales, es_s8_output o)
{
    ES_UNROLL for (int q = 0; q < 4; ++q) {
        const X_F scaled = X_(mul_ps)(X_(cvtepi32_ps)(sums.q[q]), scales.q[q]);
        const X_F clamped = X_(min_ps)(X_(set1_ps)(o.high), X_(max_ps)(X_(set1_ps)(o.low), scaled));
        sums.q[q] = X_(add_epi32)(X_(cvtps_epi32)(clamped), X_(set1_epi32)(o.zero_point));
    }
    X_STORE(y, X_(packs_epi16)(X_(packs_epi32)(sums.q[0], sums.q[1]), X_(packs_epi32)(sums.q[2], sums.q[3])));
}

#undef V_
#define DW_NAME ES_JOIN(depthwise, X_G)
#define DW_V X_V
#define DW_G X_G
#define DW_QUADS 4
#include "s8_depthwise.inc.h"

#undef X_V
#undef X_T
#undef X_F
#undef X_
#undef X_LOAD
#undef X_STORE
#undef X_DPBUSD
#undef X_G
