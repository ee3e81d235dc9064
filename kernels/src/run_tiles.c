/* Runs bsr and nm, float and int8: tiles of pixels x block rows.
 *
 * The output's pixels form lines: one for a pointwise convolution, one per output row otherwise. A tile is a part of a
 * line, or a few lines of one picture where a line is short. Weights are walked in chunks that stay in the L2 cache while
 * all tiles pass over them. */
#include <string.h>

#include "op.h"

enum { CHUNK_BYTES = 192 * 1024 };

es_picture es_picture_of(const es_conv *conv)
{
    const size_t height = ((size_t)conv->out_h - 1) * (size_t)conv->stride_h + (size_t)conv->k_h;
    const size_t width = ((size_t)conv->out_w - 1) * (size_t)conv->stride_w + (size_t)conv->k_w;
    const bool beyond = conv->pad_top > 0 || conv->pad_left > 0 || height > (size_t)conv->in_h ||
                        width > (size_t)conv->in_w;
    if (!beyond)
        return (es_picture){.height = (size_t)conv->in_h, .width = (size_t)conv->in_w};
    return (es_picture){.copied = true, .height = height, .width = width};
}

bool es_copies_picture(const es_op *op)
{
    return es_picture_of(&op->conv).copied ||
           (op->scale != NULL && (op->isa->s8->input != ES_S8_PLAIN || op->channels != (size_t)op->conv.in_c));
}

size_t es_tiles_scratch(const es_op *op)
{
    const es_picture picture = es_picture_of(&op->conv);
    if (!es_copies_picture(op))
        return 0;
    return (size_t)op->conv.batch * picture.height * picture.width * op->channels * op->x_bytes;
}

/* ---- tiles -------------------------------------------------------------------------------------------------------- */

void es_store_part(const es_tile *t, size_t element, const void *whole, int segments, int pixels, size_t height, size_t row)
{
    const size_t bytes = (t->rows - row * height) * element;
    const char *from = whole;
    for (int s = 0; s < segments; ++s)
        for (int m = 0; m < pixels; ++m, from += height * element)
            memcpy((char *)t->y + (s * t->y_segment + m * t->y_pixel + (ptrdiff_t)(row * height)) * (ptrdiff_t)element, from,
                   bytes);
}

/* TFLite's own kernels multiply by a number of 31 bits, round, shift and round again, halves up both times. */
static int8_t scaled(int32_t sum, es_s8_factor f, es_s8_output output)
{
    int64_t shifted = f.shift > 0 ? sum * ((int64_t)1 << f.shift) : sum;
    shifted = shifted < INT32_MIN ? INT32_MIN : shifted > INT32_MAX ? INT32_MAX : shifted;
    const int64_t product = shifted * f.multiplier;
    int64_t value = (product + (1 << 30)) >> 31;
    if (f.shift < 0)
        value = (value + ((int64_t)1 << (-f.shift - 1))) >> -f.shift;
    const int64_t low = (int64_t)output.low, high = (int64_t)output.high;
    return (int8_t)((value < low ? low : value > high ? high : value) + output.zero_point);
}

void es_store_fixed(const es_tile *t, const int32_t *sums, int segments, int pixels, size_t height, size_t row)
{
    const size_t first = row * height, channels = es_min(t->rows - first, height);
    for (int s = 0; s < segments; ++s)
        for (int m = 0; m < pixels; ++m, sums += height) {
            int8_t *y = (int8_t *)t->y + s * t->y_segment + m * t->y_pixel + (ptrdiff_t)first;
            for (size_t c = 0; c < channels; ++c)
                y[c] = scaled(sums[c], t->factors[first + c], t->output);
        }
}

typedef struct tiling {
    size_t lines_per_image, images;
    size_t line;                        /* pixels of a line */
    size_t lines;                       /* whole lines per tile, its segments; 0: a tile is a part of a line */
    size_t tiles_per_line;
    size_t tiles;
    ptrdiff_t x_pixel, x_line, x_image; /* in elements */
} tiling;

/* The most pixels of a segment, if there are so many segments. */
static size_t longest(const es_tile_kernels *table, size_t segments)
{
    size_t m = ES_MAX_M;
    while (m > 0 && table->of[segments - 1][m - 1] == NULL)
        --m;
    return m;
}

/* The most pixels of a tile. */
static size_t largest(const es_tile_kernels *table)
{
    size_t most = 0;
    for (size_t s = 1; s <= ES_MAX_S; ++s)
        most = s * longest(table, s) > most ? s * longest(table, s) : most;
    return most;
}

/* Cuts `pixels` of a line into the fewest equal segments that a kernel has, `distance` pixels apart. Segments may overlap:
 * a pixel computed twice is cheaper than a second tile. */
static bool cut(const es_tile_kernels *table, size_t pixels, size_t *segments, size_t *m, size_t *distance)
{
    for (size_t s = 1; s <= ES_MAX_S && s <= pixels; ++s)
        for (size_t length = es_ceil_div(pixels, s); length <= longest(table, s); ++length) {
            const size_t rest = pixels - length;
            if (table->of[s - 1][length - 1] == NULL)
                continue;
            if (s > 1 && (rest % (s - 1) != 0 || rest / (s - 1) > length || rest == 0))
                continue;
            *segments = s;
            *m = length;
            *distance = s > 1 ? rest / (s - 1) : 0;
            return true;
        }
    return false;
}

/* The fewest even parts of a line, of at most `most` pixels, that can be cut. */
static size_t parts_of_line(const es_tile_kernels *table, size_t line, size_t most)
{
    size_t parts = es_ceil_div(line, most), s, m, d;
    while (!cut(table, line / parts, &s, &m, &d) || !cut(table, es_ceil_div(line, parts), &s, &m, &d))
        ++parts;                        /* ends at one pixel each at the latest */
    return parts;
}

/* The pixels of a tile, as many as the registers hold sums for, or fewer so that what they read stays in the L1 cache
 * while all block rows pass over it. If even the fewest do not fit, many are better: weights are loaded less often. */
static size_t tile_pixels(const es_op *op, size_t most)
{
    const es_conv *conv = &op->conv;
    const size_t pixel_bytes = op->channels * op->x_bytes * (size_t)conv->k_h;
    const size_t tile_bytes = op->scale == NULL ? op->isa->f32->tile_bytes : op->isa->s8->tile_bytes;
    const size_t least = op->scale == NULL ? op->isa->f32->least_pixels : op->isa->s8->least_pixels;
    const size_t fitting = tile_bytes / pixel_bytes;                    /* input pixels, per row of the kernel */
    const size_t beyond = (size_t)conv->k_w > (size_t)conv->stride_w ? (size_t)(conv->k_w - conv->stride_w) : 0;
    const size_t pixels = fitting > beyond ? (fitting - beyond) / (size_t)conv->stride_w : 0;
    return pixels < least ? most : es_min(pixels, most);
}

static tiling plan_tiles(const es_op *op, const es_tile_kernels *table)
{
    const es_conv *conv = &op->conv;
    const es_picture picture = es_picture_of(conv);
    const size_t c = op->channels;
    tiling plan = {.x_pixel = (ptrdiff_t)((size_t)conv->stride_w * c)};
    if (es_pointwise(conv)) {
        plan.images = 1;
        plan.lines_per_image = 1;
        plan.line = es_pixels(conv);
    } else {
        plan.images = (size_t)conv->batch;
        plan.lines_per_image = (size_t)conv->out_h;
        plan.line = (size_t)conv->out_w;
        plan.x_line = (ptrdiff_t)((size_t)conv->stride_h * picture.width * c);
        plan.x_image = (ptrdiff_t)(picture.height * picture.width * c);
    }
    const size_t most = tile_pixels(op, largest(table));
    if (plan.lines_per_image > 1)
        for (size_t lines = 2; lines <= ES_MAX_S && lines <= plan.lines_per_image; ++lines)
            if (plan.line <= longest(table, 1) && table->of[lines - 1][plan.line - 1] != NULL && lines * plan.line <= most)
                plan.lines = lines;
    plan.tiles_per_line = plan.lines > 0 ? 1 : parts_of_line(table, plan.line, most);
    plan.tiles = plan.images * plan.tiles_per_line *
                 (plan.lines > 0 ? es_ceil_div(plan.lines_per_image, plan.lines) : plan.lines_per_image);
    return plan;
}

typedef struct job {
    const es_op *op;
    const es_tile_kernels *table;
    tiling plan;
    const char *input;
    char *output;
    es_s8_output bounds;        /* of either type */
    bool by_rows;               /* the parts are block rows, not tiles */
    size_t parts, chunk_rows;
} job;

static void run_tile(const job *j, size_t index, size_t first, size_t last)
{
    const es_op *op = j->op;
    const tiling *plan = &j->plan;
    const size_t rows = op->rows;
    size_t image, line, from = 0, segments, m;
    ptrdiff_t x_segment, y_segment;
    if (plan->lines > 0) {
        const size_t groups = es_ceil_div(plan->lines_per_image, plan->lines);
        image = index / groups;
        line = index % groups * plan->lines;
        segments = es_min(plan->lines, plan->lines_per_image - line);
        m = plan->line;
        x_segment = plan->x_line;
        y_segment = (ptrdiff_t)(plan->line * rows);
    } else {
        const size_t global_line = index / plan->tiles_per_line, part = index % plan->tiles_per_line;
        image = global_line / plan->lines_per_image;
        line = global_line % plan->lines_per_image;
        from = plan->line * part / plan->tiles_per_line;
        size_t distance;
        cut(j->table, plan->line * (part + 1) / plan->tiles_per_line - from, &segments, &m, &distance);
        x_segment = (ptrdiff_t)distance * plan->x_pixel;
        y_segment = (ptrdiff_t)(distance * rows);
    }
    const es_tile tile = {
        .x = j->input + ((ptrdiff_t)image * plan->x_image + (ptrdiff_t)line * plan->x_line +
                         (ptrdiff_t)from * plan->x_pixel) * (ptrdiff_t)op->x_bytes,
        .x_pixel = plan->x_pixel,
        .x_segment = x_segment,
        .y = j->output + ((image * plan->lines_per_image + line) * plan->line + from) * rows * op->y_bytes,
        .y_pixel = (ptrdiff_t)rows,
        .y_segment = y_segment,
        .first = first,
        .last = last,
        .rows = rows,
        .bias = op->bias,
        .low = j->bounds.low,
        .high = j->bounds.high,
        .weights = op->format == ES_NM4 ? op->nm.values : op->bsr.values,
        .row_start = op->bsr.row_start,
        .offsets = op->bsr.offsets,
        .positions = op->nm.positions,
        .tap_offsets = op->nm.tap_offsets,
        .taps = op->nm.taps,
        .groups_per_tap = op->nm.groups_per_tap,
        .scale = op->scale,
        .output = j->bounds,
        .factors = op->factors,
    };
    j->table->of[segments - 1][m - 1](&tile);
}

static void run_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const job *j = context;
    const size_t block_rows = j->op->block_rows, tiles = j->plan.tiles;
    const size_t first_row = j->by_rows ? block_rows * part / j->parts : 0;
    const size_t last_row = j->by_rows ? block_rows * (part + 1) / j->parts : block_rows;
    const size_t first_tile = j->by_rows ? 0 : tiles * part / j->parts;
    const size_t last_tile = j->by_rows ? tiles : tiles * (part + 1) / j->parts;
    for (size_t row = first_row; row < last_row; row += j->chunk_rows)
        for (size_t tile = first_tile; tile < last_tile; ++tile)
            run_tile(j, tile, row, es_min(row + j->chunk_rows, last_row));
}

static const es_tile_kernels *table_of(const es_op *op)
{
    return es_tile_table(op->isa, op->format, op->bsr.index_width);
}

void es_tile_of(const es_op *op, int *segments, int *pixels)
{
    const es_tile_kernels *table = table_of(op);
    const tiling plan = plan_tiles(op, table);
    size_t s = plan.lines, m = plan.line, distance;
    if (plan.lines == 0)
        cut(table, es_ceil_div(plan.line, plan.tiles_per_line), &s, &m, &distance);
    *segments = (int)s;
    *pixels = (int)m;
}

void es_run_tiles(const es_op *op, es_pool *pool, const void *input, void *output, void *scratch)
{
    if (es_copies_picture(op)) {
        const es_picture picture = es_picture_of(&op->conv);
        const es_conv *conv = &op->conv;
        if (op->scale != NULL)
            es_convert_picture(op, pool, input, scratch);
        else
            es_pad(pool, &(es_padding){.images = (size_t)conv->batch, .in_h = (size_t)conv->in_h,
                                       .in_w = (size_t)conv->in_w, .channels = (size_t)conv->in_c,
                                       .top = (size_t)conv->pad_top, .left = (size_t)conv->pad_left,
                                       .out_h = picture.height, .out_w = picture.width},
                   input, scratch);
        input = scratch;
    }
    job j = {.op = op, .table = table_of(op), .input = input, .output = output};
    j.bounds = es_op_bounds(op);
    j.plan = plan_tiles(op, j.table);
    const size_t threads = es_pool_threads(pool);
    const size_t row_bytes = op->packed_bytes / op->block_rows + 1;
    j.chunk_rows = j.plan.tiles == 1 ? op->block_rows : es_min(op->block_rows, CHUNK_BYTES / row_bytes + 1);
    if (threads > 1) {
        /* Many small parts, so that a thread that starts late or is interrupted does not hold up the rest. */
        j.by_rows = j.plan.tiles < 8 * threads && op->block_rows > j.plan.tiles;
        j.parts = es_min(16 * threads, j.by_rows ? op->block_rows : j.plan.tiles);
    } else {
        j.parts = 1;
    }
    es_pool_run(pool, run_part, &j, j.parts);
}
