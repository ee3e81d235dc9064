/* edgesparse: sparse convolutions and fully connected layers on CPUs.
 *
 * The way of the data:
 *   file's weights -> es_expand (sparse layouts) -> dense matrix -> es_count (where are the zeros?)
 *   -> es_decide (which format, does it pay?) -> es_op_create (packed weights) -> es_op_run (per inference)
 *
 * Activations are NHWC, float32 or int8. Weights come as a row-major matrix of out_channels x (k_h * k_w * in_channels), the
 * order of TFLite's CONV_2D and FULLY_CONNECTED. A fully connected layer is a 1x1 convolution over `batch` pixels.
 *
 * Nothing here prints, exits or aborts: a function that can fail returns an es_status, and es_status_message turns it
 * into a sentence.
 */
#ifndef EDGESPARSE_H
#define EDGESPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ES_VERSION "0.1.0"   /* the project's, as in pyproject.toml */

/* ---- status ---------------------------------------------------------------------------------------------------- */

typedef enum es_status {
    ES_OK = 0,
    ES_OUT_OF_MEMORY,
    ES_UNKNOWN_ISA,
    ES_UNUSABLE_ISA,
    ES_BAD_SHAPE,
    ES_TOO_LARGE,
    ES_BAD_RANK,
    ES_BAD_TRAVERSAL,
    ES_BAD_BLOCK_MAP,
    ES_BAD_DIMENSION,
    ES_BAD_SEGMENTS,
    ES_BAD_INDICES,
    ES_BAD_VALUE_COUNT,
    ES_NO_KERNEL,
    ES_BAD_QUANTIZATION,
    ES_THREADS,
    ES_STATUS_COUNT
} es_status;

/* One sentence, static, never NULL. */
const char *es_status_message(es_status status);

/* ---- instruction sets ------------------------------------------------------------------------------------------ */

typedef struct es_isa es_isa;

/* The instruction sets compiled into this library, best first; `count` receives how many. */
const es_isa *const *es_isa_list(size_t *count);
const char *es_isa_name(const es_isa *isa);
const char *es_isa_target(const es_isa *isa);   /* of the cost model: "x86_64-avx2" */
bool es_isa_usable(const es_isa *isa);

/* `name` NULL or "": the best one that this CPU has. Otherwise the named one, or ES_UNKNOWN_ISA, ES_UNUSABLE_ISA. */
es_status es_isa_select(const char *name, const es_isa **isa);

/* ---- weights as a file has them -------------------------------------------------------------------------------- */

enum { ES_MAX_RANK = 8 };   /* dimensions of a sparse tensor, block dimensions included */

typedef struct es_array {   /* a length and its int32 values, as TFLite's TfLiteIntArray */
    size_t size;
    const int32_t *data;    /* may be NULL if size is 0 */
} es_array;

typedef struct es_dimension {
    bool csr;               /* false: dense, `dense_size` entries; true: compressed, segments and indices */
    int32_t dense_size;
    es_array segments;
    es_array indices;
} es_dimension;

typedef struct es_sparsity { /* TFLite's SparsityParameters: any traversal order, any block map */
    es_array traversal_order;
    es_array block_map;
    const es_dimension *dimensions;
    size_t dimension_count;
} es_sparsity;

typedef enum es_type { ES_FLOAT32, ES_FLOAT16, ES_INT8, ES_INT32 } es_type;

/* Writes the dense, row-major tensor of `shape` (rank entries) to `dense`, which holds `dense_count` floats, from the
 * `value_count` stored values of `type`. Every array is checked before it is used. `sparsity` NULL: the values are
 * already dense. Floating-point types only. */
es_status es_expand(const es_sparsity *sparsity, const int32_t *shape, size_t rank, es_type type, const void *values,
                    size_t value_count, float *dense, size_t dense_count);

/* ---- one operator ---------------------------------------------------------------------------------------------- */

typedef struct es_conv {
    int32_t batch, in_h, in_w, in_c;
    int32_t out_h, out_w, out_c;
    int32_t k_h, k_w, stride_h, stride_w;
    int32_t pad_top, pad_left;
    float low, high;        /* fused activation: clamp; -INFINITY, INFINITY for none */
} es_conv;

/* The two paddings of TFLite, the output's size and the padding in front from the input's. */
es_status es_conv_same(es_conv *conv);
es_status es_conv_valid(es_conv *conv);

typedef enum es_format {
    ES_BSR16,               /* blocks of 16 consecutive output channels x 1 input */
    ES_BSR8,
    ES_BSR4,
    ES_NM4,                 /* at most two non-zeros in four consecutive inputs, 2-bit positions */
    ES_CSR,                 /* single values, 16-bit indices */
    ES_FLOAT_FORMATS,
    ES_BSR16X4 = ES_FLOAT_FORMATS,  /* int8: blocks of 16 consecutive output channels x 4 consecutive inputs of one tap */
    ES_BSR8X4,
    ES_BSR4X4,
    ES_FORMAT_COUNT,
    ES_FORMAT_NONE = ES_FORMAT_COUNT
} es_format;

const char *es_format_name(es_format format);

typedef struct es_zeros {   /* what a matrix holds; `blocks` are those with at least one non-zero */
    es_type type;           /* float32 or int8: its blocks are one input wide, or four */
    size_t rows, columns, nonzeros;
    size_t blocks16, blocks8, blocks4;
    bool nm4;               /* at most two of each four consecutive inputs, inputs a multiple of four */
    bool lowest;            /* int8: a weight is -128, which TFLite's weights are not */
} es_zeros;

/* `weights`: rows x columns; `group`: inputs per tap (the four consecutive inputs of N:M stay within a tap). */
void es_count(const float *weights, size_t rows, size_t columns, size_t group, es_zeros *zeros);
void es_count_s8(const int8_t *weights, size_t rows, size_t columns, size_t group, es_zeros *zeros);
static inline double es_density(const es_zeros *zeros)
{
    return zeros->rows && zeros->columns ? (double)zeros->nonzeros / (double)zeros->rows / (double)zeros->columns : 0;
}

typedef struct es_decision {
    es_format format;       /* the fastest one that this instruction set has */
    double sparse_us;       /* predicted, one thread, at 3 GHz */
    double dense_us;        /* a dense kernel's, predicted the same way */
} es_decision;

/* The cost model (src/cost.c). `isa` may be one that this CPU cannot run. ES_NO_KERNEL: it has no kernel for it. */
es_status es_decide(const es_isa *isa, const es_conv *conv, const es_zeros *zeros, es_decision *decision);

/* The same for the model of an instruction set that is not compiled in: "x86_64-avx512", "aarch64-neon", ... */
const char *es_cost_target(size_t index);          /* the names that there are; NULL behind the last */
es_status es_decide_for(const char *target, const es_conv *conv, const es_zeros *zeros, es_decision *decision);

/* What XNNPACK's own sparse kernel would take for a 1x1 convolution of a cluster that it runs sparse, microseconds as
 * above; the dense kernel's for any other convolution. */
double es_xnnpack_sparse_us(const char *target, const es_conv *conv, const es_zeros *zeros);

/* What each edge between an operator of ours and one of TFLite's costs: bookkeeping, and with several threads waking those
 * of the other side. Microseconds as above. */
double es_crossing_us(const char *target, int threads);
/* What our kernel for a depthwise convolution gains over XNNPACK's; int8: 0 if there is none. */
double es_depthwise_gain_us(const char *target, es_type type, const es_conv *conv);

typedef struct es_op es_op;
typedef struct es_pool es_pool;

/* Packs `weights` (copied; may be freed afterwards) and `bias` (out_c floats or NULL). */
es_status es_op_create(const es_isa *isa, es_format format, const es_conv *conv, const float *weights,
                       const float *bias, es_op **op);

/* TFLite's quantisation: real = scale * (quantised - zero). Weights are symmetric, their zero is 0; they have one scale, or
 * one for each output channel; the bias has the product of input and weight scale. The activation's bounds in es_conv are
 * real numbers. Outputs are those of XNNPACK: sums scaled in float, clamped, rounded half to even. */
typedef struct es_quantization {
    float input_scale, output_scale;
    int32_t input_zero, output_zero;
    const float *weight_scales;
    size_t weight_scale_count;  /* 1 or out_c */
    bool fixed_point;           /* round as TFLite's own kernels do where XNNPACK does not run int8: whole numbers, twice */
} es_quantization;

/* The same for int8. ES_BAD_QUANTIZATION: a scale that is not a positive number, a zero beyond int8, a weight of -128. */
es_status es_op_create_s8(const es_isa *isa, es_format format, const es_conv *conv, const es_quantization *quantization,
                          const int8_t *weights, const int32_t *bias, es_op **op);
void es_op_destroy(es_op *op);
/* Another input size for the same weights. */
es_status es_op_reshape(es_op *op, const es_conv *conv);
const char *es_op_kernel(const es_op *op);      /* the micro-kernel's name */
es_format es_op_format(const es_op *op);
size_t es_op_packed_bytes(const es_op *op);
/* Bytes of scratch memory that a run with `threads` threads needs; 64-byte aligned memory is expected. */
size_t es_op_scratch_bytes(const es_op *op, size_t threads);
/* `input` NHWC, `output` NHWC, float or int8_t as the operator is, not overlapping; `pool` NULL: this thread alone. */
void es_op_run(const es_op *op, es_pool *pool, const void *input, void *output, void *scratch);

/* ---- dense neighbours ------------------------------------------------------------------------------------------
 * The dense operators that stand between sparse convolutions: taken with them where leaving the library for each and
 * coming back costs more than they do. */

typedef struct es_depthwise es_depthwise;

/* Channels of input and output are the same, and a multiple of four. */
bool es_depthwise_fits(const es_conv *conv);
/* `weights`: k_h x k_w x channels (copied), `bias` channels floats or NULL. ES_NO_KERNEL: it does not fit. */
es_status es_depthwise_create(const es_isa *isa, const es_conv *conv, const float *weights, const float *bias,
                              es_depthwise **depthwise);
void es_depthwise_destroy(es_depthwise *depthwise);
es_status es_depthwise_reshape(es_depthwise *depthwise, const es_conv *conv);
const char *es_depthwise_kernel_name(const es_depthwise *depthwise);
size_t es_depthwise_packed_bytes(const es_depthwise *depthwise);
void es_depthwise_run(const es_depthwise *depthwise, es_pool *pool, const float *input, float *output);

/* y = clamp(a + b), `count` floats each. */
void es_add(const es_isa *isa, es_pool *pool, const float *a, const float *b, float *y, size_t count, float low,
            float high);
/* y[image][channel] = the mean over the pixels of x[image][pixel][channel]. */
void es_mean(const es_isa *isa, es_pool *pool, const float *x, float *y, size_t images, size_t pixels, size_t channels);

/* int8 depthwise convolutions are operators like sparse ones: 3x3, stride 1 or 2; not on every instruction set. */
bool es_depthwise_s8_fits(const es_isa *isa, const es_conv *conv);
/* `weights`: 3 x 3 x channels, scales per channel or one for all. ES_NO_KERNEL: it does not fit, or is to round in whole
 * numbers. */
es_status es_op_create_depthwise_s8(const es_isa *isa, const es_conv *conv, const es_quantization *quantization,
                                    const int8_t *weights, const int32_t *bias, es_op **op);

/* y = a + b in TFLite's int8, as XNNPACK rounds it: whole-number multipliers of 21 bits. False: the scales are further apart
 * than such multipliers can tell. */
typedef struct es_add_s8_scales {
    float a_scale, b_scale, y_scale;
    int32_t a_zero, b_zero, y_zero;
    float low, high;            /* the activation's bounds, real numbers */
} es_add_s8_scales;
bool es_add_s8_fits(const es_add_s8_scales *scales);
void es_add_s8(const es_isa *isa, es_pool *pool, const es_add_s8_scales *scales, const int8_t *a, const int8_t *b, int8_t *y,
               size_t count);

typedef struct es_padding {
    size_t images, in_h, in_w, channels;
    size_t top, left, out_h, out_w;     /* out_w > left */
    bool bytes;                         /* int8 and not floats; */
    int8_t zero;                        /* then what the frame is filled with */
} es_padding;

/* Each picture of x in a frame of zeros, or cut off where the frame ends. */
void es_pad(es_pool *pool, const es_padding *frame, const void *x, void *y);

/* ---- threads --------------------------------------------------------------------------------------------------- */

/* `threads` includes the calling one; 1 makes a pool without threads. Workers sleep when idle. */
es_status es_pool_create(size_t threads, es_pool **pool);
void es_pool_destroy(es_pool *pool);
size_t es_pool_threads(const es_pool *pool);    /* of NULL: 1 */
/* Calls task(context, part, thread) once for each part < count, on all threads, and returns when all are done. `thread`, below
 * the number of threads, runs one part at a time. One caller at a time. */
typedef void (*es_task)(void *context, size_t part, size_t thread);
void es_pool_run(es_pool *pool, es_task task, void *context, size_t count);

#ifdef __cplusplus
}
#endif
#endif
