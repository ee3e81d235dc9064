/* int8 depthwise 3x3 convolutions, strides 1 and 2: dense, taken for what stands between sparse convolutions, and because dot
 * products over a column's taps take a fraction of what XNNPACK's 32-bit products do. */
#include <stdio.h>
#include <string.h>

#include "op.h"

enum { COLUMN_TAPS = ES_DW_SIDE * ES_QUAD };      /* weights of a channel, one zero in each column */

/* The widest kernel for the channels from `start` on. */
static const es_depthwise_s8_kernels *group_of(const es_op *op, size_t start)
{
    const es_depthwise_s8_kernels *const *kernels = op->isa->s8->depthwise;
    size_t i = 0;
    while (i + 1 < ES_DW_WIDTHS && kernels[i + 1] != NULL && kernels[i]->channels > op->channels - start)
        ++i;
    return kernels[i];
}

bool es_depthwise_s8_fits(const es_isa *isa, const es_conv *conv)
{
    return isa->s8->depthwise[0] != NULL && conv->in_c == conv->out_c && conv->k_h == ES_DW_SIDE &&
           conv->k_w == ES_DW_SIDE && conv->stride_h == conv->stride_w && conv->stride_h <= ES_DW_STRIDES;
}

/* Where a group's sums, and so its biases and scales, have channel `c` of the group: see es_depthwise_s8_row. */
static size_t place_of(const es_depthwise_s8_kernels *kernels, size_t c)
{
    const size_t run = 4 * kernels->quads, runs = kernels->channels / run;
    return (c % run / 4 * runs + c / run) * 4 + c % 4;
}

/* Column by column, then in the order of the sums: bytes as four rows, 16-bit values as two pairs of rows. */
static void pack_channel(const es_op *op, const es_depthwise_s8_kernels *kernels, size_t start, size_t c,
                         const int8_t *weights)
{
    const size_t group = kernels->channels, place = place_of(kernels, c), channels = (size_t)op->conv.in_c;
    for (size_t kx = 0; kx < ES_DW_SIDE; ++kx)
        for (size_t ky = 0; ky < ES_DW_SIDE; ++ky) {
            const int8_t weight = weights[(ky * ES_DW_SIDE + kx) * channels + start + c];
            const size_t column = start * COLUMN_TAPS + kx * ES_QUAD * group;
            if (op->isa->s8->input == ES_S8_WIDE)
                ((int16_t *)op->taps)[column + ky / 2 * 2 * group + place * 2 + ky % 2] = weight;
            else
                ((int8_t *)op->taps)[column + place * ES_QUAD + ky] = weight;
        }
}

static size_t tap_bytes(const es_op *op)
{
    return op->channels * COLUMN_TAPS * (op->isa->s8->input == ES_S8_WIDE ? sizeof(int16_t) : sizeof(int8_t));
}

es_status es_pack_depthwise_s8(es_op *op, const es_quantization *q, const int8_t *weights, const int32_t *bias)
{
    const size_t channels = (size_t)op->conv.in_c;
    const int32_t added = es_s8_added(op);
    op->taps = es_allocate(tap_bytes(op), &op->packed_bytes);
    if (op->taps == NULL)
        return ES_OUT_OF_MEMORY;
    memset(op->taps, 0, tap_bytes(op));
    for (size_t start = 0; start < op->channels; start += group_of(op, start)->channels) {
        const es_depthwise_s8_kernels *kernels = group_of(op, start);
        for (size_t c = 0; c < kernels->channels; ++c) {
            const size_t at = start + place_of(kernels, c), channel = start + c;
            op->scale[at] = es_s8_scale(q, channel < channels ? channel : 0);
            if (channel >= channels)
                continue;
            uint32_t sum = 0;
            for (size_t tap = 0; tap < ES_DW_SIDE * ES_DW_SIDE; ++tap) {
                if (weights[tap * channels + channel] == INT8_MIN)
                    return ES_BAD_QUANTIZATION;
                sum += (uint32_t)weights[tap * channels + channel];
            }
            const uint32_t folded = (bias != NULL ? (uint32_t)bias[channel] : 0) - (uint32_t)added * sum;
            memcpy((int32_t *)op->bias + at, &folded, sizeof folded);
            pack_channel(op, kernels, start, c, weights);
        }
    }
    return ES_OK;
}

void es_name_depthwise_s8(es_op *op)
{
    snprintf(op->kernel, sizeof op->kernel, "es_s8_depthwise_3x3%s_ukernel__%s", op->conv.stride_h == 1 ? "" : "s2",
             op->isa->name);
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

typedef struct job {
    const es_op *op;
    const char *picture;
    int8_t *output;
    size_t width, height;       /* of the picture */
    es_s8_output bounds;
    size_t parts;
} job;

static void run_pixels(const es_depthwise_s8_kernels *kernels, const es_depthwise_s8_row *row)
{
    (row->pixels >= kernels->least ? kernels->wide[row->stride - 1] : kernels->narrow)(row);
}

/* Channels that fill only a part of a group: it is stored aside. */
static void run_part_of_group(const job *j, const es_depthwise_s8_kernels *kernels, es_depthwise_s8_row row, size_t channels)
{
    enum { PIXELS = 16, MOST_CHANNELS = 64 };
    int8_t whole[PIXELS * MOST_CHANNELS];
    const size_t all = row.pixels, stride = (size_t)j->op->conv.stride_w;
    const char *x = row.x;
    int8_t *y = row.y;
    const size_t y_pixel = (size_t)row.y_pixel;
    row.y = whole;
    row.y_pixel = (ptrdiff_t)kernels->channels;
    for (size_t first = 0; first < all; first += PIXELS) {
        row.pixels = es_min(PIXELS, all - first);
        row.x = x + first * stride * (size_t)row.x_pixel * j->op->x_bytes;
        run_pixels(kernels, &row);
        for (size_t p = 0; p < row.pixels; ++p)
            memcpy(y + (first + p) * y_pixel, whole + p * kernels->channels, channels);
    }
}

static void run_row(const job *j, size_t index)
{
    const es_op *op = j->op;
    const es_conv *conv = &op->conv;
    const size_t out_h = (size_t)conv->out_h, out_w = (size_t)conv->out_w, out_c = (size_t)conv->out_c;
    const size_t stride = (size_t)conv->stride_h, image = index / out_h, y = index % out_h;
    const size_t x = (image * j->height + y * stride) * j->width * op->channels;
    const size_t tap = tap_bytes(op) / op->channels;
    for (size_t start = 0, next; start < op->channels; start = next) {
        const es_depthwise_s8_kernels *kernels = group_of(op, start);
        const size_t whole = start < out_c ? (out_c - start) / kernels->channels : 0;
        next = start + (whole > 0 ? whole : 1) * kernels->channels;
        const es_depthwise_s8_row row = {
            .x = j->picture + (x + start) * op->x_bytes,
            .x_row = (ptrdiff_t)(j->width * op->channels),
            .x_pixel = (ptrdiff_t)op->channels,
            .weights = (const char *)op->taps + start * tap,
            .bias = (const int32_t *)op->bias + start,
            .scale = op->scale + start,
            .output = j->bounds,
            .y = j->output + index * out_w * out_c + start,
            .y_pixel = (ptrdiff_t)out_c,
            .pixels = out_w,
            .groups = whole > 0 ? whole : 1,
            .stride = (int)stride,
        };
        if (whole > 0)
            run_pixels(kernels, &row);
        else
            run_part_of_group(j, kernels, row, out_c - start);
    }
}

static void run_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const job *j = context;
    const size_t rows = (size_t)j->op->conv.batch * (size_t)j->op->conv.out_h;
    for (size_t row = rows * part / j->parts; row < rows * (part + 1) / j->parts; ++row)
        run_row(j, row);
}

void es_run_depthwise_s8(const es_op *op, es_pool *pool, const int8_t *input, int8_t *output, void *scratch)
{
    const es_picture picture = es_picture_of(&op->conv);
    const bool copies = es_copies_picture(op);
    if (copies)
        es_convert_picture(op, pool, input, scratch);
    job j = {.op = op, .picture = copies ? scratch : (const void *)input, .output = output, .width = picture.width,
             .height = picture.height};
    j.bounds = es_op_bounds(op);
    const size_t rows = (size_t)op->conv.batch * (size_t)op->conv.out_h, threads = es_pool_threads(pool);
    j.parts = threads > 1 ? es_min(8 * threads, rows) : 1;
    es_pool_run(pool, run_part, &j, j.parts);
}
