#include "fake_tflite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fake_model *model_of(tfl_context *context)
{
    return (fake_model *)(void *)context;
}

static void *checked(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

tfl_int_array *fake_array(int size, const int *values)
{
    tfl_int_array *array = checked(malloc(sizeof *array + (size_t)size * sizeof *array->data));
    array->size = size;
    if (size > 0)
        memcpy(array->data, values, (size_t)size * sizeof *array->data);
    return array;
}

/* ---- the context's functions --------------------------------------------------------------------------------------- */

static tfl_status get_plan(tfl_context *context, tfl_int_array **plan)
{
    *plan = model_of(context)->plan;
    return TFL_OK;
}

static tfl_status resize(tfl_context *context, tfl_tensor *tensor, tfl_int_array *size)
{
    (void)context;
    if (tensor->allocation_type == TFL_MMAP_RO) {
        free(size);
        return TFL_ERROR;
    }
    free(tensor->dims);
    free(tensor->data);
    tensor->dims = size;
    tensor->data = NULL;
    return TFL_OK;
}

static void report(tfl_context *context, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(model_of(context)->error, sizeof model_of(context)->error, format, arguments);
    va_end(arguments);
}

static tfl_status get_node(tfl_context *context, int index, tfl_node **node, tfl_registration **registration)
{
    fake_model *model = model_of(context);
    if (index < 0 || (size_t)index >= model->node_count)
        return TFL_ERROR;
    *node = &model->nodes[index].node;
    *registration = &model->nodes[index].registration;
    return TFL_OK;
}

static bool holds(const tfl_int_array *array, int value)
{
    for (int i = 0; array != NULL && i < array->size; ++i)
        if (array->data[i] == value)
            return true;
    return false;
}

static void append(tfl_int_array *array, int value)
{
    if (!holds(array, value))
        array->data[array->size++] = value;
}

static bool used_outside(const fake_model *model, const tfl_int_array *inside, int tensor)
{
    if (tensor == model->output)
        return true;
    for (int p = 0; p < model->plan->size; ++p) {
        const int node = model->plan->data[p];
        if (!holds(inside, node) && holds(model->nodes[node].node.inputs, tensor))
            return true;
    }
    return false;
}

/* Nodes next to each other in the plan become an island. */
static int add_island(fake_model *model, const tfl_registration *registration, tfl_int_array *inside, tfl_delegate *delegate)
{
    if (model->node_count == 2 * FAKE_NODES)
        return -1;
    const int none[FAKE_TENSORS] = {0};
    tfl_int_array *inputs = fake_array(FAKE_TENSORS, none), *outputs = fake_array(FAKE_TENSORS, none);
    inputs->size = outputs->size = 0;
    for (int i = 0; i < inside->size; ++i) {
        const tfl_node *node = &model->nodes[inside->data[i]].node;
        for (int k = 0; node->inputs != NULL && k < node->inputs->size; ++k)
            if (node->inputs->data[k] >= 0 && !holds(outputs, node->inputs->data[k]))
                append(inputs, node->inputs->data[k]);
        for (int k = 0; node->outputs != NULL && k < node->outputs->size; ++k)
            if (node->outputs->data[k] >= 0 && used_outside(model, inside, node->outputs->data[k]))
                append(outputs, node->outputs->data[k]);
    }
    const int index = (int)model->node_count++;
    fake_node *island = &model->nodes[index];
    *island = (fake_node){.registration = *registration};
    island->params = (tfl_delegate_params){delegate, inside, inputs, outputs};
    island->node.inputs = fake_array(inputs->size, inputs->data);
    island->node.outputs = fake_array(outputs->size, outputs->data);
    island->node.delegate = delegate;
    island->node.user_data = registration->init(&model->context, (const char *)&island->params, sizeof island->params);
    return index;
}

static tfl_status replace(tfl_context *context, tfl_registration registration, const tfl_int_array *nodes,
                          tfl_delegate *delegate)
{
    fake_model *model = model_of(context);
    tfl_int_array *plan = fake_array(model->plan->size, model->plan->data);
    plan->size = 0;
    for (int p = 0; p < model->plan->size;) {
        int end = p;
        while (end < model->plan->size && holds(nodes, model->plan->data[end]))
            ++end;
        if (end == p) {
            plan->data[plan->size++] = model->plan->data[p++];
            continue;
        }
        const int island = add_island(model, &registration, fake_array(end - p, model->plan->data + p), delegate);
        if (island < 0)
            abort();
        plan->data[plan->size++] = island;
        p = end;
    }
    free(model->plan);
    model->plan = plan;
    return TFL_OK;
}

/* ---- building ------------------------------------------------------------------------------------------------------ */

fake_model *fake_new(void)
{
    fake_model *model = checked(calloc(1, sizeof *model));
    model->context = (tfl_context){
        .tensors = model->tensors,
        .GetExecutionPlan = get_plan,
        .ResizeTensor = resize,
        .ReportError = report,
        .GetNodeAndRegistration = get_node,
        .ReplaceNodeSubsetsWithDelegateKernels = replace,
        .recommended_num_threads = 1,
    };
    const int none[FAKE_NODES] = {0};
    model->plan = fake_array(FAKE_NODES, none);
    model->plan->size = 0;
    model->output = -1;
    return model;
}

int fake_tensor(fake_model *model, int type, int allocation, int rank, const int *dims)
{
    if (model->context.tensors_size == FAKE_TENSORS)
        return -1;
    const int index = (int)model->context.tensors_size++;
    model->tensors[index] = (tfl_tensor){.type = type, .allocation_type = allocation, .dims = fake_array(rank, dims),
                                         .name = "tensor"};
    return index;
}

int fake_node_add(fake_model *model, int code, int input_count, const int *inputs, int output, const void *params,
                  size_t params_bytes)
{
    if (model->node_count == FAKE_NODES)
        return -1;
    const int index = (int)model->node_count++;
    fake_node *n = &model->nodes[index];
    n->node.inputs = fake_array(input_count, inputs);
    n->node.outputs = fake_array(1, &output);
    if (params != NULL) {
        n->node.builtin_data = checked(malloc(params_bytes));
        memcpy(n->node.builtin_data, params, params_bytes);
    }
    n->registration.builtin_code = code;
    n->registration.version = 1;
    model->plan->data[model->plan->size++] = index;
    return index;
}

void fake_data(fake_model *model, int tensor, const void *data, size_t bytes)
{
    tfl_tensor *t = &model->tensors[tensor];
    free(t->data);
    t->data = checked(malloc(bytes + (bytes == 0)));
    t->bytes = bytes;
    if (bytes > 0)
        memcpy(t->data, data, bytes);
}

static tfl_int_array *copy_array(const es_array *array)
{
    return array->data == NULL ? NULL : fake_array((int)array->size, array->data);
}

void fake_sparsity(fake_model *model, int tensor, const es_sparsity *from)
{
    tfl_sparsity *to = checked(calloc(1, sizeof *to));
    to->traversal_order = copy_array(&from->traversal_order);
    to->block_map = copy_array(&from->block_map);
    to->dim_metadata_size = (int)from->dimension_count;
    to->dim_metadata = checked(calloc(from->dimension_count + 1, sizeof *to->dim_metadata));
    for (size_t i = 0; i < from->dimension_count; ++i) {
        const es_dimension *d = &from->dimensions[i];
        to->dim_metadata[i] = (tfl_dimension){.format = d->csr, .dense_size = d->dense_size};
        if (d->csr) {
            to->dim_metadata[i].array_segments = copy_array(&d->segments);
            to->dim_metadata[i].array_indices = copy_array(&d->indices);
        }
    }
    model->tensors[tensor].sparsity = to;
}

void fake_quantization(fake_model *model, int tensor, const float *scales, int scale_count, const int *zeros, int zero_count,
                       int dimension)
{
    tfl_affine_quantization *to = checked(calloc(1, sizeof *to));
    to->scale = checked(malloc(sizeof *to->scale + (size_t)scale_count * sizeof *scales));
    to->scale->size = scale_count;
    memcpy(to->scale->data, scales, (size_t)scale_count * sizeof *scales);
    to->zero_point = fake_array(zero_count, zeros);
    to->quantized_dimension = dimension;
    model->tensors[tensor].quantization.type = TFL_AFFINE;
    model->tensors[tensor].quantization.params = to;
}

static void free_quantization(tfl_affine_quantization *quantization)
{
    if (quantization == NULL)
        return;
    free(quantization->scale);
    free(quantization->zero_point);
    free(quantization);
}

static void free_sparsity(tfl_sparsity *sparsity)
{
    if (sparsity == NULL)
        return;
    for (int i = 0; i < sparsity->dim_metadata_size; ++i) {
        free(sparsity->dim_metadata[i].array_segments);
        free(sparsity->dim_metadata[i].array_indices);
    }
    free(sparsity->dim_metadata);
    free(sparsity->traversal_order);
    free(sparsity->block_map);
    free(sparsity);
}

void fake_free(fake_model *model)
{
    for (size_t i = 0; i < model->node_count; ++i) {
        fake_node *n = &model->nodes[i];
        if (n->params.delegate != NULL && n->registration.free != NULL)
            n->registration.free(&model->context, n->node.user_data);
        free(n->params.nodes_to_replace);
        free(n->params.input_tensors);
        free(n->params.output_tensors);
        free(n->node.inputs);
        free(n->node.outputs);
        free(n->node.builtin_data);
    }
    for (size_t i = 0; i < model->context.tensors_size; ++i) {
        free(model->tensors[i].dims);
        free(model->tensors[i].data);
        free_sparsity(model->tensors[i].sparsity);
        free_quantization(model->tensors[i].quantization.params);
    }
    free(model->plan);
    free(model);
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

tfl_status fake_apply(fake_model *model, tfl_delegate *delegate)
{
    return delegate->Prepare(&model->context, delegate);
}

static size_t bytes_of(const tfl_tensor *tensor)
{
    size_t bytes = 4;
    for (int i = 0; i < tensor->dims->size; ++i) {
        const size_t d = tensor->dims->data[i] > 0 ? (size_t)tensor->dims->data[i] : 0;
        if (d != 0 && bytes > SIZE_MAX / d)
            return SIZE_MAX;
        bytes *= d;
    }
    return bytes;
}

tfl_status fake_allocate(fake_model *model)
{
    for (int p = 0; p < model->plan->size; ++p) {
        fake_node *n = &model->nodes[model->plan->data[p]];
        if (n->params.delegate != NULL && n->registration.prepare(&model->context, &n->node) != TFL_OK)
            return TFL_ERROR;
    }
    for (size_t i = 0; i < model->context.tensors_size; ++i) {
        tfl_tensor *t = &model->tensors[i];
        if (t->allocation_type == TFL_MMAP_RO || t->data != NULL || t->dims == NULL)
            continue;
        t->bytes = bytes_of(t);
        t->data = t->bytes == SIZE_MAX ? NULL : calloc(1, t->bytes + (t->bytes == 0));
        if (t->data == NULL)
            return TFL_ERROR;
    }
    return TFL_OK;
}

static tfl_status run_relu(fake_model *model, const tfl_node *node)
{
    const tfl_tensor *from = &model->tensors[node->inputs->data[0]], *to = &model->tensors[node->outputs->data[0]];
    if (from->bytes != to->bytes)
        return TFL_ERROR;
    for (size_t i = 0; i < from->bytes / sizeof(float); ++i)
        ((float *)to->data)[i] = ((const float *)from->data)[i] > 0 ? ((const float *)from->data)[i] : 0;
    return TFL_OK;
}

/* As much as a test needs: one picture, as wide as its tensor says. */
static tfl_status run_pad(fake_model *model, const tfl_node *node)
{
    const tfl_tensor *from = &model->tensors[node->inputs->data[0]], *to = &model->tensors[node->outputs->data[0]];
    const int32_t *amounts = model->tensors[node->inputs->data[1]].data;
    const int height = from->dims->data[1], width = from->dims->data[2], channels = from->dims->data[3];
    memset(to->data, 0, to->bytes);
    for (int y = 0; y < height; ++y)
        memcpy((float *)to->data + ((y + amounts[2]) * to->dims->data[2] + amounts[4]) * channels, (const float *)from->data + y * width * channels,
               (size_t)(width * channels) * sizeof(float));
    return TFL_OK;
}

tfl_status fake_invoke(fake_model *model)
{
    for (int p = 0; p < model->plan->size; ++p) {
        fake_node *n = &model->nodes[model->plan->data[p]];
        tfl_status status = TFL_OK;
        if (n->params.delegate != NULL)
            status = n->registration.invoke(&model->context, &n->node);
        else if (model->islands_only)
            continue;
        else if (n->registration.builtin_code == TFL_RELU)
            status = run_relu(model, &n->node);
        else if (n->registration.builtin_code == TFL_PAD)
            status = run_pad(model, &n->node);
        if (status != TFL_OK)
            return status;
    }
    return TFL_OK;
}

size_t fake_islands(const fake_model *model)
{
    size_t count = 0;
    for (int p = 0; p < model->plan->size; ++p)
        count += model->nodes[model->plan->data[p]].params.delegate != NULL;
    return count;
}
