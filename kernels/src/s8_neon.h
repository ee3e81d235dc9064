/* What the int8 kernels of NEON share: sums, and what becomes of them. */
#ifndef ES_S8_NEON_H
#define ES_S8_NEON_H

#include <arm_neon.h>

#include "kernels.h"
#include "s8_plain.inc.h"

typedef int8_t q4_input_t;
typedef int32x4_t q4_sum_t;

ES_INLINE q4_sum_t q4_load_sum(const int32_t *p) { return vld1q_s32(p); }
ES_INLINE q4_sum_t q4_zero_sum(void) { return vdupq_n_s32(0); }
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

ES_INLINE void q4_store(int8_t *y, q4_sum_t sum, const float *scale, float low, float high, int32_t zero_point)
{
    const float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(scale));
    const float32x4_t clamped = vminq_f32(vdupq_n_f32(high), vmaxq_f32(vdupq_n_f32(low), scaled));
    const int16x4_t words = vmovn_s32(vaddq_s32(s8_neon_round(clamped), vdupq_n_s32(zero_point)));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
    memcpy(y, &four, sizeof four);
}

ES_INLINE int32_t s8_neon_four(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return four;
}

static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    (void)zero_point;
    memcpy(to, x, count);
}

#endif
