/* nm: for each block row and each group of four inputs, the first non-zero of each output channel, the second one, and
 * both positions in 2 bits each. A channel with fewer gets a zero weight, whose position does not matter. */
#include <string.h>

#include "op.h"

static void pack_group(const float *weights, size_t stride, size_t rows, size_t height, float *values,
                       uint8_t *positions)
{
    memset(values, 0, 2 * height * sizeof *values);
    memset(positions, 0, height / 2);
    for (size_t r = 0; r < rows; ++r) {
        size_t slot = 0;
        for (unsigned at = 0; at < 4; ++at) {
            const float weight = weights[r * stride + at];
            if (weight == 0.0f)
                continue;
            values[slot * height + r] = weight;
            positions[slot * height / 4 + r / 4] |= (uint8_t)(at << r % 4 * 2);
            ++slot;
        }
    }
}

es_status es_pack_nm(es_op *op, const float *weights)
{
    es_nm_weights *nm = &op->nm;
    const size_t height = op->block_height;
    nm->taps = (size_t)op->conv.k_h * (size_t)op->conv.k_w;
    nm->groups_per_tap = (size_t)op->conv.in_c / 4;
    const size_t groups = op->columns / 4;
    nm->values = es_allocate(op->block_rows * groups * 2 * height * sizeof(float), &op->packed_bytes);
    nm->positions = es_allocate(op->block_rows * groups * height / 2, &op->packed_bytes);
    nm->tap_offsets = es_allocate(nm->taps * sizeof *nm->tap_offsets, &op->packed_bytes);
    if (nm->values == NULL || nm->positions == NULL || nm->tap_offsets == NULL)
        return ES_OUT_OF_MEMORY;
    for (size_t row = 0; row < op->block_rows; ++row) {
        const size_t rows = es_min(height, op->rows - row * height);
        for (size_t g = 0; g < groups; ++g)
            pack_group(weights + row * height * op->columns + g * 4, op->columns, rows, height,
                       nm->values + (row * groups + g) * 2 * height, nm->positions + (row * groups + g) * height / 2);
    }
    es_nm_set_width(op, es_picture_of(&op->conv).width);
    return ES_OK;
}

void es_nm_set_width(es_op *op, size_t width)
{
    const size_t k_w = (size_t)op->conv.k_w;
    for (size_t tap = 0; tap < op->nm.taps; ++tap)
        op->nm.tap_offsets[tap] = (uint32_t)((tap / k_w * width + tap % k_w) * (size_t)op->conv.in_c);
}
