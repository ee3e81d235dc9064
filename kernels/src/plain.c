/* Sums of two tensors, means over pictures and frames of zeros around them. */
#include <math.h>

#include "op.h"

enum { PART = 16 * 1024 };

typedef struct sum {
    const es_isa *isa;
    const float *a, *b;
    float *y;
    size_t count;
    float low, high;
} sum;

static void add_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    const sum *s = context;
    const size_t from = index * PART;
    s->isa->f32->add(s->a + from, s->b + from, s->y + from, es_min(PART, s->count - from), s->low, s->high);
}

void es_add(const es_isa *isa, es_pool *pool, const float *a, const float *b, float *y, size_t count, float low,
            float high)
{
    sum s = {.isa = isa, .a = a, .b = b, .y = y, .count = count, .low = low, .high = high};
    es_pool_run(pool, add_part, &s, es_ceil_div(count, PART));
}

/* ---- int8 sums ------------------------------------------------------------------------------------------------------ */

enum { MULTIPLIER_BITS = 20 };

bool es_add_s8_fits(const es_add_s8_scales *s)
{
    const float larger = fmaxf(s->a_scale, s->b_scale) / s->y_scale;
    return s->a_scale > 0 && s->b_scale > 0 && s->y_scale > 0 && larger >= 0x1p-10f && larger < 0x1p8f;
}

static int32_t quantized_bound(const es_add_s8_scales *s, float real)
{
    return (int32_t)rintf(fminf(fmaxf(real / s->y_scale + (float)s->y_zero, INT8_MIN), INT8_MAX)) - s->y_zero;
}

/* The larger multiplier fills its 21 bits; half of what is shifted out is added first. */
static es_sum_s8 sum_of(const es_add_s8_scales *s)
{
    const float a = s->a_scale / s->y_scale, b = s->b_scale / s->y_scale;
    const int shift = MULTIPLIER_BITS - ilogbf(fmaxf(a, b));
    es_sum_s8 sum = {
        .a_multiplier = (int32_t)lrintf(ldexpf(a, shift)),
        .b_multiplier = (int32_t)lrintf(ldexpf(b, shift)),
        .shift = (uint32_t)shift,
        .low = quantized_bound(s, s->low),
        .high = quantized_bound(s, s->high),
        .zero_point = s->y_zero,
    };
    sum.bias = (1 << (shift - 1)) - s->a_zero * sum.a_multiplier - s->b_zero * sum.b_multiplier;
    return sum;
}

typedef struct sum_s8 {
    const es_isa *isa;
    es_sum_s8 sum;
    const int8_t *a, *b;
    int8_t *y;
    size_t count;
} sum_s8;

static void add_part_s8(void *context, size_t index, size_t thread)
{
    (void)thread;
    const sum_s8 *s = context;
    const size_t from = index * PART;
    s->isa->s8->add(&s->sum, s->a + from, s->b + from, s->y + from, es_min(PART, s->count - from));
}

void es_add_s8(const es_isa *isa, es_pool *pool, const es_add_s8_scales *scales, const int8_t *a, const int8_t *b, int8_t *y,
               size_t count)
{
    sum_s8 s = {.isa = isa, .sum = sum_of(scales), .a = a, .b = b, .y = y, .count = count};
    es_pool_run(pool, add_part_s8, &s, es_ceil_div(count, PART));
}

/* ---- means and frames ----------------------------------------------------------------------------------------------- */

typedef struct mean {
    const es_isa *isa;
    const float *x;
    float *y;
    size_t pixels, channels;
} mean;

static void mean_image(void *context, size_t image, size_t thread)
{
    (void)thread;
    const mean *m = context;
    m->isa->f32->mean(m->x + image * m->pixels * m->channels, m->y + image * m->channels, m->pixels, m->channels);
}

void es_mean(const es_isa *isa, es_pool *pool, const float *x, float *y, size_t images, size_t pixels, size_t channels)
{
    mean m = {.isa = isa, .x = x, .y = y, .pixels = pixels, .channels = channels};
    es_pool_run(pool, mean_image, &m, images);
}

typedef struct pad {
    es_padding frame;
    const char *x;
    char *y;
} pad;

static void pad_row(void *context, size_t index, size_t thread)
{
    (void)thread;
    const pad *p = context;
    const es_padding *f = &p->frame;
    const size_t pixel = f->channels * (f->bytes ? sizeof(int8_t) : sizeof(float)), row_bytes = f->out_w * pixel;
    const int fill = f->bytes ? f->zero : 0;
    const size_t image = index / f->out_h, row = index % f->out_h;
    char *to = p->y + index * row_bytes;
    if (row < f->top || row - f->top >= f->in_h) {
        memset(to, fill, row_bytes);
        return;
    }
    const size_t copied = es_min(f->in_w, f->out_w - f->left);
    memset(to, fill, f->left * pixel);
    memcpy(to + f->left * pixel, p->x + (image * f->in_h + row - f->top) * f->in_w * pixel, copied * pixel);
    memset(to + (f->left + copied) * pixel, fill, (f->out_w - f->left - copied) * pixel);
}

void es_pad(es_pool *pool, const es_padding *frame, const void *x, void *y)
{
    pad p = {.frame = *frame, .x = x, .y = y};
    es_pool_run(pool, pad_row, &p, frame->images * frame->out_h);
}
