/* Every micro-kernel of every table that this CPU can run, called directly: each (segments, pixels) entry, each number of
 * vectors, both index widths, partial block rows, rows that are empty. What a kernel must not touch lies between guards. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isas.h"
#include "support.h"

static random_state rng = {1};

/* ---- tiles: bsr and nm --------------------------------------------------------------------------------------------- */

enum { INPUTS = 29, TAPS = 3, GROUPS = 5 };

typedef struct tile_case {
    const es_isa *isa;
    es_format format;
    int width;                  /* of the indices */
    size_t segments, pixels, rows;
    double density;
} tile_case;

static size_t floats_between(ptrdiff_t stride, size_t count, size_t last)
{
    return (size_t)stride * (count - 1) + last;
}

/* Output channel `row`'s sum over its weights, dense over the `columns` inputs from a pixel. */
static expected dot(const float *weights, const size_t *offsets, size_t columns, const float *x, float bias)
{
    expected e = {.value = (double)bias, .size = fabs((double)bias)};
    for (size_t k = 0; k < columns; ++k) {
        const double product = (double)weights[k] * (double)x[offsets[k]];
        e.value += product;
        e.size += fabs(product);
    }
    return e;
}

static void pack_bsr(const float *weights, const size_t *offsets, size_t rows, size_t columns, size_t height,
                     uint32_t *row_start, uint16_t *narrow, uint32_t *wide, float *values)
{
    size_t at = 0;
    for (size_t row = 0; row * height < rows; ++row) {
        row_start[row] = (uint32_t)at;
        for (size_t k = 0; k < columns; ++k) {
            bool any = false;
            for (size_t r = 0; r < height; ++r) {
                const size_t i = row * height + r;
                values[at * height + r] = i < rows ? weights[i * columns + k] : 0.0f;
                any = any || values[at * height + r] != 0.0f;
            }
            if (!any)
                continue;
            narrow[at] = (uint16_t)offsets[k];
            wide[at++] = (uint32_t)offsets[k];
        }
        row_start[row + 1] = (uint32_t)at;
    }
}

static void pack_nm(const float *weights, size_t rows, size_t columns, size_t height, float *values, uint8_t *positions)
{
    for (size_t row = 0; row * height < rows; ++row)
        for (size_t g = 0; g < columns / 4; ++g, values += 2 * height, positions += height / 2) {
            memset(values, 0, 2 * height * sizeof *values);
            memset(positions, 0, height / 2);
            for (size_t r = 0; r < height && row * height + r < rows; ++r) {
                const float *four = weights + (row * height + r) * columns + 4 * g;
                size_t slot = 0;
                for (size_t at = 0; at < 4; ++at)
                    if (four[at] != 0.0f) {
                        values[slot * height + r] = four[at];
                        positions[slot * height / 4 + r / 4] |= (uint8_t)(at << r % 4 * 2);
                        ++slot;
                    }
            }
        }
}

static void run_tile(const tile_case *c, es_tile_kernel kernel)
{
    const bool nm = c->format == ES_NM4;
    const size_t height = es_block_rows(c->isa, c->format), blocks = es_ceil_div(c->rows, height);
    const size_t columns = nm ? TAPS * GROUPS * 4 : INPUTS;
    size_t offsets[TAPS * GROUPS * 4];
    uint32_t tap_offsets[TAPS];
    size_t reach = 0;           /* inputs from a pixel */
    for (size_t tap = 0; tap < TAPS; ++tap)
        tap_offsets[tap] = (uint32_t)(tap * (GROUPS * 4 + 3));
    for (size_t k = 0; k < columns; ++k) {
        offsets[k] = nm ? tap_offsets[k / (GROUPS * 4)] + k % (GROUPS * 4) : k * 2;
        reach = offsets[k] + 1;
    }
    const ptrdiff_t x_pixel = (ptrdiff_t)(1 + random_below(&rng, 40));
    const ptrdiff_t x_segment = (ptrdiff_t)random_below(&rng, 200), y_pixel = (ptrdiff_t)(c->rows + random_below(&rng, 5));
    const ptrdiff_t y_segment = (ptrdiff_t)c->pixels * y_pixel + (ptrdiff_t)random_below(&rng, 7);
    const size_t x_count = floats_between(x_segment, c->segments, floats_between(x_pixel, c->pixels, reach));
    const size_t y_count = floats_between(y_segment, c->segments, floats_between(y_pixel, c->pixels, c->rows));
    guarded x = guarded_allocate(x_count * sizeof(float), sizeof(float), AT_END);
    guarded y = guarded_allocate(y_count * sizeof(float), sizeof(float), AT_END);
    float *xs = (float *)x.data, *ys = (float *)y.data;
    for (size_t i = 0; i < x_count; ++i)
        xs[i] = random_value(&rng);
    for (size_t i = 0; i < y_count; ++i)
        ys[i] = 1234.5f;

    float *weights = calloc(c->rows * columns, sizeof *weights);
    float *values = calloc(blocks * height * columns + 1, sizeof *values);
    uint8_t *positions = calloc(blocks * height * columns / 8 + 1, 1);
    uint32_t *row_start = calloc(blocks + 1, sizeof *row_start), *wide = calloc(blocks * columns, sizeof *wide);
    uint16_t *narrow = calloc(blocks * columns, sizeof *narrow);
    float *bias = calloc(blocks * height, sizeof *bias);
    make_weights(&rng, c->format, weights, c->rows, columns, c->density);
    for (size_t r = 0; r < c->rows; ++r)
        bias[r] = random_value(&rng);
    if (nm)
        pack_nm(weights, c->rows, columns, height, values, positions);
    else
        pack_bsr(weights, offsets, c->rows, columns, height, row_start, narrow, wide, values);

    /* The first block row is left out where there is more than one: what it would write must not change. */
    const size_t first = blocks > 1 && random_below(&rng, 2) ? 1 : 0;
    const float low = random_below(&rng, 2) ? -2.0f : -INFINITY, high = random_below(&rng, 2) ? 2.5f : INFINITY;
    const es_tile tile = {
        .x = xs, .x_pixel = x_pixel, .x_segment = x_segment, .y = ys, .y_pixel = y_pixel, .y_segment = y_segment,
        .first = first, .last = blocks, .rows = c->rows, .bias = bias, .low = low, .high = high, .weights = values,
        .row_start = row_start, .offsets = c->width == ES_WIDE ? (const void *)wide : narrow, .positions = positions,
        .tap_offsets = tap_offsets, .taps = TAPS, .groups_per_tap = GROUPS,
    };
    kernel(&tile);

    char what[128];
    snprintf(what, sizeof what, "%s %s %zux%zu, %s indices, %zu rows, density %.2f", c->isa->name,
             es_format_name(c->format), c->segments, c->pixels, c->width == ES_WIDE ? "wide" : "narrow", c->rows,
             c->density);
    size_t wrong = 0, touched = y_count;
    for (size_t s = 0; s < c->segments; ++s)
        for (size_t m = 0; m < c->pixels; ++m)
            for (size_t r = first * height; r < c->rows; ++r) {
                expected e = dot(weights + r * columns, offsets, columns,
                                 xs + (ptrdiff_t)s * x_segment + (ptrdiff_t)m * x_pixel, bias[r]);
                e.value = fmin((double)high, fmax((double)low, e.value));
                float *value = ys + (ptrdiff_t)s * y_segment + (ptrdiff_t)m * y_pixel + r;
                wrong += !as_expected(*value, &e);
                *value = 1234.5f;
            }
    for (size_t i = 0; i < y_count; ++i)
        touched -= ys[i] == 1234.5f;
    CHECK(wrong == 0, "%s: %zu outputs are wrong", what, wrong);
    CHECK(touched == 0, "%s: %zu floats beside the outputs were written", what, touched);
    CHECK(guarded_free(&x) && guarded_free(&y), "%s: written in front of the data", what);
    free(weights), free(values), free(positions), free(row_start), free(wide), free(narrow), free(bias);
}

static size_t test_table(const es_isa *isa, es_format format, int width)
{
    const es_tile_kernels *table = es_tile_table(isa, format, width);
    if (table == NULL)
        return 0;
    const size_t height = es_block_rows(isa, format);
    const size_t rows[] = {1, height - 1, height, height + 1, 2 * height + height / 2 + 1};
    static const double densities[] = {0, 0.3, 1};
    size_t kernels = 0;
    for (size_t s = 1; s <= ES_MAX_S; ++s)
        for (size_t m = 1; m <= ES_MAX_M; ++m) {
            const es_tile_kernel kernel = table->of[s - 1][m - 1];
            if (kernel == NULL)
                continue;
            ++kernels;
            for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
                for (size_t d = 0; d < sizeof densities / sizeof *densities; ++d)
                    run_tile(&(tile_case){isa, format, width, s, m, rows[i], densities[d]}, kernel);
        }
    /* What the runner relies on. */
    CHECK(table->of[0][0] != NULL, "%s %s", isa->name, es_format_name(format));
    for (size_t m = 1; m < ES_MAX_M; ++m)
        CHECK(table->of[0][m] == NULL || table->of[0][m - 1] != NULL, "%s %s: a gap below 1x%zu", isa->name,
              es_format_name(format), m + 1);
    return kernels;
}

/* ---- csr panels ---------------------------------------------------------------------------------------------------- */

static void run_csr(const es_isa *isa, size_t vectors, size_t rows, bool accumulate, bool long_rows)
{
    const size_t width = vectors * isa->f32->csr_vector, inputs = isa->f32->csr_panel, pairs = es_ceil_div(rows, ES_CSR_PAIR);
    uint16_t *length = calloc(pairs, sizeof *length);
    uint32_t *pair_rows = calloc(pairs * ES_CSR_PAIR, sizeof *pair_rows);
    size_t count = 0;
    for (size_t p = 0; p < pairs; ++p) {
        length[p] = (uint16_t)(long_rows ? inputs - random_below(&rng, 3) : random_below(&rng, 9));
        count += length[p] * ES_CSR_PAIR;
        /* Any order of the rows. */
        pair_rows[2 * p] = (uint32_t)((2 * p + 3) % (2 * pairs) < rows ? (2 * p + 3) % (2 * pairs) : rows);
        pair_rows[2 * p + 1] = (uint32_t)((2 * p + 2) % (2 * pairs) < rows ? (2 * p + 2) % (2 * pairs) : rows);
    }
    guarded index_memory = guarded_allocate(count * sizeof(uint16_t), sizeof(uint16_t), AT_END);
    guarded value_memory = guarded_allocate(count * sizeof(float), sizeof(float), AT_END);
    guarded x_memory = guarded_allocate(inputs * width * sizeof(float), sizeof(float), AT_END);
    guarded sum_memory = guarded_allocate((rows + 1) * width * sizeof(float), sizeof(float), AT_END);
    uint16_t *indices = (uint16_t *)index_memory.data;
    float *values = (float *)value_memory.data, *x = (float *)x_memory.data, *sums = (float *)sum_memory.data;
    expected *e = calloc((rows + 1) * width, sizeof *e);
    for (size_t i = 0; i < inputs * width; ++i)
        x[i] = random_value(&rng);
    for (size_t i = 0; i < (rows + 1) * width; ++i) {
        sums[i] = random_value(&rng);
        if (accumulate)
            e[i] = (expected){.value = (double)sums[i], .size = fabs((double)sums[i])};
    }
    size_t at = 0;
    for (size_t p = 0; p < pairs; ++p)
        for (size_t j = 0; j < length[p]; ++j)
            for (size_t r = 0; r < ES_CSR_PAIR; ++r, ++at) {
                indices[at] = (uint16_t)random_below(&rng, inputs);
                values[at] = random_value(&rng);
                expected *row = e + pair_rows[2 * p + r] * width;
                for (size_t i = 0; i < width; ++i) {
                    const double product = (double)values[at] * (double)x[indices[at] * width + i];
                    row[i].value += product;
                    row[i].size += fabs(product);
                }
            }
    const es_csr_panel panel = {.pairs = pairs, .pair_length = length, .pair_rows = pair_rows, .indices = indices,
                                .values = values};
    isa->f32->csr[vectors - 1](&panel, x, sums, accumulate);
    const size_t wrong = first_difference(sums, e, rows * width);
    CHECK(wrong == rows * width, "%s csr, %zu vectors, %zu rows, accumulate %d: sum %zu is %g, expected %g", isa->name,
          vectors, rows, accumulate, wrong, (double)sums[wrong], e[wrong].value);
    CHECK(guarded_free(&index_memory) && guarded_free(&value_memory) && guarded_free(&x_memory) &&
          guarded_free(&sum_memory), "%s csr, %zu vectors: written in front of the data", isa->name, vectors);
    free(length), free(pair_rows), free(e);
}

static void run_transposes(const es_isa *isa, size_t vectors, size_t channels, size_t pixels)
{
    const size_t width = vectors * isa->f32->csr_vector;
    const float *pixel[ES_MAX_VECTORS * 16];
    guarded from[ES_MAX_VECTORS * 16];
    for (size_t p = 0; p < width; ++p) {
        from[p] = guarded_allocate(channels * sizeof(float), sizeof(float), AT_END);
        pixel[p] = (float *)from[p].data;
        for (size_t c = 0; c < channels; ++c)
            ((float *)from[p].data)[c] = (float)(p * 1000 + c);
    }
    guarded panel_memory = guarded_allocate(channels * width * sizeof(float), sizeof(float), AT_END);
    float *panel = (float *)panel_memory.data;
    isa->f32->transpose_in(pixel, width, channels, panel);
    size_t wrong = 0;
    for (size_t c = 0; c < channels; ++c)
        for (size_t p = 0; p < width; ++p)
            wrong += panel[c * width + p] != (float)(p * 1000 + c);
    CHECK(wrong == 0, "%s transpose_in, width %zu, %zu channels: %zu wrong", isa->name, width, channels, wrong);
    for (size_t p = 0; p < width; ++p)
        guarded_free(&from[p]);

    /* Back: the panel's channels are the rows now. */
    guarded bias_memory = guarded_allocate(es_round_up(channels, 16) * sizeof(float), sizeof(float), AT_END);
    guarded y_memory = guarded_allocate(pixels * channels * sizeof(float), sizeof(float), AT_END);
    float *bias = (float *)bias_memory.data, *y = (float *)y_memory.data;
    for (size_t c = 0; c < channels; ++c)
        bias[c] = (float)(c % 7);
    const float low = 3.0f, high = (float)(width * 1000 - 1500);
    isa->f32->transpose_out(panel, width, pixels, channels, bias, low, high, y);
    wrong = 0;
    for (size_t p = 0; p < pixels; ++p)
        for (size_t c = 0; c < channels; ++c)
            wrong += y[p * channels + c] != fminf(high, fmaxf(low, (float)(p * 1000 + c) + bias[c]));
    CHECK(wrong == 0, "%s transpose_out, width %zu, %zu pixels, %zu rows: %zu wrong", isa->name, width, pixels, channels,
          wrong);
    CHECK(guarded_free(&panel_memory) && guarded_free(&bias_memory) && guarded_free(&y_memory), "%s transposes", isa->name);
}

static size_t test_csr(const es_isa *isa)
{
    size_t kernels = 0;
    CHECK(isa->f32->csr[0] != NULL, "%s", isa->name);
    for (size_t vectors = 1; vectors <= ES_MAX_VECTORS; ++vectors) {
        if (isa->f32->csr[vectors - 1] == NULL)
            continue;
        ++kernels;
        CHECK(vectors == 1 || isa->f32->csr[vectors - 2] != NULL, "%s: a gap below %zu vectors", isa->name, vectors);
        for (size_t rows = 1; rows < 12; ++rows)
            for (int accumulate = 0; accumulate < 2; ++accumulate)
                for (int long_rows = 0; long_rows < 2; ++long_rows)
                    run_csr(isa, vectors, rows, accumulate, long_rows);
        const size_t width = vectors * isa->f32->csr_vector, channels[] = {1, 3, 4, 5, 8, 15, 16, 17, 35};
        for (size_t i = 0; i < sizeof channels / sizeof *channels; ++i)
            for (size_t pixels = width - isa->f32->csr_vector + 1; pixels <= width; ++pixels)
                run_transposes(isa, vectors, channels[i], pixels);
    }
    return kernels;
}

/* ---- csr, one pixel ------------------------------------------------------------------------------------------------ */

static void run_csr_vector(const es_isa *isa, int width, size_t rows, size_t first, size_t last)
{
    const size_t inputs = width == ES_WIDE ? 70000 : 65536;
    uint32_t *row_start = calloc(rows + 1, sizeof *row_start);
    for (size_t r = 0; r < rows; ++r)
        row_start[r + 1] = row_start[r] + (uint32_t)random_below(&rng, 70);
    const size_t count = row_start[rows], index_bytes = width == ES_WIDE ? sizeof(uint32_t) : sizeof(uint16_t);
    guarded index_memory = guarded_allocate(count * index_bytes, index_bytes, AT_END);
    guarded value_memory = guarded_allocate(count * sizeof(float), sizeof(float), AT_END);
    guarded x_memory = guarded_allocate(inputs * sizeof(float), sizeof(float), AT_END);
    guarded y_memory = guarded_allocate(rows * sizeof(float), sizeof(float), AT_END);
    float *values = (float *)value_memory.data, *x = (float *)x_memory.data, *y = (float *)y_memory.data;
    float *bias = calloc(rows, sizeof *bias);
    for (size_t i = 0; i < inputs; ++i)
        x[i] = random_value(&rng);
    const float low = random_below(&rng, 2) ? -1.0f : -INFINITY, high = random_below(&rng, 2) ? 6.0f : INFINITY;
    expected *e = calloc(rows, sizeof *e);
    for (size_t r = 0; r < rows; ++r) {
        y[r] = 1234.5f;
        bias[r] = random_value(&rng);
        e[r] = (expected){.value = (double)bias[r], .size = fabs((double)bias[r])};
        for (size_t i = row_start[r]; i < row_start[r + 1]; ++i) {
            /* The largest index is among them. */
            const size_t k = random_below(&rng, 10) ? random_below(&rng, inputs) : inputs - 1;
            if (width == ES_WIDE)
                ((uint32_t *)index_memory.data)[i] = (uint32_t)k;
            else
                ((uint16_t *)index_memory.data)[i] = (uint16_t)k;
            values[i] = random_value(&rng);
            e[r].value += (double)values[i] * (double)x[k];
            e[r].size += fabs((double)values[i] * (double)x[k]);
        }
        e[r].value = fmin((double)high, fmax((double)low, e[r].value));
    }
    const es_csr_rows job = {.first = first, .last = last, .row_start = row_start, .indices = index_memory.data,
                             .values = values, .bias = bias, .low = low, .high = high};
    isa->f32->csr_vector_kernel[width](&job, x, y);
    size_t wrong = 0;
    for (size_t r = 0; r < rows; ++r)
        wrong += r >= first && r < last ? !as_expected(y[r], &e[r]) : y[r] != 1234.5f;
    CHECK(wrong == 0, "%s csr_vector, %s indices, rows %zu to %zu of %zu: %zu wrong", isa->name,
          width == ES_WIDE ? "wide" : "narrow", first, last, rows, wrong);
    CHECK(guarded_free(&index_memory) && guarded_free(&value_memory) && guarded_free(&x_memory) &&
          guarded_free(&y_memory), "%s csr_vector", isa->name);
    free(row_start), free(bias), free(e);
}

static size_t test_csr_vector(const es_isa *isa)
{
    for (int width = ES_NARROW; width <= ES_WIDE; ++width) {
        if (!CHECK(isa->f32->csr_vector_kernel[width] != NULL, "%s", isa->name))
            continue;
        run_csr_vector(isa, width, 40, 0, 40);
        run_csr_vector(isa, width, 40, 13, 29);
        run_csr_vector(isa, width, 1, 0, 1);
    }
    return ES_INDEX_WIDTHS;
}

int main(void)
{
    const es_isa *isas[MOST_ISAS];
    const size_t count = usable_isas(isas);
    size_t kernels = 0;
    for (size_t i = 0; i < count; ++i) {
        size_t own = 0;
        for (int width = ES_NARROW; width <= ES_WIDE; ++width)
            for (es_format format = ES_BSR16; format <= ES_BSR4; ++format)
                own += test_table(isas[i], format, width);
        own += test_table(isas[i], ES_NM4, ES_NARROW);
        own += test_csr(isas[i]) + test_csr_vector(isas[i]);
        printf("%s: %zu micro-kernels\n", isas[i]->name, own);
        kernels += own;
    }
    char what[80];
    snprintf(what, sizeof what, "micro-kernels: %zu of %zu instruction sets", kernels, count);
    return check_report(what);
}
