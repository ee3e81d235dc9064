/* Bytes -> a small model with any tensors, nodes, parameters and sparsity -> the delegate, from its creation to an inference
 * on it. Sizes that a machine could not hold are given as they come; what would only take long is not run. */
#include <math.h>

#include "../tests/fake_tflite.h"
#include "sparsity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* A constant that claims gigabytes meets an exhausted memory, as it would on a board. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=64";
}

enum { MOST_DATA = 4096, MOST_WORK = 1 << 22 };

static void ignore(const char *sentence)
{
    if (strlen(sentence) == 0)
        abort();
}

static tfl_delegate *make_delegate(bytes *b)
{
    static const char *const keys[] = {"claim", "isa", "threads", "plan", "nonsense", "rounding", "claim", "claim"};
    static const char *const values[] = {"all",  "auto", "none",          "scalar",      "avx2", "2",
                                         "1",    "",     "x86_64-avx512", "armv7l-neon", "-3",   "99999999999999999999",
                                         "neon", "aarch64-neon", "fixed", "float"};
    const char *key[3], *value[3];
    const size_t count = take_below(b, 4);
    for (size_t i = 0; i < count; ++i) {
        key[i] = keys[take_below(b, sizeof keys / sizeof *keys)];
        value[i] = values[take_below(b, sizeof values / sizeof *values)];
    }
    return tflite_plugin_create_delegate(key, value, count, ignore);
}

/* Scales per tensor or channel, zero points, of any number and size. */
static void take_quantization(fake_model *model, int tensor, bytes *b)
{
    static const float scales[] = {0.02f, 1.0f, 0.0f, -1.0f, 1e-30f, 1e30f, INFINITY, NAN};
    float scale[32];
    int zero[32];
    const int scale_count = (int)take_below(b, 33);
    for (int i = 0; i < scale_count; ++i)
        scale[i] = scales[take_below(b, sizeof scales / sizeof *scales)];
    const int zero_count = (int)take_below(b, 33);
    for (int i = 0; i < zero_count; ++i)
        zero[i] = take_number(b);
    fake_quantization(model, tensor, scale, scale_count, zero, zero_count, (int)take_below(b, 5));
}

static void make_tensor(fake_model *model, bytes *b)
{
    static const int types[] = {TFL_FLOAT32, TFL_FLOAT32, TFL_FLOAT32, TFL_FLOAT16, TFL_INT32, TFL_INT8, 40};
    static const int allocations[] = {TFL_MMAP_RO, 2, TFL_MMAP_RO, 2, TFL_DYNAMIC, 3};
    int32_t dims[10];
    const int type = types[take_below(b, sizeof types / sizeof *types)];
    const int allocation = allocations[take_below(b, sizeof allocations / sizeof *allocations)];
    const size_t rank = take_numbers(b, dims, 9);
    const int tensor = fake_tensor(model, type, allocation, (int)rank, dims);
    if (tensor < 0)
        return;
    const size_t extra = take_below(b, 8);
    if (extra == 7) {
        free(model->tensors[tensor].dims);
        model->tensors[tensor].dims = NULL;
    }
    if (extra == 6)
        model->tensors[tensor].name = NULL;
    if (type == TFL_INT8 && extra != 5)
        take_quantization(model, tensor, b);
    if (allocation != TFL_MMAP_RO)
        return;
    if (extra >= 3 && extra <= 5) {
        fuzz_sparsity s;
        take_sparsity(b, &s);
        fake_sparsity(model, tensor, &s.sparsity);
        free_sparsity(&s);
    }
    /* As many bytes as the shape says, or any number. */
    size_t size = type == TFL_INT8 ? 1 : type == TFL_FLOAT16 ? 2 : 4;
    const int32_t lie = take_number(b);
    if (lie == 0)
        for (size_t d = 0; d < rank; ++d)
            size = dims[d] > 0 && size < MOST_DATA ? size * (size_t)dims[d] : size < MOST_DATA ? 0 : size;
    else
        size = (size_t)lie;
    if (size > MOST_DATA)
        size = MOST_DATA;
    static const uint8_t pattern[] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0};
    uint8_t values[MOST_DATA + 16];
    const uint8_t density = take_byte(b);
    for (size_t i = 0; i < size; i += 4) {
        const int32_t number = type == TFL_INT32 && i < 64 ? take_number(b) : 0;    /* paddings, axes */
        memcpy(values + i, pattern + (i * 7 % 251 < density ? i % 16 : 4), 4);
        if (type == TFL_INT32)
            memcpy(values + i, &number, 4);
    }
    if (type == TFL_INT8 && density > 0)
        for (size_t i = 0; i < size; ++i)
            values[i] = i / 4 * 7 % 251 < density ? (uint8_t)(i * 37 % 255 - (density < 250 ? 127 : 128)) : 0;
    fake_data(model, tensor, values, size);
}

static int take_index(const fake_model *model, bytes *b)
{
    const int32_t number = take_number(b);
    return number >= 0 && number < 250 ? number % ((int)model->context.tensors_size + 1) - (number >= 200) : number;
}

static void make_node(fake_model *model, bytes *b)
{
    static const int codes[] = {TFL_CONV_2D, TFL_FULLY_CONNECTED, TFL_DENSIFY,           TFL_DEQUANTIZE, TFL_CONV_2D,
                                TFL_RELU,    TFL_PAD,             TFL_DEPTHWISE_CONV_2D, TFL_MEAN,       TFL_ADD, -5, 9999};
    const int code = codes[take_below(b, sizeof codes / sizeof *codes)];
    int inputs[4], params[16] = {0};
    const size_t input_count = take_below(b, 5);
    for (size_t i = 0; i < input_count; ++i)
        inputs[i] = take_index(model, b);
    const int output = take_index(model, b);
    /* Padding, strides, activation, dilation; for a fully connected layer: activation, format, keep_num_dims. */
    const size_t param_count = take_below(b, 9);
    for (size_t i = 0; i < param_count; ++i)
        params[i] = take_number(b);
    if (code == TFL_MEAN)
        params[0] &= 1;                 /* a bool */
    tfl_fully_connected_params fc = {.activation = params[0], .weights_format = params[1], .keep_num_dims = params[2] & 1};
    const bool fully = code == TFL_FULLY_CONNECTED;
    const int node = fake_node_add(model, code, (int)input_count, inputs, output,
                                   param_count == 8 ? NULL : fully ? (void *)&fc : params,
                                   fully ? sizeof fc : sizeof params);
    const size_t extra = take_below(b, 16);
    if (node >= 0 && extra >= 14) {
        tfl_int_array **array = extra == 14 ? &model->nodes[node].node.inputs : &model->nodes[node].node.outputs;
        free(*array);
        *array = NULL;
    }
}

/* Multiply-adds, roughly, of the claimed operators; what the graph's tensors make of them. */
static bool quick(const fake_model *model)
{
    double work = 0;
    for (size_t n = 0; n < model->node_count; ++n) {
        const tfl_node *node = &model->nodes[n].node;
        if (model->nodes[n].registration.custom_name != NULL)
            continue;                   /* an island: its operators were counted one by one */
        double product = 1;
        for (int i = 0; node->inputs != NULL && i < node->inputs->size; ++i) {
            const int t = node->inputs->data[i];
            const tfl_int_array *dims = t >= 0 && (size_t)t < model->context.tensors_size ? model->tensors[t].dims : NULL;
            for (int d = 0; dims != NULL && d < dims->size; ++d)
                product *= dims->data[d] > 1 ? dims->data[d] : 1;
        }
        work += product;
    }
    return work < MOST_WORK;
}

/* The data of `tensor` may be gone: an interpreter would have given it memory. */
static void fill_inputs(fake_model *model)
{
    for (size_t i = 0; i < model->context.tensors_size; ++i) {
        tfl_tensor *t = &model->tensors[i];
        if (t->allocation_type != TFL_MMAP_RO && t->data != NULL)
            memset(t->data, 0x3f, t->bytes);
    }
}

/* TFLite checks a model's indices itself before any delegate sees them; some of those that it does not are kept. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bytes b = {data, size};
    tfl_delegate *delegate = make_delegate(&b);
    if (delegate == NULL)
        return 0;
    fake_model *model = fake_new();
    static const int threads[] = {1, -1, 2, 0};
    model->context.recommended_num_threads = threads[take_below(&b, 4)];
    for (size_t n = take_below(&b, 20); n > 0; --n)
        make_tensor(model, &b);
    for (size_t n = take_below(&b, 12); n > 0; --n)
        make_node(model, &b);
    model->output = take_index(model, &b);
    model->islands_only = true;
    if (fake_apply(model, delegate) == TFL_OK && fake_allocate(model) == TFL_OK && quick(model)) {
        fill_inputs(model);
        fake_invoke(model);
        /* Another input size, as a user may ask for. */
        if (model->context.tensors_size > 0 && model->tensors[0].allocation_type != TFL_MMAP_RO &&
            model->tensors[0].dims != NULL && model->tensors[0].dims->size > 0) {
            const tfl_int_array *old = model->tensors[0].dims;
            tfl_int_array *grown = fake_array(old->size, old->data);
            grown->data[take_below(&b, (size_t)old->size)] = take_number(&b);
            model->context.ResizeTensor(&model->context, &model->tensors[0], grown);
            if (fake_allocate(model) == TFL_OK && quick(model)) {
                fill_inputs(model);
                fake_invoke(model);
            }
        }
    }
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    return 0;
}
