/* Vectors of 4 floats for NEON, on AArch64 and on ARMv7 with VFPv4. */
#ifndef ES_VECTOR_NEON_H
#define ES_VECTOR_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

typedef float32x4_t v4_t;

ES_INLINE v4_t v4_load(const float *p) { return vld1q_f32(p); }
ES_INLINE v4_t v4_zero(void) { return vdupq_n_f32(0.0f); }
ES_INLINE v4_t v4_set1(float f) { return vdupq_n_f32(f); }
ES_INLINE v4_t v4_fma(v4_t sum, v4_t a, v4_t b) { return vfmaq_f32(sum, a, b); }
#if defined(__aarch64__)
/* The multiply by one lane takes the scalar as it was loaded. */
typedef float v4_x_t;
ES_INLINE v4_x_t v4_broadcast(const float *p) { return *p; }
ES_INLINE v4_t v4_fma_x(v4_t sum, v4_t a, v4_x_t b) { return vfmaq_n_f32(sum, a, b); }
#else
typedef float32x4_t v4_x_t;
ES_INLINE v4_x_t v4_broadcast(const float *p) { return vld1q_dup_f32(p); }
ES_INLINE v4_t v4_fma_x(v4_t sum, v4_t a, v4_x_t b) { return vfmaq_f32(sum, a, b); }
#endif
ES_INLINE v4_t v4_add(v4_t a, v4_t b) { return vaddq_f32(a, b); }
ES_INLINE v4_t v4_min(v4_t a, v4_t b) { return vminq_f32(a, b); }
ES_INLINE v4_t v4_max(v4_t a, v4_t b) { return vmaxq_f32(a, b); }
ES_INLINE void v4_store(float *p, v4_t v) { vst1q_f32(p, v); }

ES_INLINE void v4_transpose(v4_t t[4])
{
    const float32x4x2_t a = vtrnq_f32(t[0], t[1]), b = vtrnq_f32(t[2], t[3]);
    t[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    t[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    t[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    t[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

ES_INLINE void v4_broadcast_four(const float *p, v4_x_t w[4])
{
    const float32x4_t four = vld1q_f32(p);
#if defined(__aarch64__)
    w[0] = vgetq_lane_f32(four, 0);
    w[1] = vgetq_lane_f32(four, 1);
    w[2] = vgetq_lane_f32(four, 2);
    w[3] = vgetq_lane_f32(four, 3);
#else
    w[0] = vdupq_lane_f32(vget_low_f32(four), 0);
    w[1] = vdupq_lane_f32(vget_low_f32(four), 1);
    w[2] = vdupq_lane_f32(vget_high_f32(four), 0);
    w[3] = vdupq_lane_f32(vget_high_f32(four), 1);
#endif
}
ES_INLINE void v4_load_turned(const float *p, size_t stride, v4_t t[4])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i)
        t[i] = v4_load(p + i * stride);
    v4_transpose(t);
}
ES_INLINE void v4_gather_turned(const float *const *rows, size_t offset, v4_t t[4])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i)
        t[i] = v4_load(rows[i] + offset);
    v4_transpose(t);
}

#endif
