/* Depthwise convolutions: dense, taken only so that a model's threads and caches stay with one library between its sparse
 * convolutions. Output rows go in pairs where two of them can share their input's loads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op.h"

struct es_depthwise {
    const es_isa *isa;
    es_conv conv;
    size_t tap;                 /* floats from a tap's weights to the next one's */
    float *weights, *bias;
    size_t packed_bytes;
    char kernel[64];
};

/* A power of two would put all taps of a channel into the same few lines of the L1 cache. */
enum { TAP_GAP = 16 };

static bool has_pairs(const es_conv *conv)
{
    return conv->k_h == 3 && conv->k_w == 3 && conv->stride_h == conv->stride_w && conv->stride_h <= 2;
}

static void name_kernel(es_depthwise *dw)
{
    const char *taps = !has_pairs(&dw->conv) ? "any" : dw->conv.stride_h == 1 ? "3x3" : "3x3s2";
    snprintf(dw->kernel, sizeof dw->kernel, "es_f32_depthwise_%s_ukernel__%s", taps, dw->isa->name);
}

bool es_depthwise_fits(const es_conv *conv)
{
    return conv->in_c == conv->out_c && conv->in_c % 4 == 0;
}

es_status es_depthwise_create(const es_isa *isa, const es_conv *conv, const float *weights, const float *bias,
                              es_depthwise **result)
{
    *result = NULL;
    const es_status status = es_conv_check(conv);
    if (status != ES_OK)
        return status;
    if (!es_depthwise_fits(conv))
        return ES_NO_KERNEL;
    es_depthwise *dw = calloc(1, sizeof *dw);
    if (dw == NULL)
        return ES_OUT_OF_MEMORY;
    const size_t channels = (size_t)conv->in_c, taps = (size_t)conv->k_h * (size_t)conv->k_w;
    dw->isa = isa;
    dw->conv = *conv;
    dw->tap = channels + TAP_GAP;
    dw->weights = es_allocate(taps * dw->tap * sizeof *weights, &dw->packed_bytes);
    dw->bias = es_allocate(channels * sizeof *bias, &dw->packed_bytes);
    if (dw->weights == NULL || dw->bias == NULL) {
        es_depthwise_destroy(dw);
        return ES_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < taps; ++i)
        memcpy(dw->weights + i * dw->tap, weights + i * channels, channels * sizeof *weights);
    if (bias != NULL)
        memcpy(dw->bias, bias, channels * sizeof *bias);
    else
        memset(dw->bias, 0, channels * sizeof *bias);
    name_kernel(dw);
    *result = dw;
    return ES_OK;
}

void es_depthwise_destroy(es_depthwise *dw)
{
    if (dw == NULL)
        return;
    free(dw->weights);
    free(dw->bias);
    free(dw);
}

es_status es_depthwise_reshape(es_depthwise *dw, const es_conv *conv)
{
    const es_status status = es_conv_check(conv);
    if (status != ES_OK)
        return status;
    if (conv->in_c != dw->conv.in_c || conv->out_c != dw->conv.out_c || conv->k_h != dw->conv.k_h ||
        conv->k_w != dw->conv.k_w)
        return ES_BAD_SHAPE;
    dw->conv = *conv;
    name_kernel(dw);
    return ES_OK;
}

const char *es_depthwise_kernel_name(const es_depthwise *dw)
{
    return dw->kernel;
}

size_t es_depthwise_packed_bytes(const es_depthwise *dw)
{
    return dw->packed_bytes;
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

/* Along one axis: the outputs [first, last) whose taps all lie in the picture. */
static void inside(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad, int32_t *first, int32_t *last)
{
    *last = in + pad >= kernel ? (in + pad - kernel) / stride + 1 : 0;
    *last = *last < out ? *last : out;
    *first = (pad + stride - 1) / stride;
    *first = *first < *last ? *first : *last;
}

/* The taps [from, to) of the output that reads from `at` on, which lie in the picture. */
static void taps_inside(int32_t at, int32_t in, int32_t kernel, int32_t *from, int32_t *to)
{
    *from = at < 0 ? -at : 0;
    *to = in - at < kernel ? in - at : kernel;
    *to = *to > *from ? *to : *from;
}

typedef struct job {
    const es_depthwise *dw;
    const float *input;
    float *output;
    int32_t first_row, last_row, first_column, last_column;     /* of the outputs whose taps all lie in the picture */
    bool pairs;                 /* these are taken two rows at once */
    size_t parts;               /* per picture */
} job;

/* The outputs from (row, from) to (row, to), or as many in the row below as well, which see the same taps. */
static void run_tile(const job *j, es_depthwise_kernel kernel, size_t image, int32_t row, int32_t from, int32_t to)
{
    const es_depthwise *dw = j->dw;
    const es_conv *conv = &dw->conv;
    const ptrdiff_t x_row = (ptrdiff_t)conv->in_w * conv->in_c, y_row = (ptrdiff_t)conv->out_w * conv->in_c;
    const int32_t y = row * conv->stride_h - conv->pad_top, x = from * conv->stride_w - conv->pad_left;
    int32_t top, bottom, left, right;
    taps_inside(y, conv->in_h, conv->k_h, &top, &bottom);
    taps_inside(x, conv->in_w, conv->k_w, &left, &right);
    const es_depthwise_tile tile = {
        .x = j->input + (ptrdiff_t)image * conv->in_h * x_row + (y + top) * x_row + (ptrdiff_t)(x + left) * conv->in_c,
        .x_row = x_row,
        .x_step = (ptrdiff_t)conv->stride_w * conv->in_c,
        .rows = (size_t)(bottom - top),
        .columns = (size_t)(right - left),
        .weights = dw->weights + ((size_t)top * (size_t)conv->k_w + (size_t)left) * dw->tap,
        .w_tap = dw->tap,
        .w_row = (size_t)conv->k_w * dw->tap,
        .channels = (size_t)conv->in_c,
        .bias = dw->bias,
        .low = conv->low,
        .high = conv->high,
        .y = j->output + ((ptrdiff_t)image * conv->out_h + row) * y_row + (ptrdiff_t)from * conv->in_c,
        .y_row = (size_t)y_row,
        .pixels = (size_t)(to - from),
    };
    kernel(&tile, 0);
}

static void run_columns(const job *j, size_t image, int32_t row, bool inner)
{
    const es_depthwise_kernel any = j->dw->isa->f32->depthwise;
    for (int32_t x = 0; x < j->first_column; ++x)
        run_tile(j, any, image, row, x, x + 1);
    if (inner && j->first_column < j->last_column)
        run_tile(j, any, image, row, j->first_column, j->last_column);
    for (int32_t x = j->last_column; x < j->dw->conv.out_w; ++x)
        run_tile(j, any, image, row, x, x + 1);
}

/* A part is two rows, or three if an odd one is left: the second pair overlaps the first then. Rows that see less than all
 * taps are parts of their own. */
static void run_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    const job *j = context;
    const es_conv *conv = &j->dw->conv;
    const size_t image = index / j->parts;
    int32_t row = (int32_t)(index % j->parts);
    if (!j->pairs) {
        run_columns(j, image, row, true);
        return;
    }
    const int32_t pairs = (j->last_row - j->first_row) / 2;
    if (row < j->first_row || row >= j->first_row + pairs) {
        run_columns(j, image, row < j->first_row ? row : row - j->first_row - pairs + j->last_row, true);
        return;
    }
    const es_depthwise_kernel two = j->dw->isa->f32->depthwise3x3[conv->stride_h - 1];
    const int32_t from = j->first_row + 2 * (row - j->first_row);
    const int32_t to = row + 1 < j->first_row + pairs ? from + 2 : j->last_row;
    for (int32_t r = from; r < to; r += 2)
        run_tile(j, two, image, r + 2 <= to ? r : to - 2, j->first_column, j->last_column);
    for (int32_t r = from; r < to; ++r)
        run_columns(j, image, r, false);
}

void es_depthwise_run(const es_depthwise *dw, es_pool *pool, const float *input, float *output)
{
    const es_conv *conv = &dw->conv;
    job j = {.dw = dw, .input = input, .output = output};
    inside(conv->in_h, conv->out_h, conv->k_h, conv->stride_h, conv->pad_top, &j.first_row, &j.last_row);
    inside(conv->in_w, conv->out_w, conv->k_w, conv->stride_w, conv->pad_left, &j.first_column, &j.last_column);
    j.pairs = has_pairs(conv) && j.last_row - j.first_row >= 2 && j.last_column - j.first_column >= 2;
    j.parts = (size_t)conv->out_h;
    if (j.pairs)
        j.parts -= (size_t)(j.last_row - j.first_row - (j.last_row - j.first_row) / 2);
    es_pool_run(pool, run_part, &j, (size_t)conv->batch * j.parts);
}
