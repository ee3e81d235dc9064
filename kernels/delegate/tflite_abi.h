/* The part of TFLite's C ABI that an external delegate meets, declared here because no runtime's wheel ships its headers
 * and most hide every symbol: only structs and function pointers are used, nothing is linked. Field orders are those of
 * TFLite 2.14 to 2.21 and LiteRT 1.0 to 2.3. The sizes are asserted below, and tfl_abi_matches checks a running
 * interpreter before anything of it is believed. */
#ifndef ES_TFLITE_ABI_H
#define ES_TFLITE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tfl_status { TFL_OK = 0, TFL_ERROR = 1, TFL_DELEGATE_ERROR = 2 } tfl_status;

typedef struct tfl_int_array {
    int size;
    int data[];
} tfl_int_array;

enum tfl_type { TFL_FLOAT32 = 1, TFL_INT32 = 2, TFL_INT8 = 9, TFL_FLOAT16 = 10, TFL_TYPE_COUNT = 32 };
enum tfl_allocation { TFL_MMAP_RO = 1, TFL_DYNAMIC = 4, TFL_ALLOCATION_COUNT = 8 };
enum tfl_padding { TFL_SAME = 1, TFL_VALID = 2 };
enum tfl_builtin {
    TFL_ADD = 0,
    TFL_AVERAGE_POOL_2D = 1,
    TFL_CONV_2D = 3,
    TFL_DEPTHWISE_CONV_2D = 4,
    TFL_DEPTH_TO_SPACE = 5,
    TFL_DEQUANTIZE = 6,
    TFL_FULLY_CONNECTED = 9,
    TFL_LOGISTIC = 14,
    TFL_MUL = 18,
    TFL_RELU = 19,
    TFL_RELU_N1_TO_1 = 20,
    TFL_RELU6 = 21,
    TFL_RESIZE_BILINEAR = 23,
    TFL_TANH = 28,
    TFL_PAD = 34,
    TFL_MEAN = 40,
    TFL_LEAKY_RELU = 98,
    TFL_ABS = 101,
    TFL_HARD_SWISH = 117,
    TFL_DENSIFY = 124
};

typedef struct tfl_delegate tfl_delegate;

typedef struct tfl_dimension {
    int format;                         /* 0 dense, 1 compressed */
    int dense_size;
    tfl_int_array *array_segments;
    tfl_int_array *array_indices;
} tfl_dimension;

typedef struct tfl_sparsity {
    tfl_int_array *traversal_order;
    tfl_int_array *block_map;
    tfl_dimension *dim_metadata;
    int dim_metadata_size;
} tfl_sparsity;

typedef struct tfl_float_array {
    int size;
    float data[];
} tfl_float_array;

enum { TFL_AFFINE = 1 };

typedef struct tfl_affine_quantization {
    tfl_float_array *scale;
    tfl_int_array *zero_point;
    int32_t quantized_dimension;
} tfl_affine_quantization;

typedef struct tfl_tensor {
    int type;
    void *data;
    tfl_int_array *dims;
    struct { float scale; int32_t zero_point; } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    tfl_delegate *delegate;
    int buffer_handle;
    bool data_is_stale;
    bool is_variable;
    struct { int type; void *params; } quantization;
    tfl_sparsity *sparsity;
    const tfl_int_array *dims_signature;
} tfl_tensor;

typedef struct tfl_node {
    tfl_int_array *inputs, *outputs, *intermediates, *temporaries;
    void *user_data;
    void *builtin_data;
    const void *custom_initial_data;
    int custom_initial_data_size;
    tfl_delegate *delegate;
    bool might_have_side_effect;
} tfl_node;

typedef struct tfl_context tfl_context;

typedef struct tfl_registration {
    void *(*init)(tfl_context *context, const char *buffer, size_t length);
    void (*free)(tfl_context *context, void *buffer);
    tfl_status (*prepare)(tfl_context *context, tfl_node *node);
    tfl_status (*invoke)(tfl_context *context, tfl_node *node);
    const char *(*profiling_string)(const tfl_context *context, const tfl_node *node);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *async_kernel;
    uint64_t inplace_operator;
} tfl_registration;

struct tfl_context {
    size_t tensors_size;
    tfl_status (*GetExecutionPlan)(tfl_context *context, tfl_int_array **plan);
    tfl_tensor *tensors;
    void *impl;
    tfl_status (*ResizeTensor)(tfl_context *context, tfl_tensor *tensor, tfl_int_array *new_size); /* takes new_size */
    void (*ReportError)(tfl_context *context, const char *format, ...);
    tfl_status (*AddTensors)(tfl_context *context, int count, int *first_index);
    tfl_status (*GetNodeAndRegistration)(tfl_context *context, int index, tfl_node **node,
                                         tfl_registration **registration);
    tfl_status (*ReplaceNodeSubsetsWithDelegateKernels)(tfl_context *context, tfl_registration registration,
                                                        const tfl_int_array *nodes, tfl_delegate *delegate);
    int recommended_num_threads;
    void *other[15];                    /* not used here; `allow_fp32_relax_to_fp16` among them takes a pointer's room */
};

struct tfl_delegate {
    void *data;
    tfl_status (*Prepare)(tfl_context *context, tfl_delegate *delegate);
    void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
    int64_t flags;
    void *opaque_delegate_builder;
};

typedef struct tfl_delegate_params {
    tfl_delegate *delegate;
    tfl_int_array *nodes_to_replace, *input_tensors, *output_tensors;
} tfl_delegate_params;

typedef struct tfl_conv_params {
    int padding, stride_width, stride_height, activation, dilation_width, dilation_height;
} tfl_conv_params;

typedef struct tfl_depthwise_params {
    int padding, stride_width, stride_height, depth_multiplier, activation, dilation_width, dilation_height;
} tfl_depthwise_params;

typedef struct tfl_fully_connected_params {
    int activation, weights_format;
    bool keep_num_dims, asymmetric_quantize_inputs;
} tfl_fully_connected_params;

typedef struct tfl_add_params {
    int activation;
    bool pot_scale_int16;
} tfl_add_params;

typedef struct tfl_reducer_params {
    bool keep_dims;
} tfl_reducer_params;

#if UINTPTR_MAX == UINT64_MAX
#define TFL_ASSERT_SIZE(type, lp64, ilp32) _Static_assert(sizeof(type) == (lp64), #type " is not as TFLite has it")
_Static_assert(offsetof(tfl_tensor, sparsity) == 96, "tfl_tensor is not as TFLite has it");
_Static_assert(offsetof(tfl_context, recommended_num_threads) == 72, "tfl_context is not as TFLite has it");
#else
#define TFL_ASSERT_SIZE(type, lp64, ilp32) _Static_assert(sizeof(type) == (ilp32), #type " is not as TFLite has it")
#endif
TFL_ASSERT_SIZE(tfl_dimension, 24, 16);
TFL_ASSERT_SIZE(tfl_sparsity, 32, 16);
TFL_ASSERT_SIZE(tfl_tensor, 112, 64);
TFL_ASSERT_SIZE(tfl_node, 80, 40);
TFL_ASSERT_SIZE(tfl_registration, 88, 48);
TFL_ASSERT_SIZE(tfl_context, 200, 100);
TFL_ASSERT_SIZE(tfl_delegate, 56, 40);
TFL_ASSERT_SIZE(tfl_delegate_params, 32, 16);

#endif
