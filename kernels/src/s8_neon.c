/* NEON without dot products (Cortex-A53, A72, ARMv7). Products of bytes are added in pairs of 16 bits, which two of them fit
 * because no weight is -128, then in fours of 32. */
#include "s8_neon.h"
#include "tile_names.h"

typedef int8x16_t q4_weights_t;
typedef struct { int8x8_t low, high; } q4_quad_t;

ES_INLINE q4_weights_t q4_load_weights(const int8_t *p) { return vld1q_s8(p); }
ES_INLINE q4_quad_t q4_quad(const int8_t *p, ptrdiff_t offset)
{
    int16_t two[2];
    memcpy(two, p + offset, sizeof two);
    return (q4_quad_t){vreinterpret_s8_s16(vdup_n_s16(two[0])), vreinterpret_s8_s16(vdup_n_s16(two[1]))};
}
ES_INLINE q4_sum_t q4_dot(q4_sum_t sum, q4_weights_t w, q4_quad_t x)
{
    return vpadalq_s16(sum, vmlal_s8(vmull_s8(vget_low_s8(w), x.low), vget_high_s8(w), x.high));
}

/* Eight sums at a time: no half of a register has to be moved to the other. */
typedef int8_t q8_input_t;
typedef struct { int32x4_t low, high; } q8_sum_t;
typedef struct { int8x16_t first, second; } q8_weights_t;     /* inputs 0 and 1, 2 and 3 */
typedef struct { int8x16_t first, second; } q8_quad_t;

ES_INLINE q8_sum_t q8_load_sum(const int32_t *p) { return (q8_sum_t){vld1q_s32(p), vld1q_s32(p + 4)}; }
ES_INLINE q8_sum_t q8_zero_sum(void) { return (q8_sum_t){vdupq_n_s32(0), vdupq_n_s32(0)}; }
ES_INLINE q8_sum_t q8_add_sum(q8_sum_t a, q8_sum_t b)
{
    return (q8_sum_t){vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}
ES_INLINE q8_weights_t q8_load_weights(const int8_t *p) { return (q8_weights_t){vld1q_s8(p), vld1q_s8(p + 16)}; }
ES_INLINE q8_quad_t q8_quad(const int8_t *p, ptrdiff_t offset)
{
    int16_t two[2];
    memcpy(two, p + offset, sizeof two);
    return (q8_quad_t){vreinterpretq_s8_s16(vdupq_n_s16(two[0])), vreinterpretq_s8_s16(vdupq_n_s16(two[1]))};
}
#if defined(__aarch64__)
/* In assembly because compilers see that both halves of a quad are the same, and then move each high half of the weights. */
ES_INLINE int16x8_t q8_high_products(q8_weights_t w, q8_quad_t x)
{
    int16x8_t products;
    __asm__("smull2 %0.8h, %1.16b, %2.16b" : "=w"(products) : "w"(w.first), "w"(x.first));
    __asm__("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(products) : "w"(w.second), "w"(x.second));
    return products;
}
#else
ES_INLINE int16x8_t q8_high_products(q8_weights_t w, q8_quad_t x)
{
    return vmlal_s8(vmull_s8(vget_high_s8(w.first), vget_high_s8(x.first)), vget_high_s8(w.second), vget_high_s8(x.second));
}
#endif
ES_INLINE q8_sum_t q8_dot(q8_sum_t sum, q8_weights_t w, q8_quad_t x)
{
    const int16x8_t low = vmull_s8(vget_low_s8(w.first), vget_low_s8(x.first));
    sum.low = vpadalq_s16(sum.low, vmlal_s8(low, vget_low_s8(w.second), vget_low_s8(x.second)));
    sum.high = vpadalq_s16(sum.high, q8_high_products(w, x));
    return sum;
}

typedef struct { float32x4_t low, high; } q8_scale_t;
ES_INLINE q8_scale_t q8_load_scale(const float *p) { return (q8_scale_t){vld1q_f32(p), vld1q_f32(p + 4)}; }
ES_INLINE void q8_store(int8_t *y, const q8_sum_t *sums, int count, const q8_scale_t *scales, es_s8_output output)
{
    int32x4_t fours[4];
    float32x4_t factors[4];
    ES_UNROLL for (int i = 0; i < count; ++i) {
        fours[2 * i] = sums[i].low;
        fours[2 * i + 1] = sums[i].high;
        factors[2 * i] = scales[i].low;
        factors[2 * i + 1] = scales[i].high;
    }
    q4_store(y, fours, 2 * count, factors, output);
}

#if defined(__aarch64__)
#define MS_16(F) ES_UP_TO_5(F, 1)
#define MS_8(F) ES_UP_TO_6(F, 1) ES_4_TO_6(F, 2)
#define MS_4(F) ES_UP_TO_8(F, 1) ES_5_TO_8(F, 2)
#else
#define MS_16(F) ES_UP_TO_2(F, 1)
#define MS_8(F) ES_UP_TO_4(F, 1)
#define MS_4(F) ES_UP_TO_8(F, 1)
#endif

#define S8_NAME bsr16
#define S8_V q8
#define S8_NV 2
#define S8_VW 8
#define S8_MS MS_16
#include "s8_bsr.inc.h"

#define S8_NAME bsr8
#define S8_V q8
#define S8_NV 1
#define S8_VW 8
#define S8_MS MS_8
#include "s8_bsr.inc.h"

#define S8_NAME bsr4
#define S8_V q4
#define S8_NV 1
#define S8_VW 4
#define S8_MS MS_4
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_neon = {
    .input = ES_S8_PLAIN,
    .convert = convert,
    .add = plain_add,
    .bsr16x4 = &bsr16,
    .bsr8x4 = &bsr8,
    .bsr4x4 = &bsr4,
    .vector_rows = 8,
    .pairs = true,
    .tile_bytes = 24 * 1024,
    .least_pixels = 4,
};
