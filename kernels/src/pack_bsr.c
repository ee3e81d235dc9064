/* bsr: for each block row, in order of the inputs, the blocks that hold a non-zero and the offset of their first input. A
 * block is R output channels by one input, or for int8 by a quad of four consecutive inputs of a tap. */
#include <stdlib.h>
#include <string.h>

#include "op.h"

/* Units of inputs that a block may take: of one tap, and of all. */
static size_t units_per_tap(const es_op *op)
{
    return op->channels / op->unit;
}

static size_t unit_count(const es_op *op)
{
    return (size_t)op->conv.k_h * (size_t)op->conv.k_w * units_per_tap(op);
}

static size_t largest_offset(const es_op *op, size_t width)
{
    return (((size_t)op->conv.k_h - 1) * width + (size_t)op->conv.k_w) * op->channels - op->unit;
}

/* A unit of the weights -> elements from the pixel, in a picture `width` pixels wide. */
static size_t offset_of(const es_op *op, size_t width, size_t unit)
{
    const size_t tap = unit / units_per_tap(op), k_w = (size_t)op->conv.k_w;
    return (tap / k_w * width + tap % k_w) * op->channels + unit % units_per_tap(op) * op->unit;
}

static size_t unit_of(const es_op *op, size_t width, size_t offset)
{
    const size_t pixel = offset / op->channels;
    return (pixel / width * (size_t)op->conv.k_w + pixel % width) * units_per_tap(op) + offset % op->channels / op->unit;
}

static void set_offset(es_bsr_weights *bsr, size_t block, size_t offset)
{
    if (bsr->index_width == ES_WIDE)
        ((uint32_t *)bsr->offsets)[block] = (uint32_t)offset;
    else
        ((uint16_t *)bsr->offsets)[block] = (uint16_t)offset;
}

static size_t get_offset(const es_bsr_weights *bsr, size_t block)
{
    return bsr->index_width == ES_WIDE ? ((const uint32_t *)bsr->offsets)[block]
                                       : ((const uint16_t *)bsr->offsets)[block];
}

/* Which units of `rows` rows hold a non-zero; returns how many do. */
static size_t mark_units(const es_op *op, const void *weights, size_t rows, uint8_t *any)
{
    const size_t units = unit_count(op), in_c = (size_t)op->conv.in_c;
    memset(any, 0, units);
    for (size_t r = 0; r < rows; ++r) {
        if (op->scale == NULL) {
            const float *w = (const float *)weights + r * op->columns;
            for (size_t k = 0; k < units; ++k)
                any[k] |= w[k] != 0.0f;
            continue;
        }
        const int8_t *w = (const int8_t *)weights + r * op->columns;
        for (size_t k = 0, c = 0; k < units; ++k, c = c + ES_QUAD < in_c ? c + ES_QUAD : 0)
            for (size_t i = c; i < c + ES_QUAD && i < in_c; ++i)
                any[k] |= *w++ != 0;
    }
    size_t count = 0;
    for (size_t k = 0; k < units; ++k)
        count += any[k];
    return count;
}

static void fill_block(const es_op *op, const float *weights, size_t rows, size_t k, float *block)
{
    for (size_t r = 0; r < op->block_height; ++r)
        block[r] = r < rows ? weights[r * op->columns + k] : 0.0f;
}

/* Vector by vector of output channels, four inputs each; or the vector's first two inputs, then the other two. */
static void fill_block_s8(const es_op *op, const int8_t *weights, size_t rows, size_t k, int8_t *block)
{
    const size_t per_tap = units_per_tap(op), in_c = (size_t)op->conv.in_c, first = k % per_tap * ES_QUAD;
    const size_t inputs = es_min(ES_QUAD, in_c - first);
    const size_t vector = es_min(op->isa->s8->vector_rows, op->block_height);
    weights += k / per_tap * in_c + first;
    memset(block, 0, op->block_height * ES_QUAD);
    for (size_t r = 0; r < rows; ++r)
        for (size_t i = 0; i < inputs; ++i) {
            const size_t lane = r % vector;
            const size_t at = op->isa->s8->pairs ? i / 2 * vector * 2 + lane * 2 + i % 2 : lane * ES_QUAD + i;
            block[(r - lane) * ES_QUAD + at] = weights[r * op->columns + i];
        }
}

es_status es_pack_bsr(es_op *op, const void *weights)
{
    es_bsr_weights *bsr = &op->bsr;
    const size_t height = op->block_height, units = unit_count(op), weight_bytes = op->scale == NULL ? sizeof(float) : 1;
    const size_t width = es_picture_of(&op->conv).width, row_bytes = height * op->columns * weight_bytes;
    if (largest_offset(op, width) > UINT32_MAX / sizeof(float))
        return ES_TOO_LARGE;
    bsr->index_width = op->scale != NULL || largest_offset(op, width) > UINT16_MAX ? ES_WIDE : ES_NARROW;
    bsr->row_start = es_allocate((op->block_rows + 1) * sizeof *bsr->row_start, &op->packed_bytes);
    uint8_t *any = malloc(units);
    if (bsr->row_start == NULL || any == NULL) {
        free(any);
        return ES_OUT_OF_MEMORY;
    }

    bsr->row_start[0] = 0;
    for (size_t row = 0; row < op->block_rows; ++row) {
        const size_t rows = es_min(height, op->rows - row * height);
        const size_t count = mark_units(op, (const char *)weights + row * row_bytes, rows, any);
        bsr->blocks += count;
        if (bsr->blocks > UINT32_MAX) {
            free(any);
            return ES_TOO_LARGE;
        }
        bsr->row_start[row + 1] = (uint32_t)bsr->blocks;
    }
    const size_t index_bytes = bsr->index_width == ES_WIDE ? sizeof(uint32_t) : sizeof(uint16_t);
    bsr->offsets = es_allocate(bsr->blocks * index_bytes, &op->packed_bytes);
    bsr->values = es_allocate(bsr->blocks * height * op->unit * weight_bytes, &op->packed_bytes);
    if (bsr->offsets == NULL || bsr->values == NULL) {
        free(any);
        return ES_OUT_OF_MEMORY;
    }

    size_t block = 0;
    for (size_t row = 0; row < op->block_rows; ++row) {
        const size_t rows = es_min(height, op->rows - row * height);
        const void *w = (const char *)weights + row * row_bytes;
        mark_units(op, w, rows, any);
        for (size_t k = 0; k < units; ++k) {
            if (!any[k])
                continue;
            if (op->scale == NULL)
                fill_block(op, w, rows, k, (float *)bsr->values + block * height);
            else
                fill_block_s8(op, w, rows, k, (int8_t *)bsr->values + block * height * ES_QUAD);
            set_offset(bsr, block++, offset_of(op, width, k));
        }
    }
    free(any);
    return ES_OK;
}

es_status es_bsr_set_width(es_op *op, size_t old_width, size_t new_width)
{
    es_bsr_weights *bsr = &op->bsr;
    const size_t largest = largest_offset(op, new_width);
    if (largest > UINT32_MAX / sizeof(float))
        return ES_TOO_LARGE;
    if (bsr->index_width == ES_NARROW && largest > UINT16_MAX) {
        es_bsr_weights wide = *bsr;
        wide.index_width = ES_WIDE;
        wide.offsets = es_allocate(bsr->blocks * sizeof(uint32_t), &op->packed_bytes);
        if (wide.offsets == NULL)
            return ES_OUT_OF_MEMORY;
        for (size_t b = 0; b < bsr->blocks; ++b)
            set_offset(&wide, b, get_offset(bsr, b));
        free(bsr->offsets);
        *bsr = wide;
    }
    for (size_t b = 0; b < bsr->blocks; ++b)
        set_offset(bsr, b, offset_of(op, new_width, unit_of(op, old_width, get_offset(bsr, b))));
    return ES_OK;
}
