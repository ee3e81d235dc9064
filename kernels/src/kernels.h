/* The micro-kernels and the tables that hold them: one per type and instruction set, each in a file of its own.
 *
 * Names are a grammar: es_<type>_<format>_ukernel_<tile>__<isa>. The tile of bsr and nm is <segments>x<pixels>, of csr
 * <rows>x<pixels>.
 */
#ifndef ES_KERNELS_H
#define ES_KERNELS_H

#include <math.h>
#include <string.h>

#include "edgesparse.h"

/* ---- int8 outputs ----------------------------------------------------------------------------------------------------
 * A sum times its channel's scale, clamped, rounded half to even, plus the zero point. The bounds are whole numbers. */

typedef struct es_s8_output {
    float low, high;                /* less the zero point */
    int32_t zero_point;
} es_s8_output;

/* A scale as TFLite's own kernels have it: multiplier / 2^31 * 2^shift. */
typedef struct es_s8_factor {
    int32_t multiplier, shift;
} es_s8_factor;

/* ---- pixel tiles x block rows: bsr and nm ----------------------------------------------------------------------
 * A tile is `S` segments of `M` pixels. Pixel m of segment s reads at x + s * x_segment + m * x_pixel (in elements) and
 * writes at y + s * y_segment + m * y_pixel. A kernel walks the block rows [first, last): R output channels each. */

enum { ES_MAX_M = 12, ES_MAX_S = 3, ES_QUAD = 4 };  /* ES_QUAD: inputs of an int8 block */

typedef struct es_tile {
    const void *x;
    ptrdiff_t x_pixel, x_segment;
    void *y;
    ptrdiff_t y_pixel, y_segment;
    size_t first, last;             /* block rows */
    size_t rows;                    /* output channels: the last block row may be partial */
    const void *bias;               /* float or int32_t, padded to whole block rows */
    float low, high;                /* of float */
    const void *weights;            /* bsr: R x columns values per block; nm: 2 x R floats per group of four inputs */
    const uint32_t *row_start;      /* bsr: first block of a block row, one more at the end */
    const void *offsets;            /* bsr: of a block's first input from the pixel, uint16_t or uint32_t */
    const uint8_t *positions;       /* nm: 2 x R positions of 2 bits per group */
    const uint32_t *tap_offsets;    /* nm: of a tap's inputs from the pixel */
    size_t taps, groups_per_tap;    /* nm */
    const float *scale;             /* int8: of each output channel, padded as the bias */
    es_s8_output output;            /* of int8 */
    const es_s8_factor *factors;    /* int8, not NULL: instead of the scales */
} es_tile;

typedef void (*es_tile_kernel)(const es_tile *tile);

/* The last block row, if the output channels do not fill it: `whole` holds S x M pixels of `height` channels. */
void es_store_part(const es_tile *tile, size_t element, const void *whole, int segments, int pixels, size_t height,
                   size_t row);

/* int8: a block row of sums, S x M pixels of `height` channels, by factors. */
void es_store_fixed(const es_tile *tile, const int32_t *sums, int segments, int pixels, size_t height, size_t row);

typedef struct es_tile_kernels {
    es_tile_kernel of[ES_MAX_S][ES_MAX_M];      /* [S - 1][M - 1]; what is NULL does not exist */
} es_tile_kernels;

/* ---- single values x vectors of pixels: csr ---------------------------------------------------------------------
 * Inputs are transposed panels, channel-major: `width` pixels per input, width = vectors x the vector's length. Rows
 * come in pairs of equal length (the packer sorts rows by their number of values and pads by at most a few zeros), so
 * that two rows' sums are in flight and the loop's length is easily predicted. */

typedef struct es_csr_panel {
    size_t pairs;
    const uint16_t *pair_length;    /* values per row of the pair */
    const uint32_t *pair_rows;      /* two rows per pair; an odd one out is paired with the row behind the last */
    const uint16_t *indices;        /* value j of the first row, of the second row, j + 1 ...: input within the panel */
    const float *values;            /* the same order */
} es_csr_panel;

/* sums: (rows + 1) x width; `accumulate` false: overwritten. */
typedef void (*es_csr_kernel)(const es_csr_panel *panel, const float *x, float *sums, bool accumulate);

/* panel[c * width + p] = pixel[p][c] for c < channels, p < width. */
typedef void (*es_transpose_in)(const float *const *pixel, size_t width, size_t channels, float *panel);

/* y[p * rows + r] = clamp(sums[r * width + p] + bias[r]) for p < pixels. */
typedef void (*es_transpose_out)(const float *sums, size_t width, size_t pixels, size_t rows, const float *bias,
                                 float low, float high, float *y);

enum { ES_MAX_VECTORS = 8, ES_CSR_PAIR = 2 };

/* ---- single values x one pixel ---------------------------------------------------------------------------------- */

typedef struct es_csr_rows {
    size_t first, last;
    const uint32_t *row_start;
    const void *indices;            /* uint16_t or uint32_t */
    const float *values;
    const float *bias;
    float low, high;
} es_csr_rows;

typedef void (*es_csr_vector_kernel)(const es_csr_rows *rows, const float *x, float *y);

/* ---- dense neighbours --------------------------------------------------------------------------------------------
 * One or two rows of output pixels of a depthwise convolution, all of which see the same taps; x is what the first of them
 * reads first. Taps of one row lie a pixel apart. */

typedef struct es_depthwise_tile {
    const float *x;
    ptrdiff_t x_row, x_step;        /* floats to the row below, to the next output pixel's input */
    size_t rows, columns;           /* taps */
    const float *weights;
    size_t w_tap, w_row;            /* floats to the next tap, to the next row of taps */
    size_t channels;                /* a multiple of four */
    const float *bias;
    float low, high;
    float *y;
    size_t y_row;                   /* floats to the second row of pixels */
    size_t pixels;
} es_depthwise_tile;

/* Computes the channels from `first` on. */
typedef void (*es_depthwise_kernel)(const es_depthwise_tile *tile, size_t first);

/* ---- the table --------------------------------------------------------------------------------------------------- */

enum { ES_NARROW, ES_WIDE, ES_INDEX_WIDTHS };   /* 16- and 32-bit offsets */

typedef struct es_f32_kernels {
    const es_tile_kernels *bsr16[ES_INDEX_WIDTHS], *bsr8[ES_INDEX_WIDTHS], *bsr4[ES_INDEX_WIDTHS];   /* NULL: as there */
    const es_tile_kernels *nm;      /* NULL: no such kernel */
    size_t nm_rows;                 /* R of nm: the vector's length */
    size_t tile_bytes;              /* of input that a bsr or nm tile may read: about the L1 data cache's size */
    size_t least_pixels;            /* of a tile: fewer sums than this do not hide an FMA's latency */
    size_t csr_vector;              /* pixels of one vector */
    size_t csr_panel;               /* inputs of one panel: panel x widest tile stays in the L1 cache */
    es_csr_kernel csr[ES_MAX_VECTORS];
    es_transpose_in transpose_in;
    es_transpose_out transpose_out;
    es_csr_vector_kernel csr_vector_kernel[ES_INDEX_WIDTHS];
    es_depthwise_kernel depthwise;              /* any taps, one row of pixels */
    es_depthwise_kernel depthwise3x3[2];        /* stride 1 and 2: two rows of at least two pixels */
    void (*add)(const float *a, const float *b, float *y, size_t count, float low, float high);
    void (*mean)(const float *x, float *y, size_t pixels, size_t channels);
} es_f32_kernels;

/* How the int8 kernels of an instruction set want their input. */
typedef enum es_s8_input {
    ES_S8_PLAIN,                    /* as it is */
    ES_S8_UNSIGNED,                 /* uint8_t: plus 128 */
    ES_S8_WIDE,                     /* int16_t: less its zero point */
    ES_S8_INPUTS
} es_s8_input;

/* A row of output pixels of a depthwise 3x3 convolution over groups of channels, in a padded picture. The three taps of a
 * column are interleaved, channel by channel, for a dot product: bytes in fours (the fourth is zero), 16-bit values in pairs.
 * Sums lie in `quads` vectors of L x 4: vector q holds, of each run of 4 x quads channels, the q-th four. */

typedef struct es_depthwise_s8_row {
    const void *x;
    ptrdiff_t x_row, x_pixel;       /* elements */
    const void *weights;            /* group by group, see depthwise_s8.c */
    const int32_t *bias;            /* in the order of the sums */
    const float *scale;
    es_s8_output output;
    int8_t *y;
    ptrdiff_t y_pixel;
    size_t pixels, groups;
    int stride;
} es_depthwise_s8_row;

typedef void (*es_depthwise_s8_kernel)(const es_depthwise_s8_row *row);

enum { ES_DW_SIDE = 3, ES_DW_STRIDES = 2, ES_DW_WIDTHS = 3 };

typedef struct es_depthwise_s8_kernels {
    size_t channels;                /* of a group */
    size_t quads;                   /* 4 if bytes are interleaved, 2 if 16-bit values are */
    size_t least;                   /* pixels of a row for `wide` */
    es_depthwise_s8_kernel wide[ES_DW_STRIDES], narrow;         /* stride 1 and 2; any */
} es_depthwise_s8_kernels;

/* y = clamp((bias + a * a_multiplier + b * b_multiplier) >> shift) + zero_point */
typedef struct es_sum_s8 {
    int32_t bias, a_multiplier, b_multiplier;
    uint32_t shift;
    int32_t low, high;              /* less the zero point */
    int32_t zero_point;
} es_sum_s8;

typedef struct es_s8_kernels {
    es_s8_input input;
    const es_depthwise_s8_kernels *depthwise[ES_DW_WIDTHS];     /* widest first; the rest NULL */
    void (*add)(const es_sum_s8 *sum, const int8_t *a, const int8_t *b, int8_t *y, size_t count);
    /* `count` values from int8 to what the kernels want. */
    void (*convert)(const int8_t *x, void *to, size_t count, int32_t zero_point);
    const es_tile_kernels *bsr16x4, *bsr8x4, *bsr4x4;          /* with 32-bit offsets; NULL: a wider block is as fast */
    size_t vector_rows;             /* output channels of one vector of sums: weights are stored vector by vector */
    bool pairs;                     /* a vector's weights are stored as two halves: inputs 0 and 1, then 2 and 3 */
    size_t tile_bytes, least_pixels;            /* as those of float */
} es_s8_kernels;

struct es_isa {
    const char *name;
    const char *target;             /* of the cost model: "x86_64-avx2" */
    bool (*usable)(void);
    const es_f32_kernels *f32;
    const es_s8_kernels *s8;
};

static inline size_t es_block_rows(const struct es_isa *isa, es_format format)
{
    switch (format) {
    case ES_BSR16: case ES_BSR16X4: return 16;
    case ES_BSR8: case ES_BSR8X4: return 8;
    case ES_BSR4: case ES_BSR4X4: return 4;
    case ES_NM4: return isa->f32->nm_rows;
    default: return 1;
    }
}

static inline const es_tile_kernels *es_tile_table(const struct es_isa *isa, es_format format, int index_width)
{
    switch (format) {
    case ES_BSR16: return isa->f32->bsr16[index_width];
    case ES_BSR8: return isa->f32->bsr8[index_width];
    case ES_BSR4: return isa->f32->bsr4[index_width];
    case ES_BSR16X4: return isa->s8->bsr16x4;
    case ES_BSR8X4: return isa->s8->bsr8x4;
    case ES_BSR4X4: return isa->s8->bsr4x4;
    default: return isa->f32->nm;
    }
}

#if defined(__x86_64__)
extern const es_f32_kernels es_f32_avx512, es_f32_avx2;
extern const es_s8_kernels es_s8_avx512vnni, es_s8_avxvnni, es_s8_avx2;
#elif defined(__aarch64__)
extern const es_f32_kernels es_f32_neon;
extern const es_s8_kernels es_s8_neondot, es_s8_neon;
#elif defined(__arm__)
extern const es_f32_kernels es_f32_neon;
extern const es_s8_kernels es_s8_neon;
#endif
extern const es_f32_kernels es_f32_scalar;
extern const es_s8_kernels es_s8_scalar;

#if defined(__clang__)
#define ES_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ES_UNROLL _Pragma("GCC unroll 64")
#endif
#define ES_INLINE static inline __attribute__((always_inline))

#endif
