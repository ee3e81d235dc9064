/* Portable C: the reference of the int8 kernels. */
#include "kernels.h"
#include "tile_names.h"

typedef int8_t q4_input_t;
typedef struct { int32_t of[4]; } q4_sum_t;
typedef const int8_t *q4_weights_t, *q4_quad_t;

ES_INLINE q4_sum_t q4_load_sum(const int32_t *p) { return (q4_sum_t){{p[0], p[1], p[2], p[3]}}; }
ES_INLINE q4_sum_t q4_zero_sum(void) { return (q4_sum_t){{0}}; }
ES_INLINE q4_weights_t q4_load_weights(const int8_t *p) { return p; }
ES_INLINE q4_quad_t q4_quad(const int8_t *p, ptrdiff_t offset) { return p + offset; }

/* Sums wrap, as those of vectors do. */
ES_INLINE int32_t wrapped(uint32_t sum)
{
    int32_t result;
    memcpy(&result, &sum, sizeof result);
    return result;
}

ES_INLINE q4_sum_t q4_add_sum(q4_sum_t a, q4_sum_t b)
{
    for (int i = 0; i < 4; ++i)
        a.of[i] = wrapped((uint32_t)a.of[i] + (uint32_t)b.of[i]);
    return a;
}

ES_INLINE q4_sum_t q4_dot(q4_sum_t sum, q4_weights_t w, q4_quad_t x)
{
    for (int i = 0; i < 4; ++i)
        sum.of[i] = wrapped((uint32_t)sum.of[i] + (uint32_t)(w[4 * i] * x[0] + w[4 * i + 1] * x[1] +
                                                             w[4 * i + 2] * x[2] + w[4 * i + 3] * x[3]));
    return sum;
}

typedef struct { float of[4]; } q4_scale_t;
ES_INLINE q4_scale_t q4_load_scale(const float *p) { return (q4_scale_t){{p[0], p[1], p[2], p[3]}}; }
ES_INLINE void q4_store(int8_t *y, const q4_sum_t *sums, int count, const q4_scale_t *scales, es_s8_output o)
{
    for (int i = 0; i < 4 * count; ++i)
        y[i] = (int8_t)((int32_t)rintf(fminf(o.high, fmaxf(o.low, (float)sums[i / 4].of[i % 4] * scales[i / 4].of[i % 4]))) + o.zero_point);
}

#define S8_NAME bsr4
#define S8_V q4
#define S8_NV 1
#define S8_VW 4
#define S8_MS(F) ES_UP_TO_1(F, 1)
#include "s8_bsr.inc.h"

static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    (void)zero_point;
    memcpy(to, x, count);
}

typedef int8_t d16_input_t;
typedef struct { const int8_t *row[3]; } d16_column_t;
typedef struct { q4_sum_t q[4]; } d16_sums_t;
typedef struct { q4_scale_t q[4]; } d16_scales_t;

ES_INLINE d16_column_t d16_column(const int8_t *x, ptrdiff_t x_row)
{
    return (d16_column_t){{x, x + x_row, x + 2 * x_row}};
}
ES_INLINE d16_sums_t d16_load_sums(const int32_t *bias)
{
    return (d16_sums_t){{q4_load_sum(bias), q4_load_sum(bias + 4), q4_load_sum(bias + 8), q4_load_sum(bias + 12)}};
}
ES_INLINE d16_scales_t d16_load_scales(const float *p)
{
    return (d16_scales_t){{q4_load_scale(p), q4_load_scale(p + 4), q4_load_scale(p + 8), q4_load_scale(p + 12)}};
}
ES_INLINE d16_sums_t d16_add_column(d16_sums_t sums, const void *weights, int kx, d16_column_t taps)
{
    const int8_t *w = (const int8_t *)weights + kx * 64;
    for (int c = 0; c < 16; ++c)
        for (int ky = 0; ky < 3; ++ky)
            sums.q[c / 4].of[c % 4] = wrapped((uint32_t)sums.q[c / 4].of[c % 4] + (uint32_t)(w[4 * c + ky] * taps.row[ky][c]));
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
#define DW_T 1
#include "s8_depthwise.inc.h"

#include "s8_plain.inc.h"

const es_s8_kernels es_s8_scalar = {
    .input = ES_S8_PLAIN,
    .convert = convert,
    .depthwise = {&depthwise16},
    .add = plain_add,
    .bsr4x4 = &bsr4,
    .vector_rows = 4,
    .tile_bytes = 16 * 1024,
    .least_pixels = 1,
};
