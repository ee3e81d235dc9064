/* Where the zeros of a matrix are: what each format would store of it. */
#include <stdlib.h>
#include <string.h>

#include "edgesparse.h"

enum { STRIP = 1024 };      /* columns looked at in one go: its flags stay in the L1 cache */

static size_t popcount_bytes(const uint8_t *flags, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; ++i)
        sum += flags[i];
    return sum;
}

static void count_strip(const float *weights, size_t rows, size_t columns, size_t from, size_t n, es_zeros *zeros)
{
    uint8_t any4[STRIP], any8[STRIP], any16[STRIP];
    for (size_t row = 0; row < rows; row += 16) {
        memset(any16, 0, n);
        for (size_t eight = row; eight < rows && eight < row + 16; eight += 8) {
            memset(any8, 0, n);
            for (size_t four = eight; four < rows && four < eight + 8; four += 4) {
                memset(any4, 0, n);
                for (size_t r = four; r < rows && r < four + 4; ++r) {
                    const float *w = weights + r * columns + from;
                    uint32_t nonzeros = 0;
                    for (size_t k = 0; k < n; ++k) {
                        const uint8_t nonzero = w[k] != 0.0f;
                        any4[k] |= nonzero;
                        nonzeros += nonzero;
                    }
                    zeros->nonzeros += nonzeros;
                }
                for (size_t k = 0; k < n; ++k)
                    any8[k] |= any4[k];
                zeros->blocks4 += popcount_bytes(any4, n);
            }
            for (size_t k = 0; k < n; ++k)
                any16[k] |= any8[k];
            zeros->blocks8 += popcount_bytes(any8, n);
        }
        zeros->blocks16 += popcount_bytes(any16, n);
    }
}

static bool two_of_four(const float *weights, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; ++r) {
        const float *w = weights + r * columns;
        for (size_t k = 0; k < columns; k += 4)
            if ((w[k] != 0) + (w[k + 1] != 0) + (w[k + 2] != 0) + (w[k + 3] != 0) > 2)
                return false;
    }
    return true;
}

void es_count(const float *weights, size_t rows, size_t columns, size_t group, es_zeros *zeros)
{
    *zeros = (es_zeros){.rows = rows, .columns = columns};
    for (size_t from = 0; from < columns; from += STRIP)
        count_strip(weights, rows, columns, from, columns - from < STRIP ? columns - from : STRIP, zeros);
    zeros->nm4 = group % 4 == 0 && columns % 4 == 0 && two_of_four(weights, rows, columns);
}

/* Which quads, four consecutive inputs of a tap or what is left of it, hold a non-zero. */
static size_t mark_quads(const int8_t *row, size_t taps, size_t group, uint8_t *any, bool *lowest)
{
    size_t nonzeros = 0;
    for (size_t tap = 0; tap < taps; ++tap)
        for (size_t c = 0; c < group; ++row) {
            nonzeros += *row != 0;
            *lowest |= *row == INT8_MIN;
            *any |= *row != 0;
            if (++c % 4 == 0 || c == group)
                ++any;
        }
    return nonzeros;
}

void es_count_s8(const int8_t *weights, size_t rows, size_t columns, size_t group, es_zeros *zeros)
{
    *zeros = (es_zeros){.type = ES_INT8, .rows = rows, .columns = columns};
    const size_t taps = columns / group, quads = taps * (group / 4 + (group % 4 != 0));
    /* Three heights of flags in one go; without the memory the counts are those of dense weights. */
    uint8_t *any = calloc(3 * quads + 1, 1);
    uint8_t *any4 = any, *any8 = any + quads, *any16 = any + 2 * quads;
    zeros->blocks4 = zeros->blocks8 = zeros->blocks16 = SIZE_MAX;
    if (any == NULL)
        return;
    zeros->blocks4 = zeros->blocks8 = zeros->blocks16 = 0;
    for (size_t r = 0; r < rows; ++r) {
        zeros->nonzeros += mark_quads(weights + r * columns, taps, group, any4, &zeros->lowest);
        const bool last = r + 1 == rows;
        if (!last && (r + 1) % 4 != 0)
            continue;
        for (size_t q = 0; q < quads; ++q) {
            any8[q] |= any4[q];
            any16[q] |= any4[q];
        }
        zeros->blocks4 += popcount_bytes(any4, quads);
        memset(any4, 0, quads);
        if (last || (r + 1) % 8 == 0) {
            zeros->blocks8 += popcount_bytes(any8, quads);
            memset(any8, 0, quads);
        }
        if (last || (r + 1) % 16 == 0) {
            zeros->blocks16 += popcount_bytes(any16, quads);
            memset(any16, 0, quads);
        }
    }
    free(any);
}
