/* One operator: made from dense weights, run on activations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op.h"

enum { MOST_BLOCK_ROWS = 16 };

const char *es_format_name(es_format format)
{
    static const char *const names[] = {"bsr16x1", "bsr8x1", "bsr4x1", "nm2:4", "csr",
                                        "bsr16x4", "bsr8x4", "bsr4x4", "none"};
    return names[format <= ES_FORMAT_NONE ? format : ES_FORMAT_NONE];
}

void *es_allocate(size_t bytes, size_t *total)
{
    const size_t rounded = bytes == 0 ? ES_ALIGNMENT : es_round_up(bytes, ES_ALIGNMENT);
    void *memory = rounded < bytes ? NULL : aligned_alloc(ES_ALIGNMENT, rounded);
    if (memory != NULL)
        *total += rounded;
    return memory;
}

/* ---- shapes ------------------------------------------------------------------------------------------------------- */

static bool fits(const int32_t *sizes, size_t count)
{
    size_t product = sizeof(float);
    for (size_t i = 0; i < count; ++i) {
        if (product > (size_t)PTRDIFF_MAX / (size_t)sizes[i])
            return false;
        product *= (size_t)sizes[i];
    }
    return true;
}

es_status es_conv_check(const es_conv *c)
{
    const int32_t positive[] = {c->batch, c->in_h, c->in_w, c->in_c, c->out_h, c->out_w, c->out_c,
                                c->k_h,   c->k_w,  c->stride_h, c->stride_w};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; ++i)
        if (positive[i] <= 0)
            return ES_BAD_SHAPE;
    if (c->pad_top < 0 || c->pad_left < 0 || c->pad_top >= c->k_h || c->pad_left >= c->k_w || !(c->low <= c->high))
        return ES_BAD_SHAPE;
    const int64_t span_h = ((int64_t)c->out_h - 1) * c->stride_h + c->k_h;
    const int64_t span_w = ((int64_t)c->out_w - 1) * c->stride_w + c->k_w;
    /* The last tap may look beyond the far border, by less than a kernel. */
    if (span_h >= (int64_t)c->in_h + c->pad_top + c->k_h || span_w >= (int64_t)c->in_w + c->pad_left + c->k_w)
        return ES_BAD_SHAPE;
    if (span_h > INT32_MAX || span_w > INT32_MAX)
        return ES_TOO_LARGE;
    const int32_t picture[] = {c->batch, (int32_t)span_h, (int32_t)span_w, c->in_c};
    const int32_t input[] = {c->batch, c->in_h, c->in_w, c->in_c};
    const int32_t output[] = {c->batch, c->out_h, c->out_w, c->out_c};
    const int32_t weights[] = {c->out_c, c->k_h, c->k_w, c->in_c};
    return fits(picture, 4) && fits(input, 4) && fits(output, 4) && fits(weights, 4) ? ES_OK : ES_TOO_LARGE;
}

static es_status same(int32_t in, int32_t kernel, int32_t stride, int32_t *out, int32_t *pad)
{
    if (in <= 0 || kernel <= 0 || stride <= 0)
        return ES_BAD_SHAPE;
    *out = in / stride + (in % stride != 0);
    const int64_t needed = ((int64_t)*out - 1) * stride + kernel - in;
    *pad = needed > 0 ? (int32_t)(needed / 2) : 0;
    return ES_OK;
}

es_status es_conv_same(es_conv *conv)
{
    const es_status status = same(conv->in_h, conv->k_h, conv->stride_h, &conv->out_h, &conv->pad_top);
    return status == ES_OK ? same(conv->in_w, conv->k_w, conv->stride_w, &conv->out_w, &conv->pad_left) : status;
}

es_status es_conv_valid(es_conv *conv)
{
    if (conv->k_h <= 0 || conv->k_w <= 0 || conv->stride_h <= 0 || conv->stride_w <= 0 || conv->in_h < conv->k_h ||
        conv->in_w < conv->k_w)
        return ES_BAD_SHAPE;
    conv->out_h = (conv->in_h - conv->k_h) / conv->stride_h + 1;
    conv->out_w = (conv->in_w - conv->k_w) / conv->stride_w + 1;
    conv->pad_top = conv->pad_left = 0;
    return ES_OK;
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static void name_kernel(es_op *op)
{
    int segments = 0, pixels = 0;
    if (op->depthwise) {
        es_name_depthwise_s8(op);
        return;
    }
    if (op->format == ES_CSR) {
        if (op->vector)
            snprintf(op->kernel, sizeof op->kernel, "es_f32_csr_vector_ukernel_1x1__%s", op->isa->name);
        else
            snprintf(op->kernel, sizeof op->kernel, "es_f32_csr_ukernel_%dx%zu__%s", ES_CSR_PAIR,
                     es_csr_vectors_of(op, 1) * op->isa->f32->csr_vector, op->isa->name);
        return;
    }
    es_tile_of(op, &segments, &pixels);
    if (op->format == ES_NM4)
        snprintf(op->kernel, sizeof op->kernel, "es_f32_nm_2of4_ukernel_%dx%d__%s", segments, pixels, op->isa->name);
    else
        snprintf(op->kernel, sizeof op->kernel, "es_%s_bsr_%zux%zu_ukernel_%dx%d__%s", op->scale == NULL ? "f32" : "s8",
                 op->block_height, op->unit, segments, pixels, op->isa->name);
}

static es_status pack(es_op *op, const void *weights)
{
    switch (op->format) {
    case ES_CSR:
        return op->vector ? es_pack_csr_vector(op, weights) : es_pack_csr(op, weights);
    case ES_NM4:
        return es_pack_nm(op, weights);
    default:
        return es_pack_bsr(op, weights);
    }
}

static bool has_kernel(const es_isa *isa, es_format format)
{
    return format == ES_CSR || es_tile_table(isa, format, ES_NARROW) != NULL;
}

/* What every operator has, its bias all zeros yet. */
static es_status new_op(const es_isa *isa, es_format format, const es_conv *conv, es_op **result)
{
    es_op *op = calloc(1, sizeof *op);
    *result = op;
    if (op == NULL)
        return ES_OUT_OF_MEMORY;
    op->isa = isa;
    op->format = format;
    op->conv = *conv;
    op->rows = (size_t)conv->out_c;
    op->columns = (size_t)conv->k_h * (size_t)conv->k_w * (size_t)conv->in_c;
    op->block_height = es_block_rows(isa, format);
    op->block_rows = es_ceil_div(op->rows, op->block_height);
    const size_t bias_bytes = es_round_up(op->rows, MOST_BLOCK_ROWS) * sizeof(float);
    op->bias = es_allocate(bias_bytes, &op->packed_bytes);
    if (op->bias == NULL)
        return ES_OUT_OF_MEMORY;
    memset(op->bias, 0, bias_bytes);
    return ES_OK;
}

static es_status create_f32(es_op *op, const float *weights, const float *bias)
{
    const size_t in_c = (size_t)op->conv.in_c;
    op->vector = op->format == ES_CSR && es_pointwise(&op->conv) && es_pixels(&op->conv) < op->isa->f32->csr_vector / 2;
    op->unit = 1;
    op->channels = in_c;
    op->x_bytes = op->y_bytes = sizeof(float);
    op->zeros = es_allocate(in_c * sizeof *op->zeros, &op->packed_bytes);
    if (op->zeros == NULL)
        return ES_OUT_OF_MEMORY;
    memset(op->zeros, 0, in_c * sizeof *op->zeros);
    if (bias != NULL)
        memcpy(op->bias, bias, op->rows * sizeof *bias);
    return pack(op, weights);
}

/* A new operator, or nothing. */
static es_status finish(es_op *op, es_status status, es_op **result)
{
    if (status != ES_OK) {
        es_op_destroy(op);
        return status;
    }
    name_kernel(op);
    *result = op;
    return ES_OK;
}

es_status es_op_create(const es_isa *isa, es_format format, const es_conv *conv, const float *weights,
                       const float *bias, es_op **result)
{
    *result = NULL;
    es_status status = es_conv_check(conv);
    if (status != ES_OK)
        return status;
    if ((unsigned)format >= ES_FLOAT_FORMATS || !has_kernel(isa, format) || (format == ES_NM4 && conv->in_c % 4 != 0))
        return ES_NO_KERNEL;
    es_op *op;
    status = new_op(isa, format, conv, &op);
    return finish(op, status == ES_OK ? create_f32(op, weights, bias) : status, result);
}

/* ---- int8 --------------------------------------------------------------------------------------------------------- */

static bool is_scale(float scale)
{
    return isfinite(scale) && scale > 0;
}

static bool is_zero_point(int32_t zero)
{
    return zero >= INT8_MIN && zero <= INT8_MAX;
}

static bool quantization_fits(const es_conv *conv, const es_quantization *q)
{
    if (!is_scale(q->input_scale) || !is_scale(q->output_scale) || !is_zero_point(q->input_zero) ||
        !is_zero_point(q->output_zero) ||
        (q->weight_scale_count != 1 && q->weight_scale_count != (size_t)conv->out_c))
        return false;
    for (size_t i = 0; i < q->weight_scale_count; ++i)
        if (!is_scale(q->weight_scales[i]) || !is_scale(es_s8_scale(q, i)))
            return false;
    return true;
}

float es_s8_scale(const es_quantization *q, size_t channel)
{
    return q->input_scale * q->weight_scales[q->weight_scale_count == 1 ? 0 : channel] / q->output_scale;
}

int32_t es_s8_added(const es_op *op)
{
    switch (op->isa->s8->input) {
    case ES_S8_UNSIGNED: return op->input_zero + 128;
    case ES_S8_WIDE: return 0;
    default: return op->input_zero;
    }
}

es_s8_output es_op_bounds(const es_op *op)
{
    es_s8_output bounds = {.low = op->conv.low, .high = op->conv.high, .zero_point = op->output_zero};
    if (op->scale == NULL)
        return bounds;
    const float zero = (float)op->output_zero;
    bounds.low = rintf(fminf(fmaxf(bounds.low / op->output_scale + zero, INT8_MIN), INT8_MAX)) - zero;
    bounds.high = rintf(fminf(fmaxf(bounds.high / op->output_scale + zero, INT8_MIN), INT8_MAX)) - zero;
    return bounds;
}

static es_s8_factor factor_of(double scale)
{
    int shift;
    int64_t multiplier = llround(frexp(scale, &shift) * ((int64_t)1 << 31));
    if (multiplier == (int64_t)1 << 31) {
        multiplier /= 2;
        ++shift;
    }
    /* Beyond 2^30 nothing is left of a sum, or everything saturates. */
    return shift < -31 ? (es_s8_factor){0, 0} : (es_s8_factor){(int32_t)multiplier, shift > 30 ? 30 : shift};
}

static es_status set_factors(es_op *op, const es_quantization *q)
{
    const size_t count = es_round_up(op->rows, MOST_BLOCK_ROWS);
    op->factors = es_allocate(count * sizeof *op->factors, &op->packed_bytes);
    if (op->factors == NULL)
        return ES_OUT_OF_MEMORY;
    for (size_t r = 0; r < count; ++r) {
        const double weight_scale = (double)q->weight_scales[q->weight_scale_count == 1 || r >= op->rows ? 0 : r];
        op->factors[r] = factor_of((double)q->input_scale * weight_scale / (double)q->output_scale);
    }
    return ES_OK;
}

/* The share of the input's zero point, and of what kernels add to inputs, is taken off the bias once. */
static es_status set_bias(es_op *op, const int8_t *weights, const int32_t *bias)
{
    const int32_t added = es_s8_added(op);
    int32_t *to = op->bias;
    for (size_t r = 0; r < op->rows; ++r) {
        uint32_t sum = 0;
        for (size_t k = 0; k < op->columns; ++k) {
            const int8_t weight = weights[r * op->columns + k];
            if (weight == INT8_MIN)
                return ES_BAD_QUANTIZATION;
            sum += (uint32_t)weight;
        }
        const uint32_t folded = (bias != NULL ? (uint32_t)bias[r] : 0) - (uint32_t)added * sum;    /* wraps, as sums do */
        memcpy(to + r, &folded, sizeof folded);
    }
    return ES_OK;
}

static es_status create_s8(es_op *op, const es_quantization *q, size_t channel_unit)
{
    const size_t scale_count = es_round_up(op->rows, MOST_BLOCK_ROWS);
    op->unit = ES_QUAD;
    op->channels = es_round_up((size_t)op->conv.in_c, channel_unit);
    op->x_bytes = op->isa->s8->input == ES_S8_WIDE ? sizeof(int16_t) : sizeof(int8_t);
    op->y_bytes = sizeof(int8_t);
    op->input_zero = q->input_zero;
    op->output_zero = q->output_zero;
    op->output_scale = q->output_scale;
    op->scale = es_allocate(scale_count * sizeof *op->scale, &op->packed_bytes);
    if (op->scale == NULL)
        return ES_OUT_OF_MEMORY;
    for (size_t r = 0; r < scale_count; ++r)
        op->scale[r] = es_s8_scale(q, r < op->rows ? r : 0);
    return ES_OK;
}

es_status es_op_create_s8(const es_isa *isa, es_format format, const es_conv *conv, const es_quantization *quantization,
                          const int8_t *weights, const int32_t *bias, es_op **result)
{
    *result = NULL;
    es_status status = es_conv_check(conv);
    if (status != ES_OK)
        return status;
    if ((unsigned)format < ES_FLOAT_FORMATS || (unsigned)format >= ES_FORMAT_COUNT || !has_kernel(isa, format))
        return ES_NO_KERNEL;
    if (!quantization_fits(conv, quantization))
        return ES_BAD_QUANTIZATION;
    es_op *op;
    status = new_op(isa, format, conv, &op);
    if (status == ES_OK)
        status = create_s8(op, quantization, ES_QUAD);
    if (status == ES_OK)
        status = set_bias(op, weights, bias);
    if (status == ES_OK && quantization->fixed_point)
        status = set_factors(op, quantization);
    return finish(op, status == ES_OK ? pack(op, weights) : status, result);
}

es_status es_op_create_depthwise_s8(const es_isa *isa, const es_conv *conv, const es_quantization *quantization,
                                    const int8_t *weights, const int32_t *bias, es_op **result)
{
    *result = NULL;
    es_status status = es_conv_check(conv);
    if (status != ES_OK)
        return status;
    if (!es_depthwise_s8_fits(isa, conv) || quantization->fixed_point)
        return ES_NO_KERNEL;
    if (!quantization_fits(conv, quantization))
        return ES_BAD_QUANTIZATION;
    es_op *op;
    status = new_op(isa, ES_FORMAT_NONE, conv, &op);
    if (status == ES_OK) {
        op->depthwise = true;
        status = create_s8(op, quantization, MOST_BLOCK_ROWS);
    }
    return finish(op, status == ES_OK ? es_pack_depthwise_s8(op, quantization, weights, bias) : status, result);
}

void es_op_destroy(es_op *op)
{
    if (op == NULL)
        return;
    void *const all[] = {
        op->bias, op->scale, op->factors, op->taps, op->zeros, op->bsr.row_start, op->bsr.offsets, op->bsr.values, op->nm.values, op->nm.positions,
        op->nm.tap_offsets, op->csr.panels, op->csr.panel_start, op->csr.pair_length, op->csr.pair_rows,
        op->csr.indices, op->csr.values, op->csr_vector.row_start, op->csr_vector.indices, op->csr_vector.values,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i)
        free(all[i]);
    free(op);
}

es_status es_op_reshape(es_op *op, const es_conv *conv)
{
    const es_status status = es_conv_check(conv);
    if (status != ES_OK)
        return status;
    const es_conv *old = &op->conv;
    if (conv->in_c != old->in_c || conv->out_c != old->out_c || conv->k_h != old->k_h || conv->k_w != old->k_w ||
        (op->vector && !es_pointwise(conv)) || (op->depthwise && !es_depthwise_s8_fits(op->isa, conv)))
        return ES_BAD_SHAPE;
    const size_t old_width = es_picture_of(old).width, new_width = es_picture_of(conv).width;
    if (op->format == ES_NM4) {
        op->conv = *conv;
        es_nm_set_width(op, new_width);
    } else if (op->format != ES_CSR && !op->depthwise) {
        const es_status set = es_bsr_set_width(op, old_width, new_width);
        if (set != ES_OK)
            return set;
    }
    op->conv = *conv;
    name_kernel(op);
    return ES_OK;
}

const char *es_op_kernel(const es_op *op)
{
    return op->kernel;
}

es_format es_op_format(const es_op *op)
{
    return op->format;
}

size_t es_op_packed_bytes(const es_op *op)
{
    return op->packed_bytes;
}

size_t es_op_scratch_bytes(const es_op *op, size_t threads)
{
    if (op->format != ES_CSR)
        return es_tiles_scratch(op);
    return op->vector ? 0 : es_csr_scratch(op, threads);
}

void es_op_run(const es_op *op, es_pool *pool, const void *input, void *output, void *scratch)
{
    if (op->depthwise)
        es_run_depthwise_s8(op, pool, input, output, scratch);
    else if (op->format != ES_CSR)
        es_run_tiles(op, pool, input, output, scratch);
    else if (op->vector)
        es_run_csr_vector(op, pool, input, output);
    else
        es_run_csr(op, pool, input, output, scratch);
}
