/* The interpreter's graph, read with suspicion: every index, length and pointer is checked before it is followed. */
#ifndef ES_GRAPH_H
#define ES_GRAPH_H

#include "edgesparse.h"
#include "tflite_abi.h"

typedef struct es_graph {
    tfl_context *context;
    size_t node_count;              /* of the execution plan */
    int *node_index;                /* TFLite's number of each */
    tfl_node **nodes;
    tfl_registration **registrations;
    size_t tensor_count;
    int *producer;                  /* of each tensor: place in the plan, -1: none */
    int *consumers;                 /* of each tensor: how many nodes of the plan read it */
} es_graph;

/* False: `sentence` says why this runtime or graph cannot be read. */
bool es_graph_read(tfl_context *context, es_graph *graph, char *sentence, size_t length);
void es_graph_free(es_graph *graph);

/* Tensor number `i` of a node's inputs or outputs; NULL if there is none. */
tfl_tensor *es_graph_tensor(const es_graph *graph, const tfl_int_array *indices, int i);

/* The place of the PAD that makes this tensor, if it pads pictures' heights and widths by constants, which `amounts`
 * receives: before and behind, for each of the four dimensions. -1: there is no such PAD. */
int es_graph_pad(const es_graph *graph, int tensor, int32_t amounts[8]);

/* A constant, whatever way it takes to its user: as it is, through DENSIFY, through DEQUANTIZE. */
typedef struct es_constant {
    const tfl_tensor *tensor;       /* as the file has it */
    es_type type;
    size_t count;                   /* elements, expanded */
    int through[2];                 /* the nodes on its way, in the plan; -1: none */
} es_constant;

/* NULL: found; otherwise why tensor number `index` is no constant that we can read. */
const char *es_graph_constant(const es_graph *graph, int index, es_constant *constant);

/* Room for one expanded constant after the other: fresh pages cost more than what is done with them. */
typedef struct es_buffer {
    float *data;
    size_t count;
} es_buffer;

/* The `count` floats of a constant of floating-point type, in `buffer`. */
es_status es_constant_expand(const es_constant *constant, es_buffer *buffer);

/* How a tensor with `channels` entries of `dimension` is quantised: one scale, or one for each; the zero point is the same for
 * all, within int8. False: it is not, or otherwise. */
bool es_tensor_quantization(const tfl_tensor *tensor, int dimension, size_t channels, const float **scales, size_t *count,
                            int32_t *zero);

/* Dims as they are, 0 if the tensor has none of its own or more than ES_MAX_RANK. */
size_t es_tensor_rank(const tfl_tensor *tensor);
bool es_dims_count(const tfl_int_array *dims, size_t *count);

#endif
