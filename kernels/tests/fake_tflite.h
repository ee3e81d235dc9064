/* As much of a TFLite interpreter as an external delegate sees: tensors, nodes, an execution plan, and what the context's
 * functions do. Everything lies in memory of exactly its size, so that a sanitizer sees a step beside it. */
#ifndef FAKE_TFLITE_H
#define FAKE_TFLITE_H

#include "edgesparse.h"
#include "tflite_abi.h"

/* The delegate's exports. */
tfl_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values, size_t count,
                                            void (*report_error)(const char *));
void tflite_plugin_destroy_delegate(tfl_delegate *delegate);

enum { FAKE_TENSORS = 64, FAKE_NODES = 32 };

typedef struct fake_node {
    tfl_node node;
    tfl_registration registration;
    tfl_delegate_params params;         /* of an island */
} fake_node;

typedef struct fake_model {
    tfl_context context;                /* first: the delegate gives it back */
    tfl_tensor tensors[FAKE_TENSORS];
    fake_node nodes[2 * FAKE_NODES];    /* islands are added behind the file's */
    size_t node_count;
    tfl_int_array *plan;
    int output;                         /* the model's own, -1: none */
    bool islands_only;
    char error[1024];                   /* the last one reported */
} fake_model;

tfl_int_array *fake_array(int size, const int *values);

fake_model *fake_new(void);
void fake_free(fake_model *model);

/* Each returns the new tensor's or node's number; -1: there is no more room. */
int fake_tensor(fake_model *model, int type, int allocation, int rank, const int *dims);
int fake_node_add(fake_model *model, int code, int input_count, const int *inputs, int output, const void *params,
                  size_t params_bytes);
void fake_data(fake_model *model, int tensor, const void *data, size_t bytes);
void fake_sparsity(fake_model *model, int tensor, const es_sparsity *sparsity);
void fake_quantization(fake_model *model, int tensor, const float *scales, int scale_count, const int *zeros, int zero_count,
                       int dimension);

/* The delegate's Prepare; then each island's prepare, and memory for all tensors that have a size and no data. */
tfl_status fake_apply(fake_model *model, tfl_delegate *delegate);
tfl_status fake_allocate(fake_model *model);
/* Runs islands, and unless islands_only is set, of TFLite's own operators RELU and PAD, whose tensors have to be right. */
tfl_status fake_invoke(fake_model *model);
size_t fake_islands(const fake_model *model);

#endif
