/* The delegate from its creation to an inference, on models of a fake interpreter: what it claims gives the reference's
 * outputs, what it must refuse it refuses with a sentence, and what fuzzing found stays found. */
#define _DEFAULT_SOURCE     /* setenv, mkstemp */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "encode.h"
#include "fake_tflite.h"
#include "support.h"

static random_state rng = {6};
static char last_error[512];

static void keep_error(const char *sentence)
{
    snprintf(last_error, sizeof last_error, "%s", sentence);
}

static tfl_delegate *create(const char *key, const char *value)
{
    last_error[0] = '\0';
    return tflite_plugin_create_delegate(&key, &value, key != NULL, keep_error);
}

/* ---- options ------------------------------------------------------------------------------------------------------- */

static void refused(const char *key, const char *value, const char *part)
{
    tfl_delegate *delegate = create(key, value);
    CHECK(delegate == NULL, "%s=%s was taken", key, value);
    CHECK(strstr(last_error, part) != NULL, "%s=%s: '%s' does not say '%s'", key, value, last_error, part);
    tflite_plugin_destroy_delegate(delegate);
}

static void test_options(void)
{
    static const char *const good[][2] = {{"claim", "auto"}, {"claim", "all"},  {"claim", "none"},      {"threads", "1"},
                                          {"threads", "4"},  {"isa", "scalar"}, {"plan", "armv7l-neon"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; ++i) {
        tfl_delegate *delegate = create(good[i][0], good[i][1]);
        CHECK(delegate != NULL, "%s=%s: %s", good[i][0], good[i][1], last_error);
        tflite_plugin_destroy_delegate(delegate);
    }
    refused("claim", "some", "auto, all or none");
    refused("threads", "0", "number");
    refused("threads", "4x", "number");
    refused("threads", "99999999999999999999999", "number");
    refused("isa", "z80", "scalar");
    refused("plan", "z80", "armv7l-neon");
    refused("report", "", "empty");
    refused("colour", "red", "claim");
    tflite_plugin_destroy_delegate(NULL);
    tfl_delegate *plain = tflite_plugin_create_delegate(NULL, NULL, 0, NULL);
    CHECK(plain != NULL);
    tflite_plugin_destroy_delegate(plain);

    setenv("EDGESPARSE_ISA", "z80", 1);
    CHECK(create(NULL, NULL) == NULL);
    CHECK(strstr(last_error, "EDGESPARSE_ISA") != NULL, "%s", last_error);
    setenv("EDGESPARSE_ISA", "scalar", 1);
    tfl_delegate *delegate = create(NULL, NULL);
    CHECK(delegate != NULL, "%s", last_error);
    tflite_plugin_destroy_delegate(delegate);
    unsetenv("EDGESPARSE_ISA");
}

/* ---- models -------------------------------------------------------------------------------------------------------- */

typedef enum storage { PLAIN, SPARSE, HALF, SPARSE_HALF } storage;

static uint16_t small_half(float value)
{
    int exponent;
    if (value == 0.0f)
        return 0;
    const float fraction = frexpf(fabsf(value), &exponent);
    return (uint16_t)((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | ((int)(fraction * 2048) - 1024));
}

/* Weights of a quarter's multiples, exact in half precision. */
static float *sparse_weights(size_t count, double density)
{
    float *weights = calloc(count + 1, sizeof *weights);
    for (size_t i = 0; i < count; ++i)
        if (random_unit(&rng) < density)
            weights[i] = (float)(1 + (int)random_below(&rng, 7)) * (random_below(&rng, 2) ? 0.25f : -0.25f);
    return weights;
}

/* The constant as a file has it, and the DENSIFY and DEQUANTIZE behind it; returns the tensor to read it from. */
static int add_constant(fake_model *model, storage kind, int rank, const int32_t *shape, const float *values)
{
    size_t count = 1;
    layout l = {.rank = (size_t)rank, .levels = (size_t)rank};
    for (int d = 0; d < rank; ++d) {
        count *= (size_t)shape[d];
        l.shape[d] = shape[d];
        l.traversal[d] = d;
        l.csr[d] = d == rank - 1;
    }
    const bool half = kind == HALF || kind == SPARSE_HALF, sparse = kind == SPARSE || kind == SPARSE_HALF;
    encoded e = {0};
    if (sparse)
        e = encode(&rng, &l, values);
    const float *stored = sparse ? e.values : values;
    const size_t stored_count = sparse ? e.value_count : count;
    uint16_t *halves = calloc(stored_count + 1, sizeof *halves);
    for (size_t i = 0; i < stored_count; ++i)
        halves[i] = small_half(stored[i]);
    int tensor = fake_tensor(model, half ? TFL_FLOAT16 : TFL_FLOAT32, TFL_MMAP_RO, rank, shape);
    fake_data(model, tensor, half ? (const void *)halves : stored, stored_count * (half ? 2 : 4));
    if (sparse) {
        e.sparsity.dimensions = e.dimensions;
        fake_sparsity(model, tensor, &e.sparsity);
        encoded_free(&e);
        const int dense = fake_tensor(model, half ? TFL_FLOAT16 : TFL_FLOAT32, 2, rank, shape);
        fake_node_add(model, TFL_DENSIFY, 1, &tensor, dense, NULL, 0);
        tensor = dense;
    }
    if (half) {
        const int single = fake_tensor(model, TFL_FLOAT32, 2, rank, shape);
        fake_node_add(model, TFL_DEQUANTIZE, 1, &tensor, single, NULL, 0);
        tensor = single;
    }
    free(halves);
    return tensor;
}

static float *random_floats(size_t count)
{
    float *values = calloc(count + 1, sizeof *values);
    for (size_t i = 0; i < count; ++i)
        values[i] = (float)((int)random_below(&rng, 33) - 16) / 8;
    return values;
}

static void check_tensor(const fake_model *model, int tensor, const expected *e, size_t count, const char *what)
{
    const tfl_tensor *t = &model->tensors[tensor];
    if (!CHECK(t->data != NULL && t->bytes == count * sizeof(float), "%s: %zu bytes, expected %zu floats", what, t->bytes, count))
        return;
    const size_t wrong = first_difference(t->data, e, count);
    CHECK(wrong == count, "%s: output %zu is %g, expected %g", what, wrong, (double)((const float *)t->data)[wrong % count],
          e[wrong % count].value);
}

/* picture -> CONV_2D 3x3 -> CONV_2D 1x1 [-> RELU -> CONV_2D 1x1]: inner tensors, islands, resizing. */
static void test_convolutions(storage kind, bool relu_between, const char *claim)
{
    fake_model *model = fake_new();
    const int picture[] = {1, 7, 6, 8}, filter_a[] = {20, 3, 3, 8}, filter_b[] = {12, 1, 1, 20}, bias_shape[] = {20};
    const int mid_shape[] = {1, 7, 6, 20}, out_shape[] = {1, 7, 6, 12};
    const int input = fake_tensor(model, TFL_FLOAT32, 2, 4, picture);
    float *wa = sparse_weights(20 * 72, 0.2), *wb = sparse_weights(12 * 20, 0.2), *bias = random_floats(20);
    const int a = add_constant(model, kind, 4, filter_a, wa), b = add_constant(model, kind, 4, filter_b, wb);
    const int ba = add_constant(model, PLAIN, 1, bias_shape, bias);
    const int mid = fake_tensor(model, TFL_FLOAT32, 2, 4, mid_shape), relu = fake_tensor(model, TFL_FLOAT32, 2, 4, mid_shape);
    const int out = fake_tensor(model, TFL_FLOAT32, 2, 4, out_shape);
    const tfl_conv_params same = {.padding = TFL_SAME, .stride_width = 1, .stride_height = 1, .dilation_width = 1,
                                  .dilation_height = 1, .activation = relu_between ? 0 : 1};
    const int inputs_a[] = {input, a, ba}, inputs_b[] = {relu_between ? relu : mid, b};
    fake_node_add(model, TFL_CONV_2D, 3, inputs_a, mid, &same, sizeof same);
    if (relu_between)
        fake_node_add(model, TFL_RELU, 1, &mid, relu, NULL, 0);
    fake_node_add(model, TFL_CONV_2D, 2, inputs_b, out, &same, sizeof same);
    model->output = out;

    char what[64];
    snprintf(what, sizeof what, "storage %d, relu %d, claim %s", (int)kind, relu_between, claim);
    tfl_delegate *delegate = create("claim", claim);
    if (CHECK(delegate != NULL, "%s", last_error) &&
        CHECK(fake_apply(model, delegate) == TFL_OK, "%s: %s", what, model->error)) {
        if (strcmp(claim, "none") == 0) {
            CHECK(fake_islands(model) == 0, "%s", what);
        } else {
            CHECK(fake_islands(model) == 1 + (size_t)relu_between, "%s: %zu islands", what, fake_islands(model));
            /* What it was made for, a larger and a smaller picture, more of them. */
            static const int sizes[][3] = {{1, 7, 6}, {2, 9, 11}, {1, 3, 2}, {1, 7, 6}};
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
                const int dims[] = {sizes[i][0], sizes[i][1], sizes[i][2], 8};
                model->context.ResizeTensor(&model->context, &model->tensors[input], fake_array(4, dims));
                if (relu_between) {
                    const int dims_mid[] = {sizes[i][0], sizes[i][1], sizes[i][2], 20};
                    model->context.ResizeTensor(&model->context, &model->tensors[relu], fake_array(4, dims_mid));
                }
                if (!CHECK(fake_allocate(model) == TFL_OK, "%s: %s", what, model->error))
                    break;
                es_conv first = {.batch = dims[0], .in_h = dims[1], .in_w = dims[2], .in_c = 8, .out_c = 20, .k_h = 3,
                                 .k_w = 3, .stride_h = 1, .stride_w = 1, .low = 0, .high = INFINITY};
                es_conv_same(&first);
                es_conv second = first;
                second.in_c = 20, second.out_c = 12, second.k_h = second.k_w = 1, second.low = 0;
                second.low = relu_between ? -INFINITY : 0;
                es_conv_same(&second);
                float *x = random_floats(conv_inputs(&first));
                memcpy(model->tensors[input].data, x, conv_inputs(&first) * sizeof *x);
                expected *e1 = calloc(conv_outputs(&first), sizeof *e1), *e2 = calloc(conv_outputs(&second), sizeof *e2);
                float *middle = calloc(conv_outputs(&first), sizeof *middle);
                reference_conv(&first, wa, bias, x, e1);
                for (size_t k = 0; k < conv_outputs(&first); ++k)
                    middle[k] = (float)e1[k].value;
                reference_conv(&second, wb, NULL, middle, e2);
                CHECK(fake_invoke(model) == TFL_OK, "%s: %s", what, model->error);
                check_tensor(model, out, e2, conv_outputs(&second), what);
                free(x), free(e1), free(e2), free(middle);
            }
        }
    }
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(wa), free(wb), free(bias);
}

/* FULLY_CONNECTED over any leading dims, with and without keep_num_dims. */
static void test_fully_connected(storage kind, bool keep, int batch)
{
    fake_model *model = fake_new();
    const int in_shape[] = {batch, 1, 40}, weights_shape[] = {21, 40}, kept[] = {batch, 1, 21}, flat[] = {batch, 21};
    const int input = fake_tensor(model, TFL_FLOAT32, 2, 3, in_shape);
    float *w = sparse_weights(21 * 40, 0.1);
    const int weights = add_constant(model, kind, 2, weights_shape, w);
    const int out = fake_tensor(model, TFL_FLOAT32, 2, keep ? 3 : 2, keep ? kept : flat);
    const tfl_fully_connected_params params = {.activation = 3, .keep_num_dims = keep};
    const int inputs[] = {input, weights, -1};
    fake_node_add(model, TFL_FULLY_CONNECTED, 3, inputs, out, &params, sizeof params);
    model->output = out;
    tfl_delegate *delegate = create("claim", "all");
    if (CHECK(fake_apply(model, delegate) == TFL_OK && fake_islands(model) == 1, "%s", model->error) &&
        CHECK(fake_allocate(model) == TFL_OK, "%s", model->error)) {
        const es_conv conv = {.batch = batch, .in_h = 1, .in_w = 1, .in_c = 40, .out_h = 1, .out_w = 1, .out_c = 21,
                              .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1, .low = 0, .high = 6};
        float *x = random_floats(conv_inputs(&conv));
        memcpy(model->tensors[input].data, x, conv_inputs(&conv) * sizeof *x);
        expected *e = calloc(conv_outputs(&conv), sizeof *e);
        reference_conv(&conv, w, NULL, x, e);
        CHECK(fake_invoke(model) == TFL_OK, "%s", model->error);
        check_tensor(model, out, e, conv_outputs(&conv), "fully connected");
        free(x), free(e);
    }
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(w);
}

/* ---- neighbours ------------------------------------------------------------------------------------------------------ */

/* What happens to the tensor between PAD and the convolution behind it. */
typedef enum padded_use { ONLY_THE_CONV, ALSO_AN_OUTPUT, ALSO_A_RELU, IN_AN_EARLIER_ISLAND, USES } padded_use;

static int activation(fake_model *model, int h, int w, int c)
{
    const int shape[] = {1, h, w, c};
    return fake_tensor(model, TFL_FLOAT32, 2, 4, shape);
}

static int int_constant(fake_model *model, int rank, const int *shape, size_t count, const int32_t *values)
{
    const int tensor = fake_tensor(model, TFL_INT32, TFL_MMAP_RO, rank, shape);
    fake_data(model, tensor, values, count * sizeof *values);
    return tensor;
}

/* What the model computes, in plain C: `result` receives eight floats. */
static void reference_block(const float *wa, const float *wd, const float *wb, const float *wc, const float *wf, const float *x,
                            expected *result)
{
    enum { PIXELS = 30 };
    static const float bias[16] = {0.25f, -0.5f, 1};
    const es_conv a = {.batch = 1, .in_h = 5, .in_w = 6, .in_c = 8, .out_h = 5, .out_w = 6, .out_c = 16, .k_h = 1, .k_w = 1,
                       .stride_h = 1, .stride_w = 1, .low = 0, .high = 6};
    es_conv d = a, b = a, c = a, f = a;
    float *wide = calloc(16 * 9 * 16, sizeof *wide), *one = calloc(PIXELS * 16, sizeof *one), *two = calloc(PIXELS * 16, sizeof *two);
    expected *e = calloc(PIXELS * 16, sizeof *e);
    reference_conv(&a, wa, NULL, x, e);
    for (int i = 0; i < PIXELS * 16; ++i)
        one[i] = (float)e[i].value;
    for (int o = 0; o < 16; ++o)                /* a depthwise convolution is a dense one with zeros elsewhere */
        for (int t = 0; t < 9; ++t)
            wide[(o * 9 + t) * 16 + o] = wd[t * 16 + o];
    d.in_c = 16, d.k_h = d.k_w = 3;
    es_conv_same(&d);
    reference_conv(&d, wide, bias, one, e);
    for (int i = 0; i < PIXELS * 16; ++i)
        two[i] = (float)e[i].value;
    b.in_c = 16, b.out_c = 8, b.low = -INFINITY, b.high = INFINITY;
    reference_conv(&b, wb, NULL, two, e);
    for (int i = 0; i < PIXELS * 8; ++i) {
        const float sum = (float)e[i].value + x[i];
        one[i] = sum > 0 ? sum : 0;
    }
    c.in_c = c.out_c = 8, c.k_h = c.k_w = 3, c.stride_h = c.stride_w = 2, c.pad_top = 1, c.pad_left = 0, c.out_h = 3, c.out_w = 3;
    c.low = -INFINITY, c.high = INFINITY;
    reference_conv(&c, wc, NULL, one, e);
    for (int o = 0; o < 8; ++o) {
        double sum = 0;
        for (int p = 0; p < 9; ++p)
            sum += e[p * 8 + o].value;
        two[o] = (float)(sum / 9);
    }
    f.in_c = f.out_c = 8, f.in_h = f.in_w = f.out_h = f.out_w = 1, f.low = -INFINITY, f.high = INFINITY;
    reference_conv(&f, wf, NULL, two, result);
    free(wide), free(one), free(two), free(e);
}

/* conv 1x1 -> depthwise -> conv 1x1 -> ADD the input -> PAD -> conv 3x3 -> MEAN -> fully connected: one island, whoever
 * else reads what the PAD makes. */
static void test_block(padded_use use, int threads)
{
    fake_model *model = fake_new();
    model->context.recommended_num_threads = threads;
    static const float bias_values[16] = {0.25f, -0.5f, 1};
    const int shape_a[] = {16, 1, 1, 8}, shape_d[] = {1, 3, 3, 16}, shape_b[] = {8, 1, 1, 16}, shape_c[] = {8, 3, 3, 8};
    const int shape_f[] = {8, 8}, shape_bias[] = {16}, shape_pads[] = {4, 2}, shape_axes[] = {2}, flat[] = {1, 8};
    float *wa = sparse_weights(16 * 8, 0.3), *wd = sparse_weights(9 * 16, 1), *wb = sparse_weights(8 * 16, 0.3);
    float *wc = sparse_weights(8 * 72, 0.2), *wf = sparse_weights(64, 0.3);
    const int32_t pads[] = {0, 0, 1, 1, 0, 1, 0, 0}, axes[] = {2, 1};
    const int x = activation(model, 5, 6, 8);
    const int a = add_constant(model, PLAIN, 4, shape_a, wa), d = add_constant(model, PLAIN, 4, shape_d, wd);
    const int b = add_constant(model, SPARSE, 4, shape_b, wb), c = add_constant(model, PLAIN, 4, shape_c, wc);
    const int f = add_constant(model, PLAIN, 2, shape_f, wf), bias = add_constant(model, PLAIN, 1, shape_bias, bias_values);
    const int p = int_constant(model, 2, shape_pads, 8, pads), m = int_constant(model, 1, shape_axes, 2, axes);
    const int ta = activation(model, 5, 6, 16), td = activation(model, 5, 6, 16), tb = activation(model, 5, 6, 8);
    const int ts = activation(model, 5, 6, 8), tp = activation(model, 7, 7, 8), tc = activation(model, 3, 3, 8);
    const int tm = fake_tensor(model, TFL_FLOAT32, 2, 2, flat), out = fake_tensor(model, TFL_FLOAT32, 2, 2, flat);
    const int side_in = activation(model, 7, 7, 8), side = activation(model, 7, 7, 8);
    const tfl_conv_params conv6 = {.padding = TFL_SAME, .stride_width = 1, .stride_height = 1, .activation = 3, .dilation_width = 1,
                                   .dilation_height = 1};
    tfl_conv_params conv = conv6, strided = conv6;
    conv.activation = strided.activation = 0;
    strided.padding = TFL_VALID, strided.stride_width = strided.stride_height = 2;
    const tfl_depthwise_params depthwise = {.padding = TFL_SAME, .stride_width = 1, .stride_height = 1, .depth_multiplier = 1,
                                            .activation = 3, .dilation_width = 1, .dilation_height = 1};
    const tfl_add_params add = {.activation = 1};
    const tfl_reducer_params mean = {.keep_dims = false};
    const tfl_fully_connected_params fc = {0};
    fake_node_add(model, TFL_CONV_2D, 2, (const int[]){x, a}, ta, &conv6, sizeof conv6);
    fake_node_add(model, TFL_DEPTHWISE_CONV_2D, 3, (const int[]){ta, d, bias}, td, &depthwise, sizeof depthwise);
    fake_node_add(model, TFL_CONV_2D, 2, (const int[]){td, b}, tb, &conv, sizeof conv);
    fake_node_add(model, TFL_ADD, 2, (const int[]){tb, x}, ts, &add, sizeof add);
    fake_node_add(model, TFL_PAD, 2, (const int[]){ts, p}, tp, NULL, 0);
    if (use == ALSO_A_RELU || use == IN_AN_EARLIER_ISLAND)
        fake_node_add(model, TFL_RELU, 1, use == ALSO_A_RELU ? &tp : &side_in, side, NULL, 0);
    fake_node_add(model, TFL_CONV_2D, 2, (const int[]){tp, c}, tc, &strided, sizeof strided);
    fake_node_add(model, TFL_MEAN, 2, (const int[]){tc, m}, tm, &mean, sizeof mean);
    fake_node_add(model, TFL_FULLY_CONNECTED, 2, (const int[]){tm, f}, out, &fc, sizeof fc);
    model->output = use == ALSO_AN_OUTPUT ? tp : out;
    char what[64];
    snprintf(what, sizeof what, "use %d, %d threads", (int)use, threads);
    tfl_delegate *delegate = create("claim", "all");
    const bool split = use == ALSO_A_RELU || use == IN_AN_EARLIER_ISLAND;
    if (CHECK(fake_apply(model, delegate) == TFL_OK, "%s: %s", what, model->error) &&
        CHECK(fake_islands(model) == 1 + (size_t)split, "%s: %zu islands", what, fake_islands(model)) &&
        CHECK(fake_allocate(model) == TFL_OK, "%s: %s", what, model->error)) {
        float *values = random_floats(5 * 6 * 8);
        memcpy(model->tensors[x].data, values, 5 * 6 * 8 * sizeof *values);
        if (model->tensors[side_in].data != NULL)
            memset(model->tensors[side_in].data, 0, model->tensors[side_in].bytes);
        CHECK(fake_invoke(model) == TFL_OK, "%s: %s", what, model->error);
        expected e[8];
        reference_block(wa, wd, wb, wc, wf, values, e);
        for (int i = 0; i < 8; ++i)
            e[i].size += 100;       /* rounding of five layers */
        if (use == ALSO_AN_OUTPUT) {
            const float *padded = model->tensors[tp].data;
            double border = 0, inner = 0;
            for (int i = 0; padded != NULL && i < 7 * 7 * 8; ++i)
                *(i < 7 * 8 || i >= 6 * 7 * 8 || i / 8 % 7 == 6 ? &border : &inner) += fabs((double)padded[i]);
            CHECK(padded != NULL && border == 0 && inner > 0, "%s: border %g, inside %g", what, border, inner);
        } else {
            check_tensor(model, out, e, 8, what);
        }
        free(values);
    }
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(wa), free(wd), free(wb), free(wc), free(wf);
}

/* Nothing around a depthwise convolution is claimed: neither is it. */
static void test_alone(void)
{
    fake_model *model = fake_new();
    const int shape[] = {1, 3, 3, 16};
    float *w = sparse_weights(9 * 16, 0.1);
    const int x = activation(model, 5, 6, 16), y = activation(model, 5, 6, 16), d = add_constant(model, PLAIN, 4, shape, w);
    const tfl_depthwise_params params = {.padding = TFL_SAME, .stride_width = 1, .stride_height = 1, .depth_multiplier = 1,
                                         .dilation_width = 1, .dilation_height = 1};
    fake_node_add(model, TFL_DEPTHWISE_CONV_2D, 2, (const int[]){x, d}, y, &params, sizeof params);
    tfl_delegate *delegate = create("claim", "all");
    CHECK(fake_apply(model, delegate) == TFL_OK && fake_islands(model) == 0, "%s", model->error);
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(w);
}

/* ---- what must be left or refused ---------------------------------------------------------------------------------- */

typedef void (*spoil)(fake_model *model, tfl_conv_params *params);

static void dilate(fake_model *model, tfl_conv_params *params) { (void)model, params->dilation_width = 2; }
static void no_stride(fake_model *model, tfl_conv_params *params) { (void)model, params->stride_height = 0; }
static void odd_padding(fake_model *model, tfl_conv_params *params) { (void)model, params->padding = 0; }
static void odd_activation(fake_model *model, tfl_conv_params *params) { (void)model, params->activation = 5; }
static void grouped(fake_model *model, tfl_conv_params *params) { (void)params, model->tensors[0].dims->data[3] = 16; }
static void int8_input(fake_model *model, tfl_conv_params *params) { (void)params, model->tensors[0].type = TFL_INT8; }
static void dynamic_input(fake_model *model, tfl_conv_params *params)
{
    (void)params, model->tensors[0].allocation_type = TFL_DYNAMIC;
}
static void computed_weights(fake_model *model, tfl_conv_params *params)
{
    (void)params, model->tensors[1].allocation_type = 2;
}
static void wrong_output(fake_model *model, tfl_conv_params *params) { (void)params, model->tensors[2].dims->data[1] = 9; }
static void zero_channels(fake_model *model, tfl_conv_params *params)
{
    (void)params, model->tensors[1].dims->data[0] = 0, model->tensors[1].bytes = 0;
}

static void test_left(spoil how, const char *what)
{
    fake_model *model = fake_new();
    const int picture[] = {1, 4, 4, 8}, filter[] = {4, 1, 1, 8}, result[] = {1, 4, 4, 4};
    fake_tensor(model, TFL_FLOAT32, 2, 4, picture);
    float *w = sparse_weights(32, 0.2);
    add_constant(model, PLAIN, 4, filter, w);
    fake_tensor(model, TFL_FLOAT32, 2, 4, result);
    tfl_conv_params params = {.padding = TFL_SAME, .stride_width = 1, .stride_height = 1, .dilation_width = 1,
                              .dilation_height = 1};
    how(model, &params);
    const int inputs[] = {0, 1};
    fake_node_add(model, TFL_CONV_2D, 2, inputs, 2, &params, sizeof params);
    tfl_delegate *delegate = create("claim", "all");
    const tfl_status status = fake_apply(model, delegate);
    CHECK(status == TFL_OK && fake_islands(model) == 0, "%s: status %d, %zu islands, %s", what, (int)status,
          fake_islands(model), model->error);
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(w);
}

/* A runtime that is laid out otherwise, and indices that do not exist: refused as a whole, with a sentence. */
static void test_strange_runtimes(void)
{
    for (int how = 0; how < 7; ++how) {
        fake_model *model = fake_new();
        const int shape[] = {1, 2}, inputs[] = {0, how == 5 ? 77 : 0};
        const int tensor = fake_tensor(model, TFL_FLOAT32, how == 2 ? TFL_MMAP_RO : 2, 2, shape);
        fake_node_add(model, TFL_FULLY_CONNECTED, 2, inputs, tensor, NULL, 0);
        switch (how) {
        case 0: model->context.recommended_num_threads = 1 << 20; break;
        case 1: model->tensors[0].type = 77; break;
        case 2: fake_data(model, tensor, shape, 4); break;      /* a constant of half its size */
        case 3: model->context.tensors_size = (size_t)1 << 30; break;
        case 4: model->nodes[0].registration.builtin_code = 1 << 20; break;
        case 6: model->context.ResizeTensor = NULL; break;
        default: break;
        }
        tfl_delegate *delegate = create(NULL, NULL);
        CHECK(fake_apply(model, delegate) != TFL_OK, "case %d", how);
        CHECK(strlen(model->error) > 20, "case %d: '%s'", how, model->error);
        model->context.tensors_size = 1;
        fake_free(model);
        tflite_plugin_destroy_delegate(delegate);
    }
}

/* ---- what was found once ------------------------------------------------------------------------------------------- */

/* keep_num_dims with an input whose last dimension is not the weights': the output would be too small for what is written. */
static void test_kept_dims(int rank, const int *in_shape, int in_c, const int *out_shape, int out_rank)
{
    fake_model *model = fake_new();
    const int weights_shape[] = {3, in_c}, input = fake_tensor(model, TFL_FLOAT32, 2, rank, in_shape);
    float *w = sparse_weights(3 * (size_t)in_c, 0.9);
    const int weights = add_constant(model, PLAIN, 2, weights_shape, w);
    const int out = fake_tensor(model, TFL_FLOAT32, 2, out_rank, out_shape), inputs[] = {input, weights};
    const tfl_fully_connected_params params = {.keep_num_dims = true};
    fake_node_add(model, TFL_FULLY_CONNECTED, 2, inputs, out, &params, sizeof params);
    model->output = out;
    tfl_delegate *delegate = create("claim", "all");
    CHECK(fake_apply(model, delegate) == TFL_OK && fake_islands(model) == 0, "%s", model->error);
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(w);
}

/* An operator in front of the one that makes its input: when that makes less, there is less to read than was prepared for. */
static void test_out_of_order(void)
{
    fake_model *model = fake_new();
    const int filter[] = {8, 1, 1, 8};
    float *w = sparse_weights(64, 0.3);
    const int x = activation(model, 6, 6, 8), between = activation(model, 6, 6, 8), y = activation(model, 6, 6, 8);
    const int weights = add_constant(model, PLAIN, 4, filter, w);
    const tfl_conv_params params = {.padding = TFL_SAME, .stride_width = 1, .stride_height = 1, .dilation_width = 1,
                                    .dilation_height = 1};
    fake_node_add(model, TFL_CONV_2D, 2, (const int[]){between, weights}, y, &params, sizeof params);
    fake_node_add(model, TFL_CONV_2D, 2, (const int[]){x, weights}, between, &params, sizeof params);
    model->output = y;
    tfl_delegate *delegate = create("claim", "all");
    CHECK(fake_apply(model, delegate) == TFL_OK && fake_islands(model) == 1, "%s", model->error);
    CHECK(fake_allocate(model) == TFL_OK, "%s", model->error);
    const int smaller[] = {1, 2, 2, 8};
    model->context.ResizeTensor(&model->context, &model->tensors[x], fake_array(4, smaller));
    CHECK(fake_allocate(model) != TFL_OK && strstr(model->error, "prepared") != NULL, "'%s'", model->error);
    fake_free(model);
    tflite_plugin_destroy_delegate(delegate);
    free(w);
}

static void test_report(void)
{
    char path[] = "/tmp/es_test_report_XXXXXX";
    const int file = mkstemp(path);
    if (!CHECK(file >= 0))
        return;
    fake_model *model = fake_new();
    const int shape[] = {4, 8}, in_shape[] = {1, 8}, out_shape[] = {1, 4};
    fake_tensor(model, TFL_FLOAT32, 2, 2, in_shape);
    float *w = sparse_weights(32, 0.2);
    add_constant(model, PLAIN, 2, shape, w);
    fake_tensor(model, TFL_FLOAT32, 2, 2, out_shape);
    model->tensors[2].name = "a \"name\"\n\\ of \x01 bytes \xff";
    const tfl_fully_connected_params params = {0};
    const int inputs[] = {0, 1};
    fake_node_add(model, TFL_FULLY_CONNECTED, 2, inputs, 2, &params, sizeof params);
    const char *const keys[] = {"report", "claim", "isa"}, *const values[] = {path, "all", "scalar"};
    tfl_delegate *delegate = tflite_plugin_create_delegate(keys, values, 3, keep_error);
    CHECK(fake_apply(model, delegate) == TFL_OK, "%s", model->error);
    char text[4096] = "";
    FILE *report = fopen(path, "r");
    if (CHECK(report != NULL)) {
        text[fread(text, 1, sizeof text - 1, report)] = '\0';
        fclose(report);
    }
    CHECK(strstr(text, "\"format\": 1") && strstr(text, "__scalar\"") && strstr(text, "\"claimed\": true"), "%s", text);
    CHECK(strstr(text, "a \\\"name\\\"\\u000a\\\\ of \\u0001 bytes \\u00ff") != NULL, "%s", text);
    tflite_plugin_destroy_delegate(delegate);
    fake_free(model);
    remove(path);

    /* A place that cannot be written. */
    const char *const nowhere[] = {"/nonexistent/report.json", "all", "scalar"};
    model = fake_new();
    delegate = tflite_plugin_create_delegate(keys, nowhere, 3, keep_error);
    CHECK(fake_apply(model, delegate) != TFL_OK && strstr(model->error, "/nonexistent/report.json") != NULL, "%s",
          model->error);
    tflite_plugin_destroy_delegate(delegate);
    fake_free(model);
    free(w);
}

int main(void)
{
    unsetenv("EDGESPARSE_ISA");
    test_options();
    for (storage kind = PLAIN; kind <= SPARSE_HALF; ++kind) {
        test_convolutions(kind, false, "all");
        test_convolutions(kind, true, "all");
        test_convolutions(kind, false, "none");
        for (int keep = 0; keep < 2; ++keep)
            for (int batch = 1; batch < 20; batch += 6)
                test_fully_connected(kind, keep, batch);
    }
    for (padded_use use = 0; use < USES; ++use)
        for (int threads = 1; threads < 4; threads += 2)
            test_block(use, threads);
    test_alone();
#define LEFT(how) test_left(how, #how)
    LEFT(dilate), LEFT(no_stride), LEFT(odd_padding), LEFT(odd_activation), LEFT(grouped), LEFT(int8_input);
    LEFT(dynamic_input), LEFT(computed_weights), LEFT(wrong_output), LEFT(zero_channels);
    test_strange_runtimes();
    test_kept_dims(2, (const int[]){2, 6}, 4, (const int[]){3, 3}, 2);
    test_kept_dims(0, (const int[]){0}, 1, (const int[]){1, 3}, 2);
    test_out_of_order();
    test_report();
    return check_report("delegate: options, models, refusals, report");
}
