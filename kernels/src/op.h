/* What es_op holds, for the files that pack and run it. */
#ifndef ES_OP_H
#define ES_OP_H

#include "kernels.h"

enum { ES_ALIGNMENT = 64 };

/* Packed weights: which members are set depends on the format. All are allocated with es_allocate. */
typedef struct es_bsr_weights {
    uint32_t *row_start;        /* block rows + 1 */
    void *offsets;              /* uint16_t or uint32_t per block */
    int index_width;            /* ES_NARROW, ES_WIDE */
    void *values;               /* float or int8_t, block by block */
    size_t blocks;
} es_bsr_weights;

typedef struct es_nm_weights {
    float *values;
    uint8_t *positions;
    uint32_t *tap_offsets;
    size_t taps, groups_per_tap;
} es_nm_weights;

typedef struct es_csr_weights {
    size_t panel_count;
    es_csr_panel *panels;       /* their arrays lie in the four below */
    uint32_t *panel_start;      /* first column of each panel; one more at the end */
    uint16_t *pair_length;
    uint32_t *pair_rows;
    uint16_t *indices;
    float *values;
} es_csr_weights;

typedef struct es_vector_weights {
    uint32_t *row_start;
    void *indices;
    int index_width;
    float *values;
} es_vector_weights;

struct es_op {
    const es_isa *isa;
    es_format format;
    bool vector;                /* csr: one pixel at a time */
    bool depthwise;             /* int8; the format is ES_FORMAT_NONE */
    es_conv conv;
    size_t rows, columns;       /* of the weights */
    size_t block_height;        /* R; 1 for csr */
    size_t block_rows;
    size_t unit;                /* consecutive inputs of a block: 1, of int8 4 */
    size_t channels;            /* of a pixel of the picture that tiles read: in_c, of int8 a multiple of four */
    size_t x_bytes, y_bytes;    /* of one input as tiles read it, of one output */
    void *bias;                 /* float or int32_t, padded to whole block rows */
    float *scale;               /* int8: of sums to outputs, padded as the bias; NULL: the operator is float */
    es_s8_factor *factors;      /* int8: NULL unless sums are scaled in whole numbers; padded as the bias */
    float output_scale;         /* int8 */
    int32_t input_zero, output_zero;
    void *taps;                 /* depthwise: its weights, int8_t or int16_t */
    float *zeros;               /* one pixel outside of the picture: in_c zeros */
    size_t packed_bytes;
    char kernel[64];
    es_bsr_weights bsr;
    es_nm_weights nm;
    es_csr_weights csr;
    es_vector_weights csr_vector;
};

/* 64-byte aligned, counted in `bytes`; NULL: exhausted. */
void *es_allocate(size_t bytes, size_t *total);

/* The picture that tiles read: padded if the convolution looks beyond the border, the input as it is otherwise. */
typedef struct es_picture {
    bool copied;
    size_t height, width;       /* of one picture, padding included */
} es_picture;

es_picture es_picture_of(const es_conv *conv);
/* Does a run make a copy of its input, padded or converted? */
bool es_copies_picture(const es_op *op);

/* Are all sizes positive, and small enough to be multiplied? */
es_status es_conv_check(const es_conv *conv);

es_status es_pack_bsr(es_op *op, const void *weights);
es_status es_bsr_set_width(es_op *op, size_t old_width, size_t new_width);
es_status es_pack_nm(es_op *op, const float *weights);
void es_nm_set_width(es_op *op, size_t width);
es_status es_pack_csr(es_op *op, const float *weights);
es_status es_pack_csr_vector(es_op *op, const float *weights);

size_t es_tiles_scratch(const es_op *op);
void es_run_tiles(const es_op *op, es_pool *pool, const void *input, void *output, void *scratch);
es_status es_pack_depthwise_s8(es_op *op, const es_quantization *q, const int8_t *weights, const int32_t *bias);
void es_name_depthwise_s8(es_op *op);
void es_run_depthwise_s8(const es_op *op, es_pool *pool, const int8_t *input, int8_t *output, void *scratch);
/* What outputs are clamped to; of float, nothing but that. */
es_s8_output es_op_bounds(const es_op *op);
/* int8: the factor of an output channel's sums, and what its input's values have too much when they meet the weights. */
float es_s8_scale(const es_quantization *q, size_t channel);
int32_t es_s8_added(const es_op *op);
/* The picture of an int8 operator: padded with its zero point, as its kernels want it. */
void es_convert_picture(const es_op *op, es_pool *pool, const int8_t *input, void *picture);
size_t es_csr_scratch(const es_op *op, size_t threads);
void es_run_csr(const es_op *op, es_pool *pool, const float *input, float *output, void *scratch);
void es_run_csr_vector(const es_op *op, es_pool *pool, const float *input, float *output);

/* The tile that a run uses: S segments of M pixels (bsr, nm), or the vectors of pixels (csr). */
void es_tile_of(const es_op *op, int *segments, int *pixels);
size_t es_csr_vectors_of(const es_op *op, size_t threads);

static inline size_t es_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t es_ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }
static inline size_t es_round_up(size_t a, size_t b) { return es_ceil_div(a, b) * b; }
static inline size_t es_pixels(const es_conv *conv)
{
    return (size_t)conv->batch * (size_t)conv->out_h * (size_t)conv->out_w;
}
/* The output's pixels read the input's, one for one, in order. */
static inline bool es_pointwise(const es_conv *conv)
{
    return conv->k_h == 1 && conv->k_w == 1 && conv->stride_h == 1 && conv->stride_w == 1 && conv->pad_top == 0 &&
           conv->pad_left == 0;
}

#endif
