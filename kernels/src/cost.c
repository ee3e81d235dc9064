/* The cost model: which format is the fastest, and is it faster than dense?
 *
 * Cycles of one thread, from what a format stores and the shape, with a dozen numbers per instruction set. The numbers
 * were fitted to `es_bench --calibrate` and to whole models against XNNPACK; only ratios matter, so they are shown as
 * microseconds at 3 GHz. A NEON cycle is counted as two instructions: what there is to fit them to is instruction counts.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "op.h"

/* int8: blocks are four inputs wide. */
typedef struct cost_s8 {
    double dense;               /* multiply-adds per cycle of XNNPACK's kernel */
    double output;              /* cycles of that for each output, to add up, scale, round and store */
    double block[3];            /* as below */
    double tile[3];
    double block_visit, row_visit;
    double convert;             /* per input made unsigned, or 16 bits wide */
    double depthwise_gain;      /* cycles per output of a 3x3 depthwise convolution, over XNNPACK's; 0: no kernel */
    double tap;                 /* XNNPACK walks the inputs of a tap in so many at a time */
} cost_s8;

typedef struct cost {
    const char *target;
    double lanes;               /* floats of a vector */
    double dense;               /* cycles of a dense kernel per vector of multiply-adds */
    double cached, streamed;    /* bytes per cycle of weights that are used once: from the caches, from memory */
    double call;                /* cycles of an island: TFLite's bookkeeping, the break in XNNPACK's graph */
    double block[3];            /* bsr 16, 8, 4: cycles per block and pixel; 0: no kernel, a wider block is as fast */
    double tile[3];             /* bsr: pixels of a tile */
    double block_visit;         /* bsr: per block and tile */
    double row_visit;           /* bsr, nm: per block row and tile */
    double group;               /* nm: per group of four inputs, vector of outputs and pixel; 0: no kernel */
    double nm_tile;
    double copy;                /* per float of a padded picture */
    double value;               /* csr: per value and vector of pixels */
    double value_visit;         /* csr: per value and tile */
    double csr_tile;            /* csr: pixels of a tile */
    double panel;               /* csr: inputs of a panel */
    double sum_visit;           /* csr: per row, panel and tile */
    double turn;                /* csr: per float transposed in or out */
    double picked;              /* csr, one pixel: per value */
    double depthwise_gain;      /* cycles per vector and tap of a depthwise convolution, over XNNPACK's kernel */
    double wake;                /* cycles that waking each other's threads costs, if there are several */
    double xnnpack_value;       /* XNNPACK's own sparse kernels: per value and vector of pixels; 0: not worth its name */
    double xnnpack_block_value; /* the same in blocks of four outputs */
    cost_s8 s8;
} cost;

#define F32_AVX512 \
    .lanes = 16, .dense = 0.52, .cached = 24, .streamed = 10, .call = 4000, \
    .block = {0.56}, .tile = {27}, .block_visit = 1.0, .row_visit = 60, \
    .group = 1.6, .nm_tile = 16, .copy = 0.10, .value = 0.62, .value_visit = 0.8, .csr_tile = 64, .panel = 96, \
    .sum_visit = 18, .turn = 0.20, .picked = 0.75, .depthwise_gain = 0.1, .wake = 60000
#define F32_AVX2 \
    .lanes = 8, .dense = 0.52, .cached = 20, .streamed = 8, .call = 4000, \
    .block = {1.05, 0.70}, .tile = {6, 12}, .block_visit = 0.9, .row_visit = 45, \
    .group = 2.1, .nm_tile = 8, .copy = 0.15, .value = 0.60, .value_visit = 0.5, .csr_tile = 32, .panel = 160, \
    .sum_visit = 18, .turn = 0.35, .picked = 1.1, .depthwise_gain = 0.1, .wake = 60000
#define F32_AARCH64 \
    .lanes = 4, .dense = 0.62, .cached = 32, .streamed = 8, .call = 4000, \
    .block = {2.5, 1.6, 1.1}, .tile = {6, 12, 24}, .block_visit = 4.0, .row_visit = 60, \
    .group = 0, .nm_tile = 0, .copy = 0.25, .value = 0.75, .value_visit = 2.0, .csr_tile = 32, .panel = 256, \
    .sum_visit = 14, .turn = 0.8, .picked = 2.0, \
    .depthwise_gain = 0.1, .wake = 60000, .xnnpack_value = 1.46, .xnnpack_block_value = 1.2
#define F32_ARMV7L \
    .lanes = 4, .dense = 0.75, .cached = 16, .streamed = 4, .call = 4000, \
    .block = {3.2, 1.8, 1.2}, .tile = {2, 5, 10}, .block_visit = 2.5, .row_visit = 60, \
    .group = 0, .nm_tile = 0, .copy = 0.4, .value = 0.85, .value_visit = 2.5, .csr_tile = 16, .panel = 256, \
    .sum_visit = 30, .turn = 0.6, .picked = 2.5, .depthwise_gain = 0.1, .wake = 60000
/* Portable C competes with XNNPACK's vectors of at least four: it wins only where next to nothing is left. */
#define F32_SCALAR \
    .lanes = 4, .dense = 0.6, .cached = 20, .streamed = 8, .call = 4000, \
    .block = {0, 0, 1.4}, .tile = {0, 0, 8}, .block_visit = 4.0, .row_visit = 80, \
    .group = 26.0, .nm_tile = 8, .copy = 0.4, .value = 1.1, .value_visit = 4.0, .csr_tile = 8, .panel = 256, \
    .sum_visit = 40, .turn = 1.0, .picked = 3.0, .depthwise_gain = -2, .wake = 60000

static const cost costs[] = {
    {.target = "x86_64-avx512vnni", F32_AVX512,
     .s8 = {.dense = 180, .output = 0.17, .block = {0.5}, .tile = {27}, .block_visit = 1.0, .row_visit = 50, .convert = 0.03,
            .depthwise_gain = 1.0, .tap = 8}},
    {.target = "x86_64-avx512", F32_AVX512,
     .s8 = {.dense = 28, .output = 0.3, .block = {0, 1.2}, .tile = {0, 12}, .block_visit = 1.5, .row_visit = 45, .convert = 0.1,
            .depthwise_gain = 0.4, .tap = 8}},
    {.target = "x86_64-avxvnni", F32_AVX2,
     .s8 = {.dense = 80, .output = 0.35, .block = {0, 0.6}, .tile = {0, 12}, .block_visit = 1.0, .row_visit = 45, .convert = 0.05,
            .depthwise_gain = 1.2, .tap = 8}},
    {.target = "x86_64-avx2", F32_AVX2,
     .s8 = {.dense = 13.5, .output = 0.4, .block = {0, 1.2}, .tile = {0, 12}, .block_visit = 1.5, .row_visit = 45, .convert = 0.1,
            .depthwise_gain = 0.9, .tap = 8}},
    {.target = "aarch64-neondot", F32_AARCH64,
     .s8 = {.dense = 26, .output = 0.7, .block = {2.6, 1.6, 1.1}, .tile = {6, 12, 16}, .block_visit = 4, .row_visit = 80, .convert = 0.03,
            .depthwise_gain = 0.7, .tap = 4}},
    {.target = "aarch64-neon", F32_AARCH64,
     .s8 = {.dense = 8, .output = 1.2, .block = {7.5, 4.0, 2.5}, .tile = {5, 12, 16}, .block_visit = 5, .row_visit = 85, .convert = 0.03,
            .depthwise_gain = 0, .tap = 8}},
    {.target = "armv7l-neon", F32_ARMV7L,
     .s8 = {.dense = 7, .output = 1.5, .block = {9.0, 5.0, 3.0}, .tile = {2, 4, 8}, .block_visit = 5, .row_visit = 90, .convert = 0.03,
            .depthwise_gain = 0, .tap = 8}},
    {.target = "any-scalar", F32_SCALAR,
     .s8 = {.dense = 8, .output = 1.0, .block = {0, 0, 10}, .tile = {0, 0, 1}, .block_visit = 5, .row_visit = 80, .convert = 0.1,
            .depthwise_gain = 0.01, .tap = 1}},
};
enum { COUNT = sizeof costs / sizeof *costs };

static const double cycles_per_us = 3000;

static double ceil_div(double a, double b)
{
    return ceil(a / b);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Weights that outgrow the last cache come from memory at each inference. */
static double load_cycles(const cost *c, double bytes)
{
    return bytes / (bytes > 8e6 ? c->streamed : c->cached);
}

static double dense_cycles(const cost *c, const es_conv *conv, double rows, double columns)
{
    const double pixels = (double)es_pixels(conv);
    /* XNNPACK goes to each tap through a pointer, which tells where a tap has few channels. */
    const double taps = es_pointwise(conv) ? 1 : 1 + 1.5 / conv->in_c;
    const double multiply = rows * columns * pixels / c->lanes * c->dense * taps;
    return larger(multiply, load_cycles(c, rows * columns * sizeof(float)));
}

static double copy_cycles(const cost *c, const es_conv *conv)
{
    const es_picture picture = es_picture_of(conv);
    return picture.copied ? (double)conv->batch * (double)picture.height * (double)picture.width *
                                (double)conv->in_c * c->copy
                          : 0;
}

static double bsr_cycles(const cost *c, const es_conv *conv, int which, double blocks, double rows)
{
    static const double heights[] = {16, 8, 4};
    const double pixels = (double)es_pixels(conv), height = heights[which];
    const double tiles = ceil_div(pixels, c->tile[which]);
    const double multiply = blocks * (pixels * c->block[which] + tiles * c->block_visit) +
                            ceil_div(rows, height) * tiles * c->row_visit;
    const double bytes = blocks * (height * sizeof(float) + sizeof(uint16_t));
    return larger(multiply, load_cycles(c, bytes)) + copy_cycles(c, conv);
}

static double nm_cycles(const cost *c, const es_conv *conv, double rows, double columns)
{
    const double pixels = (double)es_pixels(conv), vectors = ceil_div(rows, c->lanes), groups = columns / 4;
    const double multiply = vectors * groups * pixels * c->group + vectors * ceil_div(pixels, c->nm_tile) * c->row_visit;
    const double bytes = rows * groups * (2 * sizeof(float) + 0.5);
    return larger(multiply, load_cycles(c, bytes)) + copy_cycles(c, conv);
}

static double csr_cycles(const cost *c, const es_conv *conv, const es_zeros *zeros)
{
    const double pixels = (double)es_pixels(conv), rows = (double)zeros->rows, columns = (double)zeros->columns;
    const double values = (double)zeros->nonzeros;
    if (pixels < c->lanes / 2)
        return pixels * larger(values * c->picked, load_cycles(c, values * (sizeof(float) + sizeof(uint16_t))));
    const double vectors = ceil_div(pixels, c->lanes), tiles = ceil_div(pixels, c->csr_tile);
    return values * (vectors * c->value + tiles * c->value_visit) +
           rows * tiles * ceil_div(columns, c->panel) * c->sum_visit + (rows + columns) * vectors * c->lanes * c->turn;
}

static void keep_faster(es_decision *decision, es_format format, double us)
{
    if (decision->format == ES_FORMAT_NONE || us < decision->sparse_us) {
        decision->format = format;
        decision->sparse_us = us;
    }
}

static void decide(const cost *c, const es_conv *conv, const es_zeros *zeros, es_decision *decision)
{
    const double rows = (double)zeros->rows, columns = (double)zeros->columns;
    const double blocks[] = {(double)zeros->blocks16, (double)zeros->blocks8, (double)zeros->blocks4};
    *decision = (es_decision){.format = ES_FORMAT_NONE, .dense_us = dense_cycles(c, conv, rows, columns) / cycles_per_us};
    for (int which = 0; which < 3; ++which)
        if (c->block[which] > 0)
            keep_faster(decision, (es_format)(ES_BSR16 + which),
                        (bsr_cycles(c, conv, which, blocks[which], rows) + c->call) / cycles_per_us);
    if (zeros->nm4 && c->group > 0)
        keep_faster(decision, ES_NM4, (nm_cycles(c, conv, rows, columns) + c->call) / cycles_per_us);
    keep_faster(decision, ES_CSR, (csr_cycles(c, conv, zeros) + c->call) / cycles_per_us);
}

static double bsr_s8_cycles(const cost *c, const es_conv *conv, int which, double blocks, double rows)
{
    static const double heights[] = {16, 8, 4};
    const double pixels = (double)es_pixels(conv), height = heights[which];
    const double tiles = ceil_div(pixels, c->s8.tile[which]);
    const es_picture picture = es_picture_of(conv);
    const double multiply = blocks * (pixels * c->s8.block[which] + tiles * c->s8.block_visit) +
                            ceil_div(rows, height) * tiles * c->s8.row_visit;
    return larger(multiply, load_cycles(c, blocks * (height * ES_QUAD + sizeof(uint16_t)))) +
           (double)conv->batch * (double)picture.height * (double)picture.width * (double)conv->in_c * c->s8.convert;
}

static void decide_s8(const cost *c, const es_conv *conv, const es_zeros *zeros, es_decision *decision)
{
    const double rows = (double)zeros->rows, columns = (double)zeros->columns;
    const double blocks[] = {(double)zeros->blocks16, (double)zeros->blocks8, (double)zeros->blocks4};
    const double walked = ceil_div(conv->in_c, c->s8.tap) * c->s8.tap / conv->in_c;
    const double multiply = rows * (columns * walked / c->s8.dense + c->s8.output) * (double)es_pixels(conv);
    const double dense = larger(multiply, load_cycles(c, rows * columns));
    *decision = (es_decision){.format = ES_FORMAT_NONE, .dense_us = dense / cycles_per_us};
    for (int which = 0; which < 3; ++which)
        if (c->s8.block[which] > 0)
            keep_faster(decision, (es_format)(ES_BSR16X4 + which),
                        (bsr_s8_cycles(c, conv, which, blocks[which], rows) + c->call) / cycles_per_us);
}

const char *es_cost_target(size_t index)
{
    return index < COUNT ? costs[index].target : NULL;
}

static const cost *cost_of(const char *target)
{
    for (size_t i = 0; i < COUNT; ++i)
        if (strcmp(costs[i].target, target) == 0)
            return &costs[i];
    return NULL;
}

double es_crossing_us(const char *target, int threads)
{
    const cost *c = cost_of(target);
    return c == NULL ? 0 : (c->call + (threads > 1 ? c->wake : 0)) / 2 / cycles_per_us;
}

double es_depthwise_gain_us(const char *target, es_type type, const es_conv *conv)
{
    const cost *c = cost_of(target);
    if (c == NULL)
        return 0;
    const double outputs = (double)es_pixels(conv) * conv->out_c;
    if (type == ES_INT8)
        return outputs * c->s8.depthwise_gain / cycles_per_us;
    /* With a stride there is little to share between outputs. */
    return conv->stride_h > 1 ? 0 : outputs * conv->k_h * conv->k_w / c->lanes * c->depthwise_gain / cycles_per_us;
}

double es_xnnpack_sparse_us(const char *target, const es_conv *conv, const es_zeros *zeros)
{
    const cost *c = cost_of(target);
    if (c == NULL || c->xnnpack_value == 0 || !es_pointwise(conv))
        return c == NULL ? INFINITY : dense_cycles(c, conv, (double)zeros->rows, (double)zeros->columns) / cycles_per_us;
    /* XNNPACK packs blocks of four outputs where at least 90 % of what they hold is not zero. */
    const double nonzeros = (double)zeros->nonzeros, blocks = (double)zeros->blocks4;
    const double vectors = ceil_div((double)es_pixels(conv), c->lanes);
    const bool blocked = blocks > 0 && nonzeros >= 0.9 * 4 * blocks;
    return nonzeros * vectors * (blocked ? c->xnnpack_block_value : c->xnnpack_value) / cycles_per_us;
}

es_status es_decide_for(const char *target, const es_conv *conv, const es_zeros *zeros, es_decision *decision)
{
    const cost *c = cost_of(target);
    if (c == NULL)
        return ES_UNKNOWN_ISA;
    (zeros->type == ES_INT8 ? decide_s8 : decide)(c, conv, zeros, decision);
    return ES_OK;
}

es_status es_decide(const es_isa *isa, const es_conv *conv, const es_zeros *zeros, es_decision *decision)
{
    return es_decide_for(isa->target, conv, zeros, decision);
}
