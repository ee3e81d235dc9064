/* A node of the graph as the kernels see it. */
#ifndef ES_OPERATOR_H
#define ES_OPERATOR_H

#include "graph.h"

typedef enum es_kind {
    ES_KIND_CONV,
    ES_KIND_FULLY_CONNECTED,
    /* Dense neighbours of sparse ones. */
    ES_KIND_DEPTHWISE,
    ES_KIND_ADD,
    ES_KIND_MEAN,
    ES_KIND_PAD
} es_kind;

/* With what it takes to follow the interpreter when its input is resized. */
typedef struct es_operator {
    es_kind kind;
    bool keep_dims;                     /* of a fully connected operator and a mean */
    enum { ES_PADS_SAME, ES_PADS_VALID, ES_PADS_GIVEN } padding;
    int32_t pad_bottom, pad_right;      /* ES_PADS_GIVEN, with conv.pad_top and conv.pad_left */
    int pad;                            /* place of the PAD whose input this operator reads instead of its output; -1: none */
    int inputs[2], output;              /* tensors; inputs[1]: -1 but for an addition */
    es_conv conv;                       /* an addition's input and output are pictures like any other's */
    es_type type;                       /* of input and output: float32 or int8 */
    es_quantization quantization;       /* int8; its weights' scales belong to the graph */
    es_add_s8_scales addition;          /* of an int8 addition, but for its bounds */
} es_operator;

typedef struct es_operator_constants {
    es_constant weights, bias;          /* count 0: none */
} es_operator_constants;

/* False: node number `place` of the plan is of no kind that the kernels know. */
bool es_operator_kind(const es_graph *graph, size_t place, es_kind *kind, const char **name);

/* NULL: the kernels can run node number `place`; otherwise why not. */
const char *es_operator_read(const es_graph *graph, size_t place, es_operator *op, es_operator_constants *constants);

/* Its PAD will run after all: the operator reads what that makes. */
void es_operator_detach_pad(es_operator *op, int padded);

/* The output's size from the input's, as it is now. */
es_status es_operator_shape(const es_operator *op, const tfl_int_array *input_dims, es_conv *conv);
size_t es_operator_element(const es_operator *op);     /* bytes */
size_t es_operator_input_count(const es_conv *conv);
size_t es_operator_output_count(const es_conv *conv);

#endif
