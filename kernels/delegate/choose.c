#include "choose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster.h"

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

es_status es_operator_shape(const es_operator *op, const tfl_int_array *dims, es_conv *conv)
{
    size_t count;
    if (!es_dims_count(dims, &count) || count == 0)
        return ES_BAD_SHAPE;
    *conv = op->conv;
    if (op->fully_connected) {
        if (op->keep_dims && (dims->size < 1 || dims->data[dims->size - 1] != conv->in_c))
            return ES_BAD_SHAPE;
        if (count % (size_t)conv->in_c != 0 || count / (size_t)conv->in_c > INT32_MAX)
            return ES_BAD_SHAPE;
        conv->batch = (int32_t)(count / (size_t)conv->in_c);
        conv->in_h = conv->in_w = conv->out_h = conv->out_w = 1;
        return ES_OK;
    }
    if (dims->size != 4 || dims->data[3] != conv->in_c)
        return ES_BAD_SHAPE;
    conv->batch = dims->data[0];
    conv->in_h = dims->data[1];
    conv->in_w = dims->data[2];
    return op->same_padding ? es_conv_same(conv) : es_conv_valid(conv);
}

/* NULL: the convolution is one that the kernels run; otherwise why not. */
static const char *read_conv(const es_graph *graph, const tfl_node *node, es_choice *choice)
{
    es_operator *op = &choice->operator_;
    const tfl_conv_params *params = node->builtin_data;
    const tfl_int_array *filter = graph->context->tensors[node->inputs->data[1]].dims;
    if (params == NULL || es_tensor_rank(&graph->context->tensors[node->inputs->data[1]]) != 4)
        return "its parameters or weights are not those of a convolution";
    if (params->dilation_width != 1 || params->dilation_height != 1)
        return "it is dilated";
    if (params->padding != TFL_SAME && params->padding != TFL_VALID)
        return "its padding is neither SAME nor VALID";
    op->same_padding = params->padding == TFL_SAME;
    op->conv.out_c = filter->data[0];
    op->conv.k_h = filter->data[1];
    op->conv.k_w = filter->data[2];
    op->conv.in_c = filter->data[3];
    op->conv.stride_h = params->stride_height;
    op->conv.stride_w = params->stride_width;
    return bounds_of(params->activation, &op->conv);
}

static const char *read_fully_connected(const es_graph *graph, const tfl_node *node, es_choice *choice)
{
    es_operator *op = &choice->operator_;
    const tfl_fully_connected_params *params = node->builtin_data;
    const tfl_int_array *weights = graph->context->tensors[node->inputs->data[1]].dims;
    if (params == NULL || params->weights_format != 0 ||
        es_tensor_rank(&graph->context->tensors[node->inputs->data[1]]) != 2)
        return "its weights are not a plain matrix";
    op->fully_connected = true;
    op->keep_dims = params->keep_num_dims;
    op->conv.out_c = weights->data[0];
    op->conv.in_c = weights->data[1];
    op->conv.k_h = op->conv.k_w = op->conv.stride_h = op->conv.stride_w = 1;
    return bounds_of(params->activation, &op->conv);
}

static const char *read_operator(const es_graph *graph, const tfl_node *node, int code, es_choice *choice)
{
    es_operator *op = &choice->operator_;
    tfl_tensor *input = es_graph_tensor(graph, node->inputs, 0), *filter = es_graph_tensor(graph, node->inputs, 1);
    tfl_tensor *output = es_graph_tensor(graph, node->outputs, 0);
    if (input == NULL || filter == NULL || output == NULL || node->outputs->size != 1)
        return "it has no input, no weights or not one output";
    if (input->type != TFL_FLOAT32 || output->type != TFL_FLOAT32)
        return "its activations are not float32";
    if (input->allocation_type == TFL_DYNAMIC || output->allocation_type == TFL_DYNAMIC)
        return "its size is known only while it runs";
    op->input = node->inputs->data[0];
    op->output = node->outputs->data[0];
    const char *reason = code == TFL_CONV_2D ? read_conv(graph, node, choice)
                                             : read_fully_connected(graph, node, choice);
    if (reason != NULL)
        return reason;
    if (op->conv.in_c <= 0 || op->conv.out_c <= 0 || op->conv.k_h <= 0 || op->conv.k_w <= 0)
        return "a dimension of its weights is zero";
    if (op->conv.stride_h <= 0 || op->conv.stride_w <= 0)
        return "its stride is not positive";
    if (code == TFL_CONV_2D && es_tensor_rank(input) == 4 && input->dims->data[3] != op->conv.in_c)
        return "it is a grouped convolution";
    es_conv conv;
    size_t expected, found;
    if (es_operator_shape(op, input->dims, &conv) != ES_OK || !es_dims_count(output->dims, &found))
        return "the shapes of its input, weights and output do not fit each other";
    expected = (size_t)conv.batch * (size_t)conv.out_h * (size_t)conv.out_w * (size_t)conv.out_c;
    if (expected != found)
        return "the shapes of its input, weights and output do not fit each other";
    op->conv = conv;
    reason = es_graph_constant(graph, node->inputs->data[1], &choice->weights);
    if (reason != NULL)
        return reason;
    choice->has_bias = node->inputs->size > 2 && node->inputs->data[2] >= 0;
    if (choice->has_bias) {
        reason = es_graph_constant(graph, node->inputs->data[2], &choice->bias);
        if (reason != NULL)
            return reason;
        if (choice->bias.count != (size_t)conv.out_c)
            return "its bias is not one number per output channel";
    }
    return NULL;
}

static size_t columns_of(const es_choice *choice)
{
    return choice->weights.count / (size_t)choice->operator_.conv.out_c;
}

static const char *target_of(const es_options *options)
{
    return options->plan != NULL ? options->plan : es_isa_target(options->isa);
}

/* Counts the zeros of one operator's weights and asks the cost model. */
static es_status weigh(const es_options *options, const float *weights, es_choice *choice)
{
    const es_conv *conv = &choice->operator_.conv;
    es_count(weights, (size_t)conv->out_c, columns_of(choice), (size_t)conv->in_c, &choice->zeros);
    choice->density = es_density(&choice->zeros);
    const es_status status = es_decide_for(target_of(options), conv, &choice->zeros, &choice->decision);
    choice->considered = status == ES_OK;
    return status;
}

/* The model errs by a few per cent; a claim that gains less than that is not worth breaking XNNPACK's graph. */
static const double least_gain = 1.08;

static void settle(const es_options *options, es_choice *choice)
{
    const double gain = choice->decision.dense_us / choice->decision.sparse_us;
    const bool zeros = choice->zeros.nonzeros < choice->zeros.rows * choice->zeros.columns;
    choice->claimed = options->claim == ES_CLAIM_ALL || (options->claim == ES_CLAIM_AUTO && zeros && gain > least_gain);
    char *reason = choice->reason;
    const size_t length = sizeof choice->reason;
    if (options->claim == ES_CLAIM_NONE)
        snprintf(reason, length, "nothing is claimed, as asked");
    else if (options->claim == ES_CLAIM_ALL)
        snprintf(reason, length, "claimed, as asked");
    else if (!zeros)
        snprintf(reason, length, "its weights hold no zeros");
    else if (choice->claimed)
        snprintf(reason, length, "predicted to be %.2f times as fast as dense", gain);
    else
        snprintf(reason, length, "%.0f %% zeros: the best sparse kernel (%s) is predicted to be %.2f times as fast as dense",
                 100 * (1 - choice->density), es_format_name(choice->decision.format), gain);
}

typedef struct buffers {
    es_buffer weights, bias;
} buffers;

static es_status pack(const es_options *options, buffers *room, es_choice *choice)
{
    es_status status = choice->has_bias ? es_constant_expand(&choice->bias, &room->bias) : ES_OK;
    if (status == ES_OK)
        status = es_op_create(options->isa, choice->decision.format, &choice->operator_.conv, room->weights.data,
                              choice->has_bias ? room->bias.data : NULL, &choice->op);
    if (status == ES_OK)
        snprintf(choice->kernel, sizeof choice->kernel, "%s", es_op_kernel(choice->op));
    return status;
}

static void leave(es_choice *choice, es_status status)
{
    choice->claimed = false;
    snprintf(choice->reason, sizeof choice->reason, "left to TFLite: %s", es_status_message(status));
}

/* An operator by itself: its weights are expanded once, looked at, and packed if they pay. */
static void choose_one(const es_options *options, bool in_cluster, buffers *room, es_choice *choice)
{
    es_status status = es_constant_expand(&choice->weights, &room->weights);
    if (status == ES_OK)
        status = weigh(options, room->weights.data, choice);
    if (status == ES_OK && !in_cluster) {
        settle(options, choice);
        if (choice->claimed && options->plan == NULL)
            status = pack(options, room, choice);
    }
    if (status != ES_OK)
        leave(choice, status);
}

/* In a cluster that runs sparse XNNPACK keeps its channel-major layout, in which the operators between the convolutions
 * take fewer instructions: what is lost by breaking it, as a share of the dense convolutions' cost, counted on
 * MobileNetV1 and V2. */
static const double broken_cluster = 0.05;

/* The operators of one of XNNPACK's clusters together: all of them are its, or each is decided by itself. */
static void choose_cluster(const es_options *options, const es_clusters *clusters, int cluster, buffers *room,
                           es_choices *choices)
{
    double ours = 0, theirs = 0, zeros = 0, weights_all = 0;
    for (size_t i = 0; i < choices->count; ++i) {
        const es_choice *choice = &choices->all[i];
        if (clusters->of[choice->place] != cluster || !choice->considered)
            continue;
        const es_decision *d = &choice->decision;
        ours += (d->sparse_us < d->dense_us ? d->sparse_us : d->dense_us) + broken_cluster * d->dense_us;
        theirs += es_xnnpack_sparse_us(target_of(options), &choice->operator_.conv, &choice->zeros);
        if (choice->operator_.conv.k_h == 1) {
            const double all = (double)choice->zeros.rows * (double)choice->zeros.columns;
            weights_all += all;
            zeros += all - (double)choice->zeros.nonzeros;
        }
    }
    const bool left = options->claim == ES_CLAIM_AUTO && 3 * zeros > 2 * weights_all && theirs <= ours;
    for (size_t i = 0; i < choices->count; ++i) {
        es_choice *choice = &choices->all[i];
        if (clusters->of[choice->place] != cluster || !choice->considered)
            continue;
        if (left) {
            snprintf(choice->reason, sizeof choice->reason,
                     "left to XNNPACK's own sparse path, predicted to run this cluster %.2f times as fast as these kernels",
                     ours / theirs);
            continue;
        }
        settle(options, choice);
        if (!choice->claimed || options->plan != NULL)
            continue;
        es_status status = es_constant_expand(&choice->weights, &room->weights);
        if (status == ES_OK)
            status = pack(options, room, choice);
        if (status != ES_OK)
            leave(choice, status);
    }
}

static double now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

bool es_choose(const es_graph *graph, const es_options *options, es_choices *choices, char *sentence, size_t length)
{
    const double begin = now_ms();
    *choices = (es_choices){0};
    choices->all = calloc(graph->node_count + 1, sizeof *choices->all);
    if (choices->all == NULL) {
        snprintf(sentence, length, "%s", es_status_message(ES_OUT_OF_MEMORY));
        return false;
    }
    for (size_t place = 0; place < graph->node_count; ++place) {
        const int code = graph->registrations[place]->builtin_code;
        if (code != TFL_CONV_2D && code != TFL_FULLY_CONNECTED)
            continue;
        es_choice *choice = &choices->all[choices->count++];
        choice->place = place;
        choice->node = graph->node_index[place];
        choice->name = code == TFL_CONV_2D ? "CONV_2D" : "FULLY_CONNECTED";
        choice->decision.format = ES_FORMAT_NONE;
        const tfl_tensor *output = es_graph_tensor(graph, graph->nodes[place]->outputs, 0);
        choice->output = output != NULL ? output->name : NULL;
        const char *refusal = read_operator(graph, graph->nodes[place], code, choice);
        if (refusal != NULL)
            snprintf(choice->reason, sizeof choice->reason, "%s", refusal);
    }

    es_clusters clusters;
    if (!es_clusters_find(graph, &clusters)) {
        snprintf(sentence, length, "%s", es_status_message(ES_OUT_OF_MEMORY));
        es_choices_free(choices);
        return false;
    }
    buffers room = {0};
    /* Elsewhere XNNPACK has no sparse path, or one of scalar kernels. */
    const bool has_clusters = strncmp(target_of(options), "aarch64", 7) == 0;
    for (size_t i = 0; i < choices->count; ++i)
        if (choices->all[i].reason[0] == '\0')
            choose_one(options, has_clusters && clusters.of[choices->all[i].place] >= 0, &room,
                       &choices->all[i]);
    for (int cluster = 0; has_clusters && cluster < clusters.count; ++cluster)
        choose_cluster(options, &clusters, cluster, &room, choices);
    es_clusters_free(&clusters);
    free(room.weights.data);
    free(room.bias.data);
    for (size_t i = 0; i < choices->count; ++i)
        if (choices->all[i].op != NULL)
            choices->packed_bytes += es_op_packed_bytes(choices->all[i].op);
    choices->packing_ms = now_ms() - begin;
    return true;
}

void es_choices_free(es_choices *choices)
{
    for (size_t i = 0; i < choices->count; ++i)
        es_op_destroy(choices->all[i].op);
    free(choices->all);
    *choices = (es_choices){0};
}
