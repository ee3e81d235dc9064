#include "operator.h"

#include <math.h>
#include <string.h>

bool es_operator_kind(const es_graph *graph, size_t place, es_kind *kind, const char **name)
{
    static const struct { int code; es_kind kind; const char *name; } kinds[] = {
        {TFL_CONV_2D, ES_KIND_CONV, "CONV_2D"},
        {TFL_FULLY_CONNECTED, ES_KIND_FULLY_CONNECTED, "FULLY_CONNECTED"},
        {TFL_DEPTHWISE_CONV_2D, ES_KIND_DEPTHWISE, "DEPTHWISE_CONV_2D"},
        {TFL_ADD, ES_KIND_ADD, "ADD"},
        {TFL_MEAN, ES_KIND_MEAN, "MEAN"},
        {TFL_PAD, ES_KIND_PAD, "PAD"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (kinds[i].code == graph->registrations[place]->builtin_code) {
            *kind = kinds[i].kind;
            *name = kinds[i].name;
            return true;
        }
    return false;
}

/* ---- shapes ------------------------------------------------------------------------------------------------------- */

static es_status shape_with_given_pads(const es_operator *op, es_conv *conv)
{
    const int64_t height = (int64_t)conv->in_h + conv->pad_top + op->pad_bottom;
    const int64_t width = (int64_t)conv->in_w + conv->pad_left + op->pad_right;
    if (height < conv->k_h || width < conv->k_w)
        return ES_BAD_SHAPE;
    if (height > INT32_MAX || width > INT32_MAX ||
        (size_t)height > (size_t)PTRDIFF_MAX / sizeof(float) / (size_t)width / (size_t)conv->batch / (size_t)conv->in_c)
        return ES_TOO_LARGE;
    conv->out_h = (int32_t)((height - conv->k_h) / conv->stride_h + 1);
    conv->out_w = (int32_t)((width - conv->k_w) / conv->stride_w + 1);
    return ES_OK;
}

static es_status fully_connected_shape(const es_operator *op, const tfl_int_array *dims, size_t count, es_conv *conv)
{
    if (op->keep_dims && (dims->size < 1 || dims->data[dims->size - 1] != conv->in_c))
        return ES_BAD_SHAPE;
    if (count % (size_t)conv->in_c != 0 || count / (size_t)conv->in_c > INT32_MAX)
        return ES_BAD_SHAPE;
    conv->batch = (int32_t)(count / (size_t)conv->in_c);
    conv->in_h = conv->in_w = conv->out_h = conv->out_w = 1;
    return ES_OK;
}

es_status es_operator_shape(const es_operator *op, const tfl_int_array *dims, es_conv *conv)
{
    size_t count;
    if (!es_dims_count(dims, &count) || count == 0)
        return ES_BAD_SHAPE;
    *conv = op->conv;
    if (op->kind == ES_KIND_FULLY_CONNECTED)
        return fully_connected_shape(op, dims, count, conv);
    if (dims->size != 4 || dims->data[3] != conv->in_c)
        return ES_BAD_SHAPE;
    conv->batch = dims->data[0];
    conv->in_h = dims->data[1];
    conv->in_w = dims->data[2];
    switch (op->kind) {
    case ES_KIND_MEAN: conv->out_h = conv->out_w = 1; return ES_OK;
    case ES_KIND_ADD: conv->out_h = conv->in_h, conv->out_w = conv->in_w; return ES_OK;
    default: break;
    }
    switch (op->padding) {
    case ES_PADS_SAME: return es_conv_same(conv);
    case ES_PADS_VALID: return es_conv_valid(conv);
    default: return shape_with_given_pads(op, conv);
    }
}

size_t es_operator_element(const es_operator *op)
{
    return op->type == ES_INT8 ? sizeof(int8_t) : sizeof(float);
}

size_t es_operator_input_count(const es_conv *conv)
{
    return (size_t)conv->batch * (size_t)conv->in_h * (size_t)conv->in_w * (size_t)conv->in_c;
}

size_t es_operator_output_count(const es_conv *conv)
{
    return (size_t)conv->batch * (size_t)conv->out_h * (size_t)conv->out_w * (size_t)conv->out_c;
}

/* ---- the kinds ---------------------------------------------------------------------------------------------------- */

static const char *bounds_of(int activation, es_conv *conv)
{
    switch (activation) {
    case 0: conv->low = -INFINITY, conv->high = INFINITY; return NULL;
    case 1: conv->low = 0, conv->high = INFINITY; return NULL;
    case 2: conv->low = -1, conv->high = 1; return NULL;
    case 3: conv->low = 0, conv->high = 6; return NULL;
    default: return "its fused activation is not one of ReLU, ReLU6 and ReLU to -1..1";
    }
}

static bool same_type(const tfl_tensor *a, const tfl_tensor *b)
{
    const float *a_scale, *b_scale;
    size_t count;
    int32_t a_zero, b_zero;
    if (a->type != b->type || a->type == TFL_FLOAT32)
        return a->type == b->type;
    return es_tensor_quantization(a, 0, 1, &a_scale, &count, &a_zero) &&
           es_tensor_quantization(b, 0, 1, &b_scale, &count, &b_zero) && *a_scale == *b_scale && a_zero == b_zero;
}

/* A PAD in front of a VALID convolution becomes the convolution's own padding. */
static void take_pad(const es_graph *graph, es_operator *op)
{
    es_conv *conv = &op->conv;
    int32_t amounts[8];
    const int pad = es_graph_pad(graph, op->inputs[0], amounts);
    if (op->padding != ES_PADS_VALID || pad < 0)
        return;
    const tfl_tensor *input = es_graph_tensor(graph, graph->nodes[pad]->inputs, 0);
    if (input == NULL || !same_type(input, &graph->context->tensors[op->inputs[0]]) || input->allocation_type == TFL_DYNAMIC ||
        es_tensor_rank(input) != 4 || amounts[2] >= conv->k_h || amounts[3] >= conv->k_h || amounts[4] >= conv->k_w ||
        amounts[5] >= conv->k_w)
        return;
    op->pad = pad;
    op->inputs[0] = graph->nodes[pad]->inputs->data[0];
    op->padding = ES_PADS_GIVEN;
    conv->pad_top = amounts[2];
    op->pad_bottom = amounts[3];
    conv->pad_left = amounts[4];
    op->pad_right = amounts[5];
}

void es_operator_detach_pad(es_operator *op, int padded)
{
    op->pad = -1;
    op->inputs[0] = padded;
    op->padding = ES_PADS_VALID;
    op->conv.pad_top = op->conv.pad_left = 0;
}

static const char *read_window(es_operator *op, int padding, int stride_h, int stride_w, int dilation_h, int dilation_w)
{
    if (dilation_h != 1 || dilation_w != 1)
        return "it is dilated";
    if (padding != TFL_SAME && padding != TFL_VALID)
        return "its padding is neither SAME nor VALID";
    op->padding = padding == TFL_SAME ? ES_PADS_SAME : ES_PADS_VALID;
    op->conv.stride_h = stride_h;
    op->conv.stride_w = stride_w;
    return NULL;
}

static const char *read_conv(const tfl_node *node, const tfl_tensor *filter, es_operator *op)
{
    const tfl_conv_params *params = node->builtin_data;
    if (params == NULL || filter == NULL || es_tensor_rank(filter) != 4)
        return "its parameters or weights are not those of a convolution";
    op->conv.out_c = filter->dims->data[0];
    op->conv.k_h = filter->dims->data[1];
    op->conv.k_w = filter->dims->data[2];
    op->conv.in_c = filter->dims->data[3];
    const char *refusal = read_window(op, params->padding, params->stride_height, params->stride_width,
                                      params->dilation_height, params->dilation_width);
    return refusal != NULL ? refusal : bounds_of(params->activation, &op->conv);
}

static const char *read_depthwise(const tfl_node *node, const tfl_tensor *filter, es_operator *op)
{
    const tfl_depthwise_params *params = node->builtin_data;
    if (params == NULL || filter == NULL || es_tensor_rank(filter) != 4 || filter->dims->data[0] != 1)
        return "its parameters or weights are not those of a depthwise convolution";
    op->conv.k_h = filter->dims->data[1];
    op->conv.k_w = filter->dims->data[2];
    op->conv.in_c = op->conv.out_c = filter->dims->data[3];
    if (!es_depthwise_fits(&op->conv))
        return "its channels are not a multiple of four";
    const char *refusal = read_window(op, params->padding, params->stride_height, params->stride_width,
                                      params->dilation_height, params->dilation_width);
    return refusal != NULL ? refusal : bounds_of(params->activation, &op->conv);
}

static const char *read_fully_connected(const tfl_node *node, const tfl_tensor *weights, es_operator *op)
{
    const tfl_fully_connected_params *params = node->builtin_data;
    if (params == NULL || weights == NULL || params->weights_format != 0 || es_tensor_rank(weights) != 2)
        return "its weights are not a plain matrix";
    op->keep_dims = params->keep_num_dims;
    op->conv.out_c = weights->dims->data[0];
    op->conv.in_c = weights->dims->data[1];
    return bounds_of(params->activation, &op->conv);
}

static void take_channels(const tfl_tensor *input, es_conv *conv)
{
    conv->in_c = conv->out_c = es_tensor_rank(input) == 4 ? input->dims->data[3] : 0;
}

static const char *read_add(const es_graph *graph, const tfl_node *node, es_operator *op)
{
    const tfl_add_params *params = node->builtin_data;
    const tfl_tensor *a = es_graph_tensor(graph, node->inputs, 0), *b = es_graph_tensor(graph, node->inputs, 1);
    if (params == NULL || b == NULL || es_tensor_rank(a) != 4 || es_tensor_rank(b) != 4 ||
        memcmp(a->dims->data, b->dims->data, 4 * sizeof *a->dims->data) != 0 || b->type != a->type ||
        b->allocation_type == TFL_DYNAMIC || a->allocation_type == TFL_MMAP_RO || b->allocation_type == TFL_MMAP_RO)
        return "it does not add two pictures of one size";
    op->inputs[1] = node->inputs->data[1];
    take_channels(a, &op->conv);
    return bounds_of(params->activation, &op->conv);
}

/* Over height and width, in either order. */
static const char *read_mean(const es_graph *graph, const tfl_node *node, es_operator *op)
{
    const tfl_reducer_params *params = node->builtin_data;
    const tfl_tensor *axes = es_graph_tensor(graph, node->inputs, 1);
    if (params == NULL || axes == NULL || axes->type != TFL_INT32 || axes->allocation_type != TFL_MMAP_RO ||
        axes->data == NULL || axes->bytes != 2 * sizeof(int32_t))
        return "it is not a mean over height and width";
    int32_t axis[2];
    memcpy(axis, axes->data, sizeof axis);
    if (!((axis[0] == 1 && axis[1] == 2) || (axis[0] == 2 && axis[1] == 1)))
        return "it is not a mean over height and width";
    op->keep_dims = params->keep_dims;
    take_channels(es_graph_tensor(graph, node->inputs, 0), &op->conv);
    return bounds_of(0, &op->conv);
}

static const char *read_pad(const es_graph *graph, const tfl_node *node, es_operator *op)
{
    int32_t amounts[8];
    if (es_graph_pad(graph, node->outputs->data[0], amounts) < 0)
        return "it does not pad height and width by constants";
    take_channels(es_graph_tensor(graph, node->inputs, 0), &op->conv);
    op->padding = ES_PADS_GIVEN;
    op->conv.pad_top = amounts[2];
    op->pad_bottom = amounts[3];
    op->conv.pad_left = amounts[4];
    op->pad_right = amounts[5];
    return bounds_of(0, &op->conv);
}

static const char *read_kind(const es_graph *graph, const tfl_node *node, es_operator *op)
{
    const tfl_tensor *second = es_graph_tensor(graph, node->inputs, 1);
    switch (op->kind) {
    case ES_KIND_CONV: return read_conv(node, second, op);
    case ES_KIND_FULLY_CONNECTED: return read_fully_connected(node, second, op);
    case ES_KIND_DEPTHWISE: return read_depthwise(node, second, op);
    case ES_KIND_ADD: return read_add(graph, node, op);
    case ES_KIND_MEAN: return read_mean(graph, node, op);
    default: return read_pad(graph, node, op);
    }
}

static bool has_weights(es_kind kind)
{
    return kind == ES_KIND_CONV || kind == ES_KIND_FULLY_CONNECTED || kind == ES_KIND_DEPTHWISE;
}

static bool holds_floats(const es_constant *constant)
{
    return constant->type == ES_FLOAT32 || constant->type == ES_FLOAT16;
}

static const char *check_types(const es_operator *op, const es_operator_constants *constants)
{
    const bool floats = holds_floats(&constants->weights), has_bias = constants->bias.count > 0;
    if (op->type == ES_INT8)
        return constants->weights.type != ES_INT8 || (has_bias && constants->bias.type != ES_INT32)
                   ? "its activations are int8, its weights and bias not int8 and int32"
                   : NULL;
    if (!floats)
        return "its activations are float32, its weights are not (dynamic range): TFLite quantises its input as it runs, "
               "and there is no sparse kernel for that";
    return has_bias && !holds_floats(&constants->bias) ? "its bias is not float" : NULL;
}

static const char *read_constants(const es_graph *graph, const tfl_node *node, const es_operator *op,
                                  es_operator_constants *constants)
{
    const char *refusal = es_graph_constant(graph, node->inputs->data[1], &constants->weights);
    if (refusal == NULL && node->inputs->size > 2 && node->inputs->data[2] >= 0) {
        refusal = es_graph_constant(graph, node->inputs->data[2], &constants->bias);
        if (refusal == NULL && constants->bias.count != (size_t)op->conv.out_c)
            return "its bias is not one number per output channel";
    }
    return refusal != NULL ? refusal : check_types(op, constants);
}

static const char *read_quantization(const tfl_tensor *input, const tfl_tensor *weights, const tfl_tensor *output,
                                     es_operator *op)
{
    static const char odd[] = "its quantisation is not TFLite's for int8";
    es_quantization *q = &op->quantization;
    const float *in, *out;
    size_t count;
    int32_t zero;
    if (!es_tensor_quantization(input, 0, 1, &in, &count, &q->input_zero) ||
        !es_tensor_quantization(output, 0, 1, &out, &count, &q->output_zero) ||
        !es_tensor_quantization(weights, op->kind == ES_KIND_DEPTHWISE ? 3 : 0, (size_t)op->conv.out_c, &q->weight_scales,
                                &q->weight_scale_count, &zero) ||
        zero != 0)
        return odd;
    q->input_scale = *in;
    q->output_scale = *out;
    return NULL;
}

/* What an int8 frame is filled with. */
static const char *read_zero(const tfl_tensor *output, es_operator *op)
{
    const float *scale;
    size_t count;
    return es_tensor_quantization(output, 0, 1, &scale, &count, &op->quantization.output_zero)
               ? NULL
               : "its quantisation is not TFLite's for int8";
}

static const char *read_addition(const tfl_tensor *a, const tfl_tensor *b, const tfl_tensor *y, es_operator *op)
{
    es_add_s8_scales *s = &op->addition;
    const float *a_scale, *b_scale, *y_scale;
    size_t count;
    if (!es_tensor_quantization(a, 0, 1, &a_scale, &count, &s->a_zero) ||
        !es_tensor_quantization(b, 0, 1, &b_scale, &count, &s->b_zero) ||
        !es_tensor_quantization(y, 0, 1, &y_scale, &count, &s->y_zero))
        return "its quantisation is not TFLite's for int8";
    s->a_scale = *a_scale;
    s->b_scale = *b_scale;
    s->y_scale = *y_scale;
    s->low = op->conv.low;
    s->high = op->conv.high;
    return es_add_s8_fits(s) ? NULL : "the scales of its tensors are too far apart";
}

const char *es_operator_read(const es_graph *graph, size_t place, es_operator *op, es_operator_constants *constants)
{
    const tfl_node *node = graph->nodes[place];
    const tfl_tensor *input = es_graph_tensor(graph, node->inputs, 0), *output = es_graph_tensor(graph, node->outputs, 0);
    const char *name;
    *constants = (es_operator_constants){0};
    *op = (es_operator){.pad = -1, .inputs = {-1, -1}};
    if (!es_operator_kind(graph, place, &op->kind, &name))
        return "the kernels do not know it";
    if (input == NULL || output == NULL || node->outputs->size != 1 ||
        (has_weights(op->kind) && es_graph_tensor(graph, node->inputs, 1) == NULL))
        return "it has no input, no weights or not one output";
    op->type = input->type == TFL_INT8 ? ES_INT8 : ES_FLOAT32;
    if ((input->type != TFL_FLOAT32 && input->type != TFL_INT8) || output->type != input->type)
        return "its input and output are not both float32, nor both int8";
    if (op->type == ES_INT8 && op->kind == ES_KIND_MEAN)
        return "there is no int8 kernel for it";
    if (input->allocation_type == TFL_DYNAMIC || output->allocation_type == TFL_DYNAMIC)
        return "its size is known only while it runs";
    op->inputs[0] = node->inputs->data[0];
    op->output = node->outputs->data[0];
    es_conv *conv = &op->conv;
    conv->k_h = conv->k_w = conv->stride_h = conv->stride_w = 1;
    const char *refusal = read_kind(graph, node, op);
    if (refusal != NULL)
        return refusal;
    if (conv->in_c <= 0 || conv->out_c <= 0 || conv->k_h <= 0 || conv->k_w <= 0)
        return "a dimension of its weights is zero";
    if (conv->stride_h <= 0 || conv->stride_w <= 0)
        return "its stride is not positive";
    if (op->kind == ES_KIND_CONV && es_tensor_rank(input) == 4 && input->dims->data[3] != conv->in_c)
        return "it is a grouped convolution";
    if (op->kind == ES_KIND_CONV || op->kind == ES_KIND_DEPTHWISE) {
        take_pad(graph, op);
        input = &graph->context->tensors[op->inputs[0]];
    }
    es_conv found;
    size_t count;
    if (es_operator_shape(op, input->dims, &found) != ES_OK || !es_dims_count(output->dims, &count) ||
        es_operator_output_count(&found) != count)
        return "the shapes of its input, weights and output do not fit each other";
    *conv = found;
    refusal = has_weights(op->kind) ? read_constants(graph, node, op, constants) : NULL;
    if (refusal != NULL || op->type != ES_INT8)
        return refusal;
    if (op->kind == ES_KIND_PAD)
        return same_type(input, output) ? read_zero(output, op) : "it changes its input's scale";
    if (op->kind == ES_KIND_ADD)
        return read_addition(input, es_graph_tensor(graph, node->inputs, 1), output, op);
    return read_quantization(input, es_graph_tensor(graph, node->inputs, 1), output, op);
}
