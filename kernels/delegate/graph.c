#include "graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 1 << 24, MOST_NODES = 1 << 24, MOST_BUILTIN = 4096, MOST_VERSION = 1000 };

bool es_dims_count(const tfl_int_array *dims, size_t *count)
{
    if (dims == NULL || dims->size < 0 || dims->size > ES_MAX_RANK)
        return false;
    size_t product = 1;
    for (int i = 0; i < dims->size; ++i) {
        if (dims->data[i] < 0 || (dims->data[i] != 0 && product > SIZE_MAX / 8 / (size_t)dims->data[i]))
            return false;
        product *= (size_t)dims->data[i];
    }
    *count = product;
    return true;
}

size_t es_tensor_rank(const tfl_tensor *tensor)
{
    size_t count;
    return es_dims_count(tensor->dims, &count) ? (size_t)tensor->dims->size : 0;
}

/* ---- does the ABI match? ------------------------------------------------------------------------------------------ */

static bool context_looks_right(const tfl_context *c)
{
    return c != NULL && c->GetExecutionPlan != NULL && c->ResizeTensor != NULL && c->ReportError != NULL &&
           c->GetNodeAndRegistration != NULL && c->ReplaceNodeSubsetsWithDelegateKernels != NULL &&
           c->tensors_size <= MOST_TENSORS && (c->tensors_size == 0 || c->tensors != NULL) &&
           c->recommended_num_threads >= -1 && c->recommended_num_threads < 1 << 16;
}

/* A constant's bytes are known from its type and dims: a struct that had moved would not agree. */
static bool tensor_looks_right(const tfl_tensor *t)
{
    if (t->type < 0 || t->type >= TFL_TYPE_COUNT || t->allocation_type < 0 || t->allocation_type >= TFL_ALLOCATION_COUNT)
        return false;
    if (t->allocation_type != TFL_MMAP_RO || t->sparsity != NULL || t->data == NULL)
        return true;
    size_t count;
    const size_t element = t->type == TFL_FLOAT32 || t->type == TFL_INT32 ? 4 : t->type == TFL_FLOAT16 ? 2 : t->type == TFL_INT8 ? 1 : 0;
    return element == 0 || (es_dims_count(t->dims, &count) && t->bytes == count * element);
}

static bool abi_matches(const tfl_context *context, char *sentence, size_t length)
{
    static const char mismatch[] = "this TFLite runtime lays out its %s otherwise than TFLite 2.14 to 2.21 and LiteRT "
                                   "1.0 to 2.3 do; use one of those, or leave the edgesparse delegate out";
    if (!context_looks_right(context)) {
        snprintf(sentence, length, mismatch, "context");
        return false;
    }
    for (size_t i = 0; i < context->tensors_size; ++i)
        if (!tensor_looks_right(&context->tensors[i])) {
            snprintf(sentence, length, mismatch, "tensors");
            return false;
        }
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static bool indices_are_tensors(const tfl_int_array *indices, size_t tensor_count)
{
    if (indices == NULL)
        return true;
    if (indices->size < 0)
        return false;
    for (int i = 0; i < indices->size; ++i)
        if (indices->data[i] < -1 || (indices->data[i] >= 0 && (size_t)indices->data[i] >= tensor_count))
            return false;
    return true;
}

static bool read_nodes(es_graph *g, const tfl_int_array *plan, char *sentence, size_t length)
{
    for (size_t i = 0; i < g->node_count; ++i) {
        tfl_node *node = NULL;
        tfl_registration *registration = NULL;
        const int index = plan->data[i];
        if (g->context->GetNodeAndRegistration(g->context, index, &node, &registration) != TFL_OK || node == NULL ||
            registration == NULL || registration->builtin_code < 0 || registration->builtin_code > MOST_BUILTIN ||
            registration->version < 0 || registration->version > MOST_VERSION ||
            !indices_are_tensors(node->inputs, g->tensor_count) ||
            !indices_are_tensors(node->outputs, g->tensor_count)) {
            snprintf(sentence, length, "node %d of the model's plan names tensors or an operator that do not exist",
                     index);
            return false;
        }
        g->node_index[i] = index;
        g->nodes[i] = node;
        g->registrations[i] = registration;
        for (int k = 0; node->inputs != NULL && k < node->inputs->size; ++k)
            if (node->inputs->data[k] >= 0)
                ++g->consumers[node->inputs->data[k]];
        for (int k = 0; node->outputs != NULL && k < node->outputs->size; ++k)
            if (node->outputs->data[k] >= 0)
                g->producer[node->outputs->data[k]] = (int)i;
    }
    return true;
}

bool es_graph_read(tfl_context *context, es_graph *graph, char *sentence, size_t length)
{
    *graph = (es_graph){.context = context};
    if (!abi_matches(context, sentence, length))
        return false;
    tfl_int_array *plan = NULL;
    if (context->GetExecutionPlan(context, &plan) != TFL_OK || plan == NULL || plan->size < 0 ||
        plan->size > MOST_NODES) {
        snprintf(sentence, length, "the interpreter gives no execution plan");
        return false;
    }
    graph->node_count = (size_t)plan->size;
    graph->tensor_count = context->tensors_size;
    const size_t nodes = graph->node_count + 1, tensors = graph->tensor_count + 1;  /* calloc(0) may give NULL */
    graph->node_index = calloc(nodes, sizeof *graph->node_index);
    graph->nodes = calloc(nodes, sizeof *graph->nodes);
    graph->registrations = calloc(nodes, sizeof *graph->registrations);
    graph->producer = calloc(tensors, sizeof *graph->producer);
    graph->consumers = calloc(tensors, sizeof *graph->consumers);
    if (!graph->node_index || !graph->nodes || !graph->registrations || !graph->producer || !graph->consumers) {
        snprintf(sentence, length, "%s", es_status_message(ES_OUT_OF_MEMORY));
        es_graph_free(graph);
        return false;
    }
    for (size_t i = 0; i < graph->tensor_count; ++i)
        graph->producer[i] = -1;
    if (!read_nodes(graph, plan, sentence, length)) {
        es_graph_free(graph);
        return false;
    }
    return true;
}

void es_graph_free(es_graph *graph)
{
    free(graph->node_index);
    free(graph->nodes);
    free(graph->registrations);
    free(graph->producer);
    free(graph->consumers);
    *graph = (es_graph){0};
}

tfl_tensor *es_graph_tensor(const es_graph *graph, const tfl_int_array *indices, int i)
{
    if (indices == NULL || i >= indices->size || indices->data[i] < 0)
        return NULL;
    return &graph->context->tensors[indices->data[i]];
}

int es_graph_pad(const es_graph *graph, int tensor, int32_t amounts[8])
{
    const int place = tensor < 0 ? -1 : graph->producer[tensor];
    if (place < 0 || graph->registrations[place]->builtin_code != TFL_PAD)
        return -1;
    const tfl_int_array *inputs = graph->nodes[place]->inputs;
    const tfl_tensor *paddings = es_graph_tensor(graph, inputs, 1);
    if (es_graph_tensor(graph, inputs, 0) == NULL || paddings == NULL || paddings->type != TFL_INT32 ||
        paddings->allocation_type != TFL_MMAP_RO || paddings->data == NULL || paddings->bytes != 8 * sizeof *amounts)
        return -1;
    memcpy(amounts, paddings->data, 8 * sizeof *amounts);
    for (int i = 0; i < 8; ++i)
        if (amounts[i] < 0 || ((i < 2 || i > 5) && amounts[i] != 0))
            return -1;
    return place;
}

/* ---- constants ---------------------------------------------------------------------------------------------------- */

/* `indirect`: on its way the constant is expanded, or made float. */
static const char *read_type(const tfl_tensor *tensor, bool indirect, es_type *type)
{
    switch (tensor->type) {
    case TFL_FLOAT32: *type = ES_FLOAT32; return NULL;
    case TFL_FLOAT16: *type = ES_FLOAT16; return NULL;
    case TFL_INT8: *type = ES_INT8; break;
    case TFL_INT32: *type = ES_INT32; break;
    default: return "it is neither float32, float16 nor int8";
    }
    return indirect || tensor->sparsity != NULL ? "whole numbers are read only as they are, not expanded or made float" : NULL;
}

const char *es_graph_constant(const es_graph *graph, int index, es_constant *constant)
{
    *constant = (es_constant){.through = {-1, -1}};
    if (index < 0 || (size_t)index >= graph->tensor_count)
        return "there is no such tensor";
    if (!es_dims_count(graph->context->tensors[index].dims, &constant->count) || constant->count == 0)
        return "the constant has no size";
    for (int step = 0;; ++step) {
        const tfl_tensor *tensor = &graph->context->tensors[index];
        size_t count;
        if (!es_dims_count(tensor->dims, &count) || count != constant->count)
            return "the constant changes its size on the way to its user";
        const int producer = graph->producer[index];
        if (producer < 0) {
            if (tensor->allocation_type != TFL_MMAP_RO || tensor->data == NULL)
                return "it is computed, not constant";
            constant->tensor = tensor;
            return read_type(tensor, step > 0, &constant->type);
        }
        const int code = graph->registrations[producer]->builtin_code;
        if (step == 2 || (code != TFL_DENSIFY && code != TFL_DEQUANTIZE))
            return "it is computed, not constant";
        const tfl_node *node = graph->nodes[producer];
        if (node->inputs == NULL || node->inputs->size != 1 || node->inputs->data[0] < 0)
            return "it is computed, not constant";
        constant->through[step] = producer;
        index = node->inputs->data[0];
    }
}

/* ---- quantisation --------------------------------------------------------------------------------------------------- */

bool es_tensor_quantization(const tfl_tensor *tensor, int dimension, size_t channels, const float **scales, size_t *count,
                            int32_t *zero)
{
    const tfl_affine_quantization *q = tensor->quantization.params;
    if (tensor->quantization.type != TFL_AFFINE || q == NULL || q->scale == NULL || q->zero_point == NULL ||
        q->scale->size <= 0 || q->zero_point->size <= 0 ||
        (q->scale->size > 1 && ((size_t)q->scale->size != channels || q->quantized_dimension != dimension)) ||
        (q->zero_point->size > 1 && q->zero_point->size != q->scale->size))
        return false;
    for (int i = 1; i < q->zero_point->size; ++i)
        if (q->zero_point->data[i] != q->zero_point->data[0])
            return false;
    if (q->zero_point->data[0] < INT8_MIN || q->zero_point->data[0] > INT8_MAX)
        return false;
    *scales = q->scale->data;
    *count = (size_t)q->scale->size;
    *zero = q->zero_point->data[0];
    return true;
}

static bool read_array(const tfl_int_array *from, es_array *to)
{
    *to = (es_array){0};
    if (from == NULL)
        return true;
    if (from->size < 0)
        return false;
    *to = (es_array){.size = (size_t)from->size, .data = from->data};
    return true;
}

static es_status read_sparsity(const tfl_sparsity *from, es_dimension *dimensions, es_sparsity *to)
{
    if (from->dim_metadata_size <= 0 || from->dim_metadata_size > ES_MAX_RANK || from->dim_metadata == NULL)
        return ES_BAD_RANK;
    if (!read_array(from->traversal_order, &to->traversal_order))
        return ES_BAD_TRAVERSAL;
    if (!read_array(from->block_map, &to->block_map))
        return ES_BAD_BLOCK_MAP;
    to->dimension_count = (size_t)from->dim_metadata_size;
    to->dimensions = dimensions;
    for (size_t i = 0; i < to->dimension_count; ++i) {
        const tfl_dimension *d = &from->dim_metadata[i];
        if (d->format != 0 && d->format != 1)
            return ES_BAD_DIMENSION;
        dimensions[i] = (es_dimension){.csr = d->format == 1, .dense_size = d->dense_size};
        if (dimensions[i].csr && (!read_array(d->array_segments, &dimensions[i].segments) ||
                                  !read_array(d->array_indices, &dimensions[i].indices)))
            return ES_BAD_SEGMENTS;
    }
    return ES_OK;
}

es_status es_constant_expand(const es_constant *constant, es_buffer *buffer)
{
    const tfl_tensor *tensor = constant->tensor;
    es_dimension dimensions[ES_MAX_RANK];
    es_sparsity sparsity;
    if (tensor->sparsity != NULL) {
        const es_status status = read_sparsity(tensor->sparsity, dimensions, &sparsity);
        if (status != ES_OK)
            return status;
    }
    if (constant->count > buffer->count) {
        if (constant->count > SIZE_MAX / sizeof(float))
            return ES_TOO_LARGE;
        free(buffer->data);
        buffer->data = malloc(constant->count * sizeof *buffer->data);
        buffer->count = buffer->data != NULL ? constant->count : 0;
        if (buffer->data == NULL)
            return ES_OUT_OF_MEMORY;
    }
    const size_t element = constant->type == ES_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
    return es_expand(tensor->sparsity != NULL ? &sparsity : NULL, tensor->dims->data, (size_t)tensor->dims->size,
                     constant->type, tensor->data, tensor->bytes / element, buffer->data, constant->count);
}
