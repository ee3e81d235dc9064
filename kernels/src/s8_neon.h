/* What the int8 kernels of NEON share: sums, and what becomes of them. */
#ifndef ES_S8_NEON_H
#define ES_S8_NEON_H

#include <arm_neon.h>

#include "kernels.h"
#include "s8_plain.inc.h"

typedef int8_t q4_input_t;
typedef int32x4_t q4_sum_t;
typedef float32x4_t q4_scale_t;

ES_INLINE q4_sum_t q4_load_sum(const int32_t *p) { return vld1q_s32(p); }
ES_INLINE q4_sum_t q4_zero_sum(void) { return vdupq_n_s32(0); }
ES_INLINE q4_scale_t q4_load_scale(const float *p) { return vld1q_f32(p); }
ES_INLINE q4_sum_t q4_add_sum(q4_sum_t a, q4_sum_t b) { return vaddq_s32(a, b); }

/* Half to even. */
ES_INLINE int32x4_t s8_neon_round(float32x4_t x)
{
#if defined(__aarch64__)
    return vcvtnq_s32_f32(x);
#else
    /* Of a float this large the lowest bit is worth one; what is added is clamped to well below its range. */
    const float32x4_t large = vdupq_n_f32(12582912.0f);
    return vsubq_s32(vreinterpretq_s32_f32(vaddq_f32(x, large)), vreinterpretq_s32_f32(large));
#endif
}

/* Four sums to outputs less their zero point, not clamped yet. */
ES_INLINE int16x4_t s8_neon_words(q4_sum_t sum, q4_scale_t scale)
{
    const float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(sum), scale);
#if !defined(__aarch64__)
    /* What s8_neon_round can do. */
    return vmovn_s32(s8_neon_round(vminq_f32(vdupq_n_f32(1024), vmaxq_f32(vdupq_n_f32(-1024), scaled))));
#else
    return vqmovn_s32(s8_neon_round(scaled));
#endif
}

ES_INLINE int8x8_t s8_neon_bytes(int16x4_t low, int16x4_t high, es_s8_output o)
{
    const int8x8_t bytes = vqmovn_s16(vqaddq_s16(vcombine_s16(low, high), vdupq_n_s16((int16_t)o.zero_point)));
    return vmin_s8(vdup_n_s8((int8_t)((int32_t)o.high + o.zero_point)),
                   vmax_s8(vdup_n_s8((int8_t)((int32_t)o.low + o.zero_point)), bytes));
}

/* 1, 2 or a multiple of four vectors of sums. */
ES_INLINE void q4_store(int8_t *y, const q4_sum_t *sums, int count, const q4_scale_t *scales, es_s8_output o)
{
    if (count == 1) {
        const int16x4_t words = s8_neon_words(sums[0], scales[0]);
        const int32_t four = vget_lane_s32(vreinterpret_s32_s8(s8_neon_bytes(words, words, o)), 0);
        memcpy(y, &four, sizeof four);
    }
    if (count == 2)
        vst1_s8(y, s8_neon_bytes(s8_neon_words(sums[0], scales[0]), s8_neon_words(sums[1], scales[1]), o));
    const int16x8_t zero_point = vdupq_n_s16((int16_t)o.zero_point);
    const int8x16_t low = vdupq_n_s8((int8_t)((int32_t)o.low + o.zero_point));
    const int8x16_t high = vdupq_n_s8((int8_t)((int32_t)o.high + o.zero_point));
    ES_UNROLL for (int i = 0; i + 4 <= count; i += 4) {
        const int16x8_t first = vcombine_s16(s8_neon_words(sums[i], scales[i]),
                                             s8_neon_words(sums[i + 1], scales[i + 1]));
        const int16x8_t second = vcombine_s16(s8_neon_words(sums[i + 2], scales[i + 2]),
                                              s8_neon_words(sums[i + 3], scales[i + 3]));
        const int8x16_t bytes = vcombine_s8(vqmovn_s16(vqaddq_s16(first, zero_point)),
                                            vqmovn_s16(vqaddq_s16(second, zero_point)));
        vst1q_s8(y + 4 * i, vminq_s8(high, vmaxq_s8(low, bytes)));
    }
}

static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    (void)zero_point;
    memcpy(to, x, count);
}

#endif
