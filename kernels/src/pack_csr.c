/* csr in two arrangements: panels for vectors of pixels, and plain rows for a single pixel. */
#include <stdlib.h>
#include <string.h>

#include "op.h"

/* ---- panels ----------------------------------------------------------------------------------------------------- */

/* The rows of one panel, longest first. */
typedef struct sorted_rows {
    uint16_t *length;           /* non-zeros of each row, by the row's number */
    uint32_t *order;            /* rows' numbers */
} sorted_rows;

/* Counting sort; `start` has room for to - from + 2 counters. */
static void sort_rows(const float *weights, size_t rows, size_t columns, size_t from, size_t to, uint32_t *start,
                      const sorted_rows *sorted)
{
    const size_t longest = to - from;
    memset(start, 0, (longest + 2) * sizeof *start);
    for (size_t r = 0; r < rows; ++r) {
        uint32_t nonzeros = 0;
        for (size_t k = from; k < to; ++k)
            nonzeros += weights[r * columns + k] != 0.0f;
        sorted->length[r] = (uint16_t)nonzeros;
        ++start[longest - nonzeros + 1];
    }
    for (size_t i = 1; i <= longest + 1; ++i)
        start[i] += start[i - 1];
    for (size_t r = 0; r < rows; ++r)
        sorted->order[start[longest - sorted->length[r]]++] = (uint32_t)r;
}

/* Pairs of one panel, and their values: a pair takes as many as its longer row has, twice. */
static size_t count_pairs(const sorted_rows *sorted, size_t rows, bool first_panel, size_t *values)
{
    size_t pairs = 0;
    *values = 0;
    for (size_t r = 0; r < rows; r += ES_CSR_PAIR, ++pairs) {
        const size_t length = sorted->length[sorted->order[r]];
        if (length == 0 && !first_panel)
            break;              /* nothing to add to the sums of the panels before */
        *values += length * ES_CSR_PAIR;
    }
    return pairs;
}

/* Value j of a row goes to place 2 j of its array, the second row's one behind. Without a branch: what a zero writes is
 * overwritten by the next value, or stays as the zero that pads the shorter row. Both rows at once, for each has to wait for
 * its own place to be known. */
static void place_rows(const float *first, const float *second, size_t count, uint16_t *indices, float *values)
{
    size_t at0 = 0, at1 = 1;
    for (size_t k = 0; k < count; ++k) {
        indices[at0] = (uint16_t)k;
        values[at0] = first[k];
        at0 += first[k] != 0.0f ? ES_CSR_PAIR : 0;
        indices[at1] = (uint16_t)k;
        values[at1] = second[k];
        at1 += second[k] != 0.0f ? ES_CSR_PAIR : 0;
    }
}

static size_t panel_column(const es_op *op, size_t panel)
{
    return es_min(op->columns, panel * es_ceil_div(op->columns, op->csr.panel_count));
}

/* `empty`: a row of zeros, which an odd row is paired with. */
static void fill_panel(es_op *op, const float *weights, const float *empty, const sorted_rows *sorted, size_t panel,
                       es_csr_panel *to)
{
    es_csr_weights *csr = &op->csr;
    const size_t pairs_all = es_ceil_div(op->rows, ES_CSR_PAIR);
    const size_t from = csr->panel_start[panel], count = csr->panel_start[panel + 1] - from;
    uint16_t *pair_length = csr->pair_length + panel * pairs_all;
    uint32_t *pair_rows = csr->pair_rows + panel * pairs_all * ES_CSR_PAIR;
    size_t at = (size_t)(to->values - csr->values);
    for (size_t pair = 0; pair < to->pairs; ++pair) {
        const size_t r = pair * ES_CSR_PAIR;
        const bool odd = r + 1 == op->rows;
        const uint32_t first = sorted->order[r], second = odd ? (uint32_t)op->rows : sorted->order[r + 1];
        pair_length[pair] = sorted->length[first];
        pair_rows[2 * pair] = first;
        pair_rows[2 * pair + 1] = second;
        place_rows(weights + first * op->columns + from, odd ? empty : weights + second * op->columns + from, count,
                   csr->indices + at, csr->values + at);
        at += (size_t)pair_length[pair] * ES_CSR_PAIR;
    }
    to->pair_length = pair_length;
    to->pair_rows = pair_rows;
}

static es_status fill_panels(es_op *op, const float *weights, const sorted_rows *sorted, uint32_t *start,
                             const float *empty)
{
    es_csr_weights *csr = &op->csr;
    size_t all = 0;
    for (size_t p = 0; p <= csr->panel_count; ++p)
        csr->panel_start[p] = (uint32_t)panel_column(op, p);
    for (size_t p = 0; p < csr->panel_count; ++p) {
        size_t values;
        sort_rows(weights, op->rows, op->columns, csr->panel_start[p], csr->panel_start[p + 1], start, &sorted[p]);
        csr->panels[p] = (es_csr_panel){.pairs = count_pairs(&sorted[p], op->rows, p == 0, &values)};
        all += values;
    }
    all += ES_CSR_PAIR;         /* place_rows may write a zero behind the last value */
    csr->indices = es_allocate(all * sizeof *csr->indices, &op->packed_bytes);
    csr->values = es_allocate(all * sizeof *csr->values, &op->packed_bytes);
    if (csr->indices == NULL || csr->values == NULL)
        return ES_OUT_OF_MEMORY;
    memset(csr->indices, 0, all * sizeof *csr->indices);
    memset(csr->values, 0, all * sizeof *csr->values);
    size_t at = 0;
    for (size_t p = 0; p < csr->panel_count; ++p) {
        csr->panels[p].indices = csr->indices + at;
        csr->panels[p].values = csr->values + at;
        fill_panel(op, weights, empty, &sorted[p], p, &csr->panels[p]);
        for (size_t pair = 0; pair < csr->panels[p].pairs; ++pair)
            at += (size_t)csr->panels[p].pair_length[pair] * ES_CSR_PAIR;
    }
    return ES_OK;
}

es_status es_pack_csr(es_op *op, const float *weights)
{
    es_csr_weights *csr = &op->csr;
    csr->panel_count = es_ceil_div(op->columns, op->isa->f32->csr_panel);
    /* Even panels: the last one may otherwise be a sliver. Rounding up can leave fewer of them. */
    csr->panel_count = es_ceil_div(op->columns, es_ceil_div(op->columns, csr->panel_count));
    const size_t panels = csr->panel_count, pairs = panels * es_ceil_div(op->rows, ES_CSR_PAIR);
    csr->panels = es_allocate(panels * sizeof *csr->panels, &op->packed_bytes);
    csr->panel_start = es_allocate((panels + 1) * sizeof *csr->panel_start, &op->packed_bytes);
    csr->pair_length = es_allocate(pairs * sizeof *csr->pair_length, &op->packed_bytes);
    csr->pair_rows = es_allocate(pairs * ES_CSR_PAIR * sizeof *csr->pair_rows, &op->packed_bytes);
    sorted_rows *sorted = malloc(panels * sizeof *sorted);
    uint16_t *lengths = malloc(panels * op->rows * sizeof *lengths);
    uint32_t *orders = malloc(panels * op->rows * sizeof *orders);
    uint32_t *start = malloc((op->isa->f32->csr_panel + 2) * sizeof *start);
    float *empty = calloc(op->isa->f32->csr_panel, sizeof *empty);
    es_status status = ES_OUT_OF_MEMORY;
    if (csr->panels && csr->panel_start && csr->pair_length && csr->pair_rows && sorted && lengths && orders && start &&
        empty) {
        for (size_t p = 0; p < panels; ++p)
            sorted[p] = (sorted_rows){lengths + p * op->rows, orders + p * op->rows};
        status = fill_panels(op, weights, sorted, start, empty);
    }
    free(sorted);
    free(lengths);
    free(orders);
    free(start);
    free(empty);
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
