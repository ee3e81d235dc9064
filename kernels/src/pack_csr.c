/* csr in two arrangements: panels for vectors of pixels, and plain rows for a single pixel. */
#include <stdlib.h>
#include <string.h>

#include "op.h"

/* ---- panels ----------------------------------------------------------------------------------------------------- */

typedef struct panel_rows {
    uint16_t *length;           /* non-zeros of each row within the panel */
    uint32_t *order;            /* rows, longest first */
    uint32_t *start;            /* counting sort: of each length */
} panel_rows;

static void sort_rows(const float *weights, size_t rows, size_t columns, size_t from, size_t to, panel_rows *sorted)
{
    const size_t longest = to - from;
    memset(sorted->start, 0, (longest + 2) * sizeof *sorted->start);
    for (size_t r = 0; r < rows; ++r) {
        uint32_t nonzeros = 0;
        for (size_t k = from; k < to; ++k)
            nonzeros += weights[r * columns + k] != 0.0f;
        sorted->length[r] = (uint16_t)nonzeros;
        ++sorted->start[longest - nonzeros + 1];
    }
    for (size_t i = 1; i <= longest + 1; ++i)
        sorted->start[i] += sorted->start[i - 1];
    for (size_t r = 0; r < rows; ++r)
        sorted->order[sorted->start[longest - sorted->length[r]]++] = (uint32_t)r;
}

/* Value j of a row goes to place 2 j (+ 1 for the second row of the pair). Without a branch: what a zero writes is
 * overwritten by the next value, or stays as the zero that pads the shorter row of a pair. */
static void place_row(const float *row, size_t from, size_t to, uint16_t *indices, float *values)
{
    size_t at = 0;
    for (size_t k = from; k < to; ++k) {
        indices[at] = (uint16_t)(k - from);
        values[at] = row[k];
        at += row[k] != 0.0f ? ES_CSR_PAIR : 0;
    }
}

static size_t panel_column(const es_op *op, size_t panel)
{
    return es_min(op->columns, panel * es_ceil_div(op->columns, op->csr.panel_count));
}

static es_status fill_panels(es_op *op, const float *weights, panel_rows *sorted, bool measure, size_t *value_count)
{
    es_csr_weights *csr = &op->csr;
    const size_t pairs_all = es_ceil_div(op->rows, ES_CSR_PAIR);
    size_t at = 0;
    for (size_t p = 0; p < csr->panel_count; ++p) {
        const size_t from = panel_column(op, p), to = panel_column(op, p + 1);
        sort_rows(weights, op->rows, op->columns, from, to, sorted);
        const size_t begin = at;
        uint16_t *pair_length = csr->pair_length + p * pairs_all;
        uint32_t *pair_rows = csr->pair_rows + p * pairs_all * ES_CSR_PAIR;
        size_t pairs = 0;
        for (size_t r = 0; r < op->rows; r += ES_CSR_PAIR) {
            const uint32_t first = sorted->order[r];
            const bool odd = r + 1 == op->rows;
            const size_t length = sorted->length[first];
            if (length == 0 && p > 0)
                break;          /* nothing to add to the sums of the panels before */
            if (!measure) {
                pair_length[pairs] = (uint16_t)length;
                pair_rows[2 * pairs] = first;
                pair_rows[2 * pairs + 1] = odd ? (uint32_t)op->rows : sorted->order[r + 1];
                place_row(weights + first * op->columns, from, to, csr->indices + at, csr->values + at);
                if (!odd)
                    place_row(weights + sorted->order[r + 1] * op->columns, from, to, csr->indices + at + 1,
                              csr->values + at + 1);
            }
            at += length * ES_CSR_PAIR;
            ++pairs;
        }
        if (!measure)
            csr->panels[p] = (es_csr_panel){
                .pairs = pairs,
                .pair_length = pair_length,
                .pair_rows = pair_rows,
                .indices = csr->indices + begin,
                .values = csr->values + begin,
            };
    }
    *value_count = at;
    return ES_OK;
}

es_status es_pack_csr(es_op *op, const float *weights)
{
    es_csr_weights *csr = &op->csr;
    csr->panel_count = es_ceil_div(op->columns, op->isa->csr_panel);
    /* Even panels: the last one may otherwise be a sliver. Rounding up can leave fewer of them. */
    csr->panel_count = es_ceil_div(op->columns, es_ceil_div(op->columns, csr->panel_count));
    const size_t pairs = csr->panel_count * es_ceil_div(op->rows, ES_CSR_PAIR);
    csr->panels = es_allocate(csr->panel_count * sizeof *csr->panels, &op->packed_bytes);
    csr->panel_start = es_allocate((csr->panel_count + 1) * sizeof *csr->panel_start, &op->packed_bytes);
    csr->pair_length = es_allocate(pairs * sizeof *csr->pair_length, &op->packed_bytes);
    csr->pair_rows = es_allocate(pairs * ES_CSR_PAIR * sizeof *csr->pair_rows, &op->packed_bytes);
    panel_rows sorted = {
        .length = malloc(op->rows * sizeof(uint16_t)),
        .order = malloc(op->rows * sizeof(uint32_t)),
        .start = malloc((op->isa->csr_panel + 2) * sizeof(uint32_t)),
    };
    es_status status = ES_OUT_OF_MEMORY;
    if (csr->panels && csr->panel_start && csr->pair_length && csr->pair_rows && sorted.length && sorted.order &&
        sorted.start) {
        for (size_t p = 0; p <= csr->panel_count; ++p)
            csr->panel_start[p] = (uint32_t)panel_column(op, p);
        size_t values;
        fill_panels(op, weights, &sorted, true, &values);
        values += ES_CSR_PAIR;      /* place_row may write a zero behind the last value */
        csr->indices = es_allocate(values * sizeof *csr->indices, &op->packed_bytes);
        csr->values = es_allocate(values * sizeof *csr->values, &op->packed_bytes);
        if (csr->indices && csr->values) {
            memset(csr->indices, 0, values * sizeof *csr->indices);
            memset(csr->values, 0, values * sizeof *csr->values);
            status = fill_panels(op, weights, &sorted, false, &values);
        }
    }
    free(sorted.length);
    free(sorted.order);
    free(sorted.start);
    return status;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

es_status es_pack_csr_vector(es_op *op, const float *weights)
{
    es_vector_weights *v = &op->csr_vector;
    v->index_width = op->columns > (size_t)UINT16_MAX + 1 ? ES_WIDE : ES_NARROW;
    size_t count = 0;
    for (size_t i = 0; i < op->rows * op->columns; ++i)
        count += weights[i] != 0.0f;
    if (count > UINT32_MAX)
        return ES_TOO_LARGE;
    const size_t index_bytes = v->index_width == ES_WIDE ? sizeof(uint32_t) : sizeof(uint16_t);
    v->row_start = es_allocate((op->rows + 1) * sizeof *v->row_start, &op->packed_bytes);
    v->indices = es_allocate((count + 1) * index_bytes, &op->packed_bytes);    /* a zero may go behind the last value */
    v->values = es_allocate((count + 1) * sizeof *v->values, &op->packed_bytes);
    if (v->row_start == NULL || v->indices == NULL || v->values == NULL)
        return ES_OUT_OF_MEMORY;
    uint32_t at = 0;
    for (size_t r = 0; r < op->rows; ++r) {
        v->row_start[r] = at;
        for (size_t k = 0; k < op->columns; ++k) {
            const float weight = weights[r * op->columns + k];
            v->values[at] = weight;
            if (v->index_width == ES_WIDE)
                ((uint32_t *)v->indices)[at] = (uint32_t)k;
            else
                ((uint16_t *)v->indices)[at] = (uint16_t)k;
            at += weight != 0.0f;
        }
    }
    v->row_start[op->rows] = at;
    return ES_OK;
}
