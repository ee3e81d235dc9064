#include "cluster.h"

#include <stdlib.h>
#include <string.h>

/* ---- what XNNPACK asks of an operator ------------------------------------------------------------------------------- */

static const tfl_tensor *input_of(const es_graph *graph, size_t place, int i)
{
    return es_graph_tensor(graph, graph->nodes[place]->inputs, i);
}

static int code_of(const es_graph *graph, size_t place)
{
    return graph->registrations[place]->builtin_code;
}

/* A PAD that adds `amount` around height and width and nothing elsewhere. */
static bool pads_by(const es_graph *graph, int tensor, int amount)
{
    const int32_t wanted[8] = {0, 0, amount, amount, amount, amount, 0, 0};
    int32_t amounts[8];
    return es_graph_pad(graph, tensor, amounts) >= 0 && memcmp(amounts, wanted, sizeof wanted) == 0;
}

/* SAME adds `amount` on every side by itself. */
static bool same_is_symmetric(const tfl_tensor *input, int kernel, int stride, int amount)
{
    for (int axis = 1; axis <= 2; ++axis) {
        const int in = input->dims->data[axis], out = (in + stride - 1) / stride;
        if ((out - 1) * stride + kernel - in != 2 * amount)
            return false;
    }
    return true;
}

static bool padded_by(const es_graph *graph, size_t place, int padding, int kernel, int stride, int amount)
{
    const tfl_tensor *input = input_of(graph, place, 0);
    if (input == NULL || es_tensor_rank(input) != 4)
        return false;
    if (padding == TFL_VALID)
        return amount == 0 || pads_by(graph, graph->nodes[place]->inputs->data[0], amount);
    return same_is_symmetric(input, kernel, stride, amount);
}

static bool square(const tfl_tensor *filter, int size)
{
    return filter != NULL && es_tensor_rank(filter) == 4 && filter->dims->data[1] == size && filter->dims->data[2] == size;
}

static bool is_float(const tfl_tensor *tensor)
{
    return tensor != NULL && tensor->type == TFL_FLOAT32;
}

static bool opens(const es_graph *graph, size_t place)
{
    const tfl_conv_params *p = graph->nodes[place]->builtin_data;
    const tfl_tensor *filter = input_of(graph, place, 1);
    return code_of(graph, place) == TFL_CONV_2D && p != NULL && is_float(input_of(graph, place, 0)) && square(filter, 3) &&
           filter->dims->data[3] == 3 && p->stride_width == 2 && p->stride_height == 2 && p->dilation_width == 1 &&
           p->dilation_height == 1 && padded_by(graph, place, p->padding, 3, 2, 1);
}

static bool pointwise(const es_graph *graph, size_t place)
{
    const tfl_conv_params *p = graph->nodes[place]->builtin_data;
    return p != NULL && square(input_of(graph, place, 1), 1) && p->stride_width == 1 && p->stride_height == 1;
}

static bool depthwise(const es_graph *graph, size_t place)
{
    const tfl_depthwise_params *p = graph->nodes[place]->builtin_data;
    const tfl_tensor *filter = input_of(graph, place, 1);
    const int size = square(filter, 3) ? 3 : square(filter, 5) ? 5 : 0;
    return p != NULL && size != 0 && p->depth_multiplier == 1 && p->dilation_width == 1 && p->dilation_height == 1 &&
           p->stride_width == p->stride_height && (p->stride_width == 1 || p->stride_width == 2) &&
           padded_by(graph, place, p->padding, size, p->stride_width, size / 2);
}

static bool four_dimensional(const es_graph *graph, size_t place)
{
    for (int i = 0; i < graph->nodes[place]->inputs->size; ++i) {
        const tfl_tensor *input = input_of(graph, place, i);
        if (input == NULL || es_tensor_rank(input) != 4)
            return false;
    }
    return true;
}

static bool belongs(const es_graph *graph, size_t place)
{
    switch (code_of(graph, place)) {
    case TFL_CONV_2D: return pointwise(graph, place);
    case TFL_DEPTHWISE_CONV_2D: return depthwise(graph, place);
    case TFL_PAD: return true;          /* its reader checks what it adds */
    case TFL_RESIZE_BILINEAR: return true;
    case TFL_ADD: case TFL_MUL: case TFL_LOGISTIC: case TFL_RELU: case TFL_RELU_N1_TO_1: case TFL_RELU6: case TFL_TANH:
    case TFL_LEAKY_RELU: case TFL_ABS: case TFL_HARD_SWISH: return four_dimensional(graph, place);
    default: return false;
    }
}

static bool closes(const es_graph *graph, size_t place)
{
    const int code = code_of(graph, place);
    return code == TFL_MEAN || code == TFL_AVERAGE_POOL_2D || code == TFL_DEPTH_TO_SPACE;
}

/* ---- the walk ------------------------------------------------------------------------------------------------------- */

static bool sparse_weights(const es_graph *graph, size_t place)
{
    es_constant weights;
    return es_graph_constant(graph, graph->nodes[place]->inputs->data[1], &weights) == NULL &&
           weights.tensor->sparsity != NULL && weights.through[0] >= 0 &&
           code_of(graph, (size_t)weights.through[0]) == TFL_DENSIFY;
}

/* Marks the nodes of the cluster that `start` opens; false: something in it does not belong. */
static bool walk(const es_graph *graph, size_t start, bool *reached, int *of, int cluster)
{
    bool sparse = false, closed = false;
    memset(reached, 0, graph->tensor_count * sizeof *reached);
    for (size_t place = start; place < graph->node_count; ++place) {
        const tfl_node *node = graph->nodes[place];
        if (node->inputs == NULL || node->outputs == NULL)
            return false;
        bool reads = place == start, all = true;
        for (int i = 0; i < node->inputs->size; ++i) {
            const int tensor = node->inputs->data[i];
            if (tensor < 0)
                continue;
            reads |= reached[tensor];
            if (!reached[tensor] && graph->context->tensors[tensor].allocation_type != TFL_MMAP_RO &&
                code_of(graph, place) != TFL_CONV_2D && code_of(graph, place) != TFL_DEPTHWISE_CONV_2D)
                all = false;
        }
        if (!reads)
            continue;
        if (place != start && closes(graph, place)) {
            closed = true;
            of[place] = cluster;
            continue;
        }
        if (place != start && (!all || node->outputs->size != 1 || !belongs(graph, place)))
            return false;
        if (place != start && code_of(graph, place) == TFL_CONV_2D)
            sparse |= sparse_weights(graph, place);
        of[place] = cluster;
        if (node->outputs->size > 0 && node->outputs->data[0] >= 0)
            reached[node->outputs->data[0]] = true;
    }
    return sparse && closed;
}

bool es_clusters_find(const es_graph *graph, es_clusters *clusters)
{
    *clusters = (es_clusters){0};
    clusters->of = calloc(graph->node_count + 1, sizeof *clusters->of);
    bool *reached = calloc(graph->tensor_count + 1, sizeof *reached);
    if (clusters->of == NULL || reached == NULL) {
        free(clusters->of);
        free(reached);
        return false;
    }
    for (size_t place = 0; place < graph->node_count; ++place)
        clusters->of[place] = -1;
    for (size_t place = 0; place < graph->node_count; ++place) {
        if (clusters->of[place] >= 0 || !opens(graph, place))
            continue;
        if (walk(graph, place, reached, clusters->of, clusters->count))
            ++clusters->count;
        else
            for (size_t i = 0; i < graph->node_count; ++i)
                if (clusters->of[i] == clusters->count)
                    clusters->of[i] = -1;
    }
    free(reached);
    return true;
}

void es_clusters_free(es_clusters *clusters)
{
    free(clusters->of);
    *clusters = (es_clusters){0};
}
