/* AArch64 with dot products: SDOT makes four sums of four signed products each. */
#include "s8_neon.h"
#include "tile_names.h"

typedef int8x16_t q4_weights_t;
typedef int8x8_t q4_quad_t;             /* in its first lane: what an SDOT takes by lane need not be in all */

ES_INLINE q4_weights_t q4_load_weights(const int8_t *p) { return vld1q_s8(p); }
/* In assembly because compilers make a load to all lanes of it, which takes no offset: an addition more for each pixel. The
 * input is nothing that a kernel writes. */
ES_INLINE q4_quad_t q4_quad(const int8_t *p, ptrdiff_t offset)
{
    q4_quad_t quad;
    __asm__("ldr %s0, [%1, %2]" : "=w"(quad) : "r"(p), "r"(offset));
    return quad;
}
ES_INLINE q4_sum_t q4_dot(q4_sum_t sum, q4_weights_t w, q4_quad_t x) { return vdotq_lane_s32(sum, w, x, 0); }

#define MS_16(F) ES_UP_TO_6(F, 1)
#define MS_8(F) ES_UP_TO_6(F, 1) ES_4_TO_6(F, 2)
#define MS_4(F) ES_UP_TO_8(F, 1) ES_5_TO_8(F, 2)

#define S8_NAME bsr16
#define S8_V q4
#define S8_NV 4
#define S8_VW 4
#define S8_MS MS_16
#include "s8_bsr.inc.h"

#define S8_NAME bsr8
#define S8_V q4
#define S8_NV 2
#define S8_VW 4
#define S8_MS MS_8
#include "s8_bsr.inc.h"

#define S8_NAME bsr4
#define S8_V q4
#define S8_NV 1
#define S8_VW 4
#define S8_MS MS_4
#include "s8_bsr.inc.h"

typedef int8_t d16_input_t;
typedef struct { int8x16_t q[4]; } d16_column_t;
typedef struct { int32x4_t q[4]; } d16_sums_t;
typedef struct { float32x4_t q[4]; } d16_scales_t;

ES_INLINE d16_column_t d16_column(const int8_t *x, ptrdiff_t x_row)
{
    const int8x16_t first = vld1q_s8(x), second = vld1q_s8(x + x_row), third = vld1q_s8(x + 2 * x_row);
    const int8x16_t zero = vdupq_n_s8(0);
    const int16x8_t low = vreinterpretq_s16_s8(vzip1q_s8(first, second));
    const int16x8_t high = vreinterpretq_s16_s8(vzip2q_s8(first, second));
    const int16x8_t low_rest = vreinterpretq_s16_s8(vzip1q_s8(third, zero));
    const int16x8_t high_rest = vreinterpretq_s16_s8(vzip2q_s8(third, zero));
    return (d16_column_t){{vreinterpretq_s8_s16(vzip1q_s16(low, low_rest)), vreinterpretq_s8_s16(vzip2q_s16(low, low_rest)),
                           vreinterpretq_s8_s16(vzip1q_s16(high, high_rest)),
                           vreinterpretq_s8_s16(vzip2q_s16(high, high_rest))}};
}
ES_INLINE d16_sums_t d16_load_sums(const int32_t *bias)
{
    return (d16_sums_t){{vld1q_s32(bias), vld1q_s32(bias + 4), vld1q_s32(bias + 8), vld1q_s32(bias + 12)}};
}
ES_INLINE d16_scales_t d16_load_scales(const float *p)
{
    return (d16_scales_t){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
ES_INLINE d16_sums_t d16_add_column(d16_sums_t sums, const void *weights, int kx, d16_column_t taps)
{
    const int8_t *w = (const int8_t *)weights + kx * 64;
    ES_UNROLL for (int q = 0; q < 4; ++q)
        sums.q[q] = vdotq_s32(sums.q[q], taps.q[q], vld1q_s8(w + q * 16));
    return sums;
}
ES_INLINE void d16_store_sums(int8_t *y, d16_sums_t sums, d16_scales_t scales, es_s8_output output)
{
    q4_store(y, sums.q, 4, scales.q, output);
}

#define DW_NAME depthwise16
#define DW_V d16
#define DW_G 16
#define DW_QUADS 4
#define DW_T 3
#include "s8_depthwise.inc.h"

const es_s8_kernels es_s8_neondot = {
    .input = ES_S8_PLAIN,
    .convert = convert,
    .depthwise = {&depthwise16},
    .add = plain_add,
    .bsr16x4 = &bsr16,
    .bsr8x4 = &bsr8,
    .bsr4x4 = &bsr4,
    .vector_rows = 4,
    .tile_bytes = 24 * 1024,
    .least_pixels = 4,
};
