/* bsr: for each block row, in order of the inputs, the blocks that hold a non-zero and the offset of their input. */
#include <stdlib.h>
#include <string.h>

#include "op.h"

static size_t largest_offset(const es_conv *conv, size_t width)
{
    return (((size_t)conv->k_h - 1) * width + (size_t)conv->k_w) * (size_t)conv->in_c - 1;
}

/* Column (tap, input) of the weights -> floats from the pixel, in a picture `width` pixels wide. */
static size_t offset_of(const es_conv *conv, size_t width, size_t column)
{
    const size_t c = (size_t)conv->in_c, tap = column / c, k_w = (size_t)conv->k_w;
    return (tap / k_w * width + tap % k_w) * c + column % c;
}

static size_t column_of(const es_conv *conv, size_t width, size_t offset)
{
    const size_t c = (size_t)conv->in_c, pixel = offset / c;
    return (pixel / width * (size_t)conv->k_w + pixel % width) * c + offset % c;
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

/* Which columns of `rows` rows hold a non-zero; returns how many do. */
static size_t mark_columns(const float *weights, size_t rows, size_t columns, uint8_t *any)
{
    memset(any, 0, columns);
    for (size_t r = 0; r < rows; ++r)
        for (size_t k = 0; k < columns; ++k)
            any[k] |= weights[r * columns + k] != 0.0f;
    size_t count = 0;
    for (size_t k = 0; k < columns; ++k)
        count += any[k];
    return count;
}

es_status es_pack_bsr(es_op *op, const float *weights)
{
    es_bsr_weights *bsr = &op->bsr;
    const size_t height = op->block_height, columns = op->columns;
    const size_t width = es_picture_of(&op->conv).width;
    if (largest_offset(&op->conv, width) > UINT32_MAX / sizeof(float))
        return ES_TOO_LARGE;
    bsr->index_width = largest_offset(&op->conv, width) > UINT16_MAX ? ES_WIDE : ES_NARROW;
    bsr->row_start = es_allocate((op->block_rows + 1) * sizeof *bsr->row_start, &op->packed_bytes);
    uint8_t *any = malloc(columns);
    if (bsr->row_start == NULL || any == NULL) {
        free(any);
        return ES_OUT_OF_MEMORY;
    }

    bsr->row_start[0] = 0;
    for (size_t row = 0; row < op->block_rows; ++row) {
        const size_t rows = es_min(height, op->rows - row * height);
        const size_t count = mark_columns(weights + row * height * columns, rows, columns, any);
        bsr->blocks += count;
        if (bsr->blocks > UINT32_MAX) {
            free(any);
            return ES_TOO_LARGE;
        }
        bsr->row_start[row + 1] = (uint32_t)bsr->blocks;
    }
    const size_t index_bytes = bsr->index_width == ES_WIDE ? sizeof(uint32_t) : sizeof(uint16_t);
    bsr->offsets = es_allocate(bsr->blocks * index_bytes, &op->packed_bytes);
    bsr->values = es_allocate(bsr->blocks * height * sizeof(float), &op->packed_bytes);
    if (bsr->offsets == NULL || bsr->values == NULL) {
        free(any);
        return ES_OUT_OF_MEMORY;
    }

    size_t block = 0;
    for (size_t row = 0; row < op->block_rows; ++row) {
        const size_t rows = es_min(height, op->rows - row * height);
        const float *w = weights + row * height * columns;
        mark_columns(w, rows, columns, any);
        for (size_t k = 0; k < columns; ++k) {
            if (!any[k])
                continue;
            float *value = bsr->values + block * height;
            for (size_t r = 0; r < height; ++r)
                value[r] = r < rows ? w[r * columns + k] : 0.0f;
            set_offset(bsr, block++, offset_of(&op->conv, width, k));
        }
    }
    free(any);
    return ES_OK;
}

es_status es_bsr_set_width(es_op *op, size_t old_width, size_t new_width)
{
    es_bsr_weights *bsr = &op->bsr;
    const size_t largest = largest_offset(&op->conv, new_width);
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
        set_offset(bsr, b, offset_of(&op->conv, new_width, column_of(&op->conv, old_width, get_offset(bsr, b))));
    return ES_OK;
}
