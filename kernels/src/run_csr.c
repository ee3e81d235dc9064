/* Runs csr. For vectors of pixels: tiles of pixels, each transposed panel by panel, multiplied, and transposed back. For a
 * single pixel: dot products. */
#include <string.h>

#include "op.h"

enum { MAX_WIDTH = ES_MAX_VECTORS * 16 };

static size_t most_vectors(const es_isa *isa)
{
    size_t vectors = ES_MAX_VECTORS;
    while (isa->f32->csr[vectors - 1] == NULL)
        --vectors;
    return vectors;
}

static size_t tile_count(const es_op *op, size_t threads)
{
    const size_t vectors = es_ceil_div(es_pixels(&op->conv), op->isa->f32->csr_vector);
    const size_t tiles = es_ceil_div(vectors, most_vectors(op->isa));
    /* Few tiles: as many for each thread, if only a vector wide. */
    return es_min(vectors, tiles < 4 * threads ? es_round_up(tiles, threads) : tiles);
}

size_t es_csr_vectors_of(const es_op *op, size_t threads)
{
    return es_ceil_div(es_ceil_div(es_pixels(&op->conv), op->isa->f32->csr_vector), tile_count(op, threads));
}

/* Per thread: a panel, and the sums of one tile with the row that an odd one out is paired with. */
static size_t panel_floats(const es_op *op)
{
    return op->isa->f32->csr_panel * most_vectors(op->isa) * op->isa->f32->csr_vector;
}

static size_t sum_floats(const es_op *op)
{
    return es_round_up((op->rows + 1) * most_vectors(op->isa) * op->isa->f32->csr_vector, ES_ALIGNMENT / sizeof(float));
}

size_t es_csr_scratch(const es_op *op, size_t threads)
{
    return threads * (panel_floats(op) + sum_floats(op)) * sizeof(float);
}

typedef struct job {
    const es_op *op;
    const float *input;
    float *output, *scratch;
    size_t tiles;
} job;

/* Where output pixel `index` of the tap at (ky, kx) reads. */
static const float *tap_pixel(const es_op *op, const float *input, size_t index, int32_t ky, int32_t kx)
{
    const es_conv *conv = &op->conv;
    const size_t out_w = (size_t)conv->out_w, out_h = (size_t)conv->out_h;
    const int32_t x = (int32_t)(index % out_w) * conv->stride_w - conv->pad_left + kx;
    const int32_t y = (int32_t)(index / out_w % out_h) * conv->stride_h - conv->pad_top + ky;
    const size_t image = index / (out_w * out_h);
    if (x < 0 || y < 0 || x >= conv->in_w || y >= conv->in_h)
        return op->zeros;
    return input + ((image * (size_t)conv->in_h + (size_t)y) * (size_t)conv->in_w + (size_t)x) * (size_t)conv->in_c;
}

/* Transposes the columns [from, to) of the tile's pixels into `panel`. */
static void load_panel(const job *j, size_t first, size_t pixels, size_t width, size_t from, size_t to, float *panel)
{
    const es_op *op = j->op;
    const size_t c = (size_t)op->conv.in_c, k_w = (size_t)op->conv.k_w;
    const bool pointwise = es_pointwise(&op->conv);
    const float *pixel[MAX_WIDTH];
    for (size_t column = from; column < to;) {
        const size_t tap = column / c, channel = column % c;
        const size_t channels = es_min(c - channel, to - column);
        for (size_t p = 0; p < width; ++p) {
            if (p >= pixels)
                pixel[p] = op->zeros + channel;
            else if (pointwise)
                pixel[p] = j->input + (first + p) * c + channel;
            else
                pixel[p] = tap_pixel(op, j->input, first + p, (int32_t)(tap / k_w), (int32_t)(tap % k_w)) + channel;
        }
        op->isa->f32->transpose_in(pixel, width, channels, panel + (column - from) * width);
        column += channels;
    }
}

static void run_tile(void *context, size_t index, size_t thread)
{
    const job *j = context;
    const es_op *op = j->op;
    float *panel = j->scratch + thread * (panel_floats(op) + sum_floats(op)), *sums = panel + panel_floats(op);
    const es_isa *isa = op->isa;
    const size_t pixels_all = es_pixels(&op->conv), vectors_all = es_ceil_div(pixels_all, isa->f32->csr_vector);
    const size_t first_vector = vectors_all * index / j->tiles;
    const size_t vectors = vectors_all * (index + 1) / j->tiles - first_vector;
    const size_t first = first_vector * isa->f32->csr_vector, width = vectors * isa->f32->csr_vector;
    const size_t pixels = es_min(width, pixels_all - first);
    const es_csr_weights *csr = &op->csr;
    for (size_t p = 0; p < csr->panel_count; ++p) {
        load_panel(j, first, pixels, width, csr->panel_start[p], csr->panel_start[p + 1], panel);
        isa->f32->csr[vectors - 1](&csr->panels[p], panel, sums, p > 0);
    }
    isa->f32->transpose_out(sums, width, pixels, op->rows, op->bias, op->conv.low, op->conv.high,
                       j->output + first * op->rows);
}

void es_run_csr(const es_op *op, es_pool *pool, const float *input, float *output, void *scratch)
{
    const size_t threads = es_pool_threads(pool);
    job j = {.op = op, .input = input, .output = output, .scratch = scratch, .tiles = tile_count(op, threads)};
    es_pool_run(pool, run_tile, &j, j.tiles);
}

/* ---- one pixel ---------------------------------------------------------------------------------------------------- */

typedef struct vector_job {
    const es_op *op;
    const float *input;
    float *output;
    size_t parts;
} vector_job;

static void run_rows(void *context, size_t part, size_t thread)
{
    (void)thread;
    const vector_job *j = context;
    const es_op *op = j->op;
    const es_vector_weights *v = &op->csr_vector;
    const es_csr_rows rows = {
        .first = op->rows * part / j->parts,
        .last = op->rows * (part + 1) / j->parts,
        .row_start = v->row_start,
        .indices = v->indices,
        .values = v->values,
        .bias = op->bias,
        .low = op->conv.low,
        .high = op->conv.high,
    };
    const size_t pixels = es_pixels(&op->conv);
    for (size_t p = 0; p < pixels; ++p)
        op->isa->f32->csr_vector_kernel[v->index_width](&rows, j->input + p * op->columns, j->output + p * op->rows);
}

void es_run_csr_vector(const es_op *op, es_pool *pool, const float *input, float *output)
{
    const size_t threads = es_pool_threads(pool);
    vector_job j = {.op = op, .input = input, .output = output};
    j.parts = threads == 1 ? 1 : es_min(op->rows, 16 * threads);
    es_pool_run(pool, run_rows, &j, j.parts);
}
