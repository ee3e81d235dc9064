#define _GNU_SOURCE     /* sched_getaffinity */
#include "island.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

typedef struct step {
    es_operator operator_;
    es_op *op;                      /* what the operator's kind needs of these; both NULL if nothing is packed */
    es_depthwise *depthwise;
    size_t input_offsets[2], output_offset; /* in the scratch memory; SIZE_MAX: a tensor of the interpreter */
    size_t input_bytes, output_bytes;
} step;

typedef struct island {
    es_delegate *delegate;
    step *steps;
    size_t count;
    size_t scratch_from;            /* the operators' own scratch lies behind the island's tensors */
} island;

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool holds(const tfl_int_array *array, int value)
{
    for (int i = 0; array != NULL && i < array->size; ++i)
        if (array->data[i] == value)
            return true;
    return false;
}

void es_island_free(tfl_context *context, void *buffer)
{
    (void)context;
    island *is = buffer;
    if (is == NULL)
        return;
    for (size_t i = 0; i < is->count; ++i) {
        es_op_destroy(is->steps[i].op);
        es_depthwise_destroy(is->steps[i].depthwise);
    }
    free(is->steps);
    free(is);
}

static es_choice *choice_of(const es_choices *choices, int node)
{
    for (size_t i = 0; i < choices->count; ++i)
        if (choices->all[i].node == node)
            return &choices->all[i];
    return NULL;
}

static const es_choice *choice_at(const es_choices *choices, int place)
{
    for (size_t i = 0; i < choices->count; ++i)
        if ((int)choices->all[i].place == place)
            return &choices->all[i];
    return NULL;
}

/* Steps that read what an earlier one keeps inside. */
static void place_inputs(island *is)
{
    for (size_t i = 0; i < is->count; ++i)
        for (size_t j = 0; j < i; ++j)
            for (int k = 0; k < 2; ++k)
                if (is->steps[j].operator_.output == is->steps[i].operator_.inputs[k] &&
                    is->steps[j].output_offset != SIZE_MAX)
                    is->steps[i].input_offsets[k] = is->steps[j].output_offset;
}

static void take_step(island *is, const es_choices *choices, const tfl_delegate_params *params, int node)
{
    es_choice *choice = choice_of(choices, node);
    if (choice == NULL || !choice->claimed)
        return;                     /* a DENSIFY or DEQUANTIZE: its constant is packed already */
    const bool outside = holds(params->output_tensors, choice->operator_.output);
    if (choice->operator_.kind == ES_KIND_PAD && !outside)
        return;                     /* all its readers are here and pad by themselves */
    step *s = &is->steps[is->count++];
    *s = (step){.operator_ = choice->operator_, .op = choice->op, .depthwise = choice->depthwise,
                .input_offsets = {SIZE_MAX, SIZE_MAX}, .output_offset = outside ? SIZE_MAX : 0};
    choice->op = NULL;              /* the island's now */
    choice->depthwise = NULL;
    /* The input of a PAD elsewhere may be gone when this island runs: its output is not. */
    const es_choice *pad = choice->operator_.pad < 0 ? NULL : choice_at(choices, choice->operator_.pad);
    if (pad != NULL && !holds(params->nodes_to_replace, pad->node))
        es_operator_detach_pad(&s->operator_, pad->operator_.output);
}

void *es_island_init(tfl_context *context, const char *buffer, size_t length)
{
    (void)context;
    (void)length;
    const tfl_delegate_params *params = (const tfl_delegate_params *)(const void *)buffer;
    if (params == NULL || params->delegate == NULL || params->nodes_to_replace == NULL)
        return NULL;
    es_delegate *delegate = params->delegate->data;
    if (delegate == NULL || delegate->choices == NULL)
        return NULL;
    island *is = calloc(1, sizeof *is);
    if (is == NULL)
        return NULL;
    is->delegate = delegate;
    is->steps = calloc((size_t)params->nodes_to_replace->size + 1, sizeof *is->steps);
    if (is->steps == NULL) {
        free(is);
        return NULL;
    }
    for (int i = 0; i < params->nodes_to_replace->size; ++i)
        take_step(is, delegate->choices, params, params->nodes_to_replace->data[i]);
    place_inputs(is);
    return is;
}

static tfl_int_array *output_dims(const es_operator *op, const es_conv *conv, const tfl_int_array *input)
{
    const bool fully_connected = op->kind == ES_KIND_FULLY_CONNECTED;
    const bool picture = !fully_connected && (op->kind != ES_KIND_MEAN || op->keep_dims);
    const int rank = picture ? 4 : fully_connected && op->keep_dims ? input->size : 2;
    tfl_int_array *dims = malloc(sizeof *dims + (size_t)rank * sizeof *dims->data);
    if (dims == NULL)
        return NULL;
    dims->size = rank;
    if (picture) {
        const int nhwc[] = {conv->batch, conv->out_h, conv->out_w, conv->out_c};
        memcpy(dims->data, nhwc, sizeof nhwc);
        return dims;
    }
    if (fully_connected && op->keep_dims)
        memcpy(dims->data, input->data, (size_t)rank * sizeof *dims->data);
    else
        dims->data[0] = conv->batch;
    dims->data[rank - 1] = conv->out_c;
    return dims;
}

static bool same_dims(const tfl_int_array *a, const tfl_int_array *b)
{
    return a != NULL && a->size == b->size && memcmp(a->data, b->data, (size_t)a->size * sizeof *a->data) == 0;
}

static bool reads(const step *s, int tensor)
{
    return s->operator_.inputs[0] == tensor || s->operator_.inputs[1] == tensor;
}

static size_t last_reader(const island *is, size_t producer)
{
    size_t last = producer;
    for (size_t i = producer + 1; i < is->count; ++i)
        if (reads(&is->steps[i], is->steps[producer].operator_.output))
            last = i;
    return last;
}

/* First fit: the lowest place that overlaps no inner tensor alive at the same time. Returns the bytes of all. */
static size_t place_inner_tensors(island *is)
{
    size_t total = 0;
    for (size_t i = 0; i < is->count; ++i) {
        step *s = &is->steps[i];
        if (s->output_offset == SIZE_MAX)
            continue;
        size_t offset = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (size_t j = 0; j < i; ++j) {
                const size_t other = is->steps[j].output_offset;
                if (other == SIZE_MAX || last_reader(is, j) < i || other + round_up(is->steps[j].output_bytes) <= offset ||
                    offset + round_up(s->output_bytes) <= other)
                    continue;
                offset = other + round_up(is->steps[j].output_bytes);
                moved = true;
            }
        }
        s->output_offset = offset;
        if (offset + round_up(s->output_bytes) > total)
            total = offset + round_up(s->output_bytes);
    }
    place_inputs(is);
    return total;
}

static bool grow_scratch(es_delegate *delegate, size_t bytes)
{
    if (delegate->scratch != NULL && bytes <= delegate->scratch_bytes)
        return true;
    char *grown = aligned_alloc(ALIGNMENT, round_up(bytes + 1));
    if (grown == NULL)
        return false;
    free(delegate->scratch);
    delegate->scratch = grown;
    delegate->scratch_bytes = round_up(bytes + 1);
    return true;
}

/* Threads beyond the CPUs that the process may use would only wait for each other. */
static int usable_cpus(void)
{
    cpu_set_t cpus;
    const int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 0;
    return count > 0 ? count : INT_MAX;
}

int es_delegate_threads(const es_delegate *delegate, const tfl_context *context)
{
    if (delegate->options.threads > 0)
        return delegate->options.threads;
    const int asked = context->recommended_num_threads, usable = usable_cpus();
    return asked < 1 ? 1 : asked < usable ? asked : usable;
}

static es_status reshape_packed(const step *s, const es_conv *conv)
{
    if (s->op != NULL)
        return es_op_reshape(s->op, conv);
    return s->depthwise != NULL ? es_depthwise_reshape(s->depthwise, conv) : ES_OK;
}

/* A size other than the file's: an addition's inputs may no longer fit each other. */
static bool inputs_fit(const tfl_context *context, const es_operator *op)
{
    const tfl_int_array *a = context->tensors[op->inputs[0]].dims;
    return op->inputs[1] < 0 || (a != NULL && same_dims(context->tensors[op->inputs[1]].dims, a));
}

static es_status shape_of(const tfl_context *context, const es_operator *op, es_conv *conv)
{
    return inputs_fit(context, op) ? es_operator_shape(op, context->tensors[op->inputs[0]].dims, conv) : ES_BAD_SHAPE;
}

static es_status reshape_steps(tfl_context *context, island *is)
{
    for (size_t i = 0; i < is->count; ++i) {
        step *s = &is->steps[i];
        const tfl_int_array *input = context->tensors[s->operator_.inputs[0]].dims;
        tfl_tensor *output = &context->tensors[s->operator_.output];
        es_conv conv;
        es_status status = shape_of(context, &s->operator_, &conv);
        if (status == ES_OK)
            status = reshape_packed(s, &conv);
        if (status != ES_OK)
            return status;
        s->operator_.conv = conv;
        s->input_bytes = es_operator_input_count(&conv) * es_operator_element(&s->operator_);
        s->output_bytes = es_operator_output_count(&conv) * es_operator_element(&s->operator_);
        tfl_int_array *dims = output_dims(&s->operator_, &conv, input);
        if (dims == NULL)
            return ES_OUT_OF_MEMORY;
        if (same_dims(output->dims, dims))
            free(dims);
        else if (context->ResizeTensor(context, output, dims) != TFL_OK)
            return ES_BAD_SHAPE;
    }
    /* In a graph out of order, or with two writers of a tensor, an input may have changed since. */
    for (size_t i = 0; i < is->count; ++i) {
        es_conv conv;
        if (shape_of(context, &is->steps[i].operator_, &conv) != ES_OK ||
            es_operator_input_count(&conv) * es_operator_element(&is->steps[i].operator_) != is->steps[i].input_bytes ||
            es_operator_output_count(&conv) * es_operator_element(&is->steps[i].operator_) != is->steps[i].output_bytes)
            return ES_BAD_SHAPE;
    }
    return ES_OK;
}

static es_status prepare_locked(tfl_context *context, island *is)
{
    es_delegate *delegate = is->delegate;
    es_status status = reshape_steps(context, is);
    const size_t threads = (size_t)es_delegate_threads(delegate, context);
    if (status == ES_OK && threads != es_pool_threads(delegate->pool)) {
        es_pool_destroy(delegate->pool);
        delegate->pool = NULL;
        status = threads > 1 ? es_pool_create(threads, &delegate->pool) : ES_OK;
    }
    if (status == ES_OK) {
        is->scratch_from = place_inner_tensors(is);
        size_t most = 0;
        for (size_t i = 0; i < is->count; ++i) {
            const size_t own = is->steps[i].op != NULL ? es_op_scratch_bytes(is->steps[i].op, threads) : 0;
            most = own > most ? own : most;
        }
        if (!grow_scratch(delegate, is->scratch_from + most))
            status = ES_OUT_OF_MEMORY;
    }
    return status;
}

tfl_status es_island_prepare(tfl_context *context, tfl_node *node)
{
    island *is = node->user_data;
    if (is == NULL) {
        context->ReportError(context, "edgesparse: %s.", es_status_message(ES_OUT_OF_MEMORY));
        return TFL_ERROR;
    }
    pthread_mutex_lock(&is->delegate->lock);
    const es_status status = prepare_locked(context, is);
    pthread_mutex_unlock(&is->delegate->lock);
    if (status == ES_OK)
        return TFL_OK;
    context->ReportError(context, "edgesparse: an operator cannot be prepared for this input: %s.",
                         es_status_message(status));
    return TFL_ERROR;
}

static void run_step(es_delegate *delegate, const step *s, const void *a, const void *b, void *y, void *scratch)
{
    const es_isa *isa = delegate->options.isa;
    const es_conv *conv = &s->operator_.conv;
    const size_t pixels = (size_t)conv->in_h * (size_t)conv->in_w, channels = (size_t)conv->in_c;
    switch (s->operator_.kind) {
    case ES_KIND_CONV:
    case ES_KIND_FULLY_CONNECTED:
        es_op_run(s->op, delegate->pool, a, y, scratch);
        break;
    case ES_KIND_DEPTHWISE:
        if (s->op != NULL)
            es_op_run(s->op, delegate->pool, a, y, scratch);
        else
            es_depthwise_run(s->depthwise, delegate->pool, a, y);
        break;
    case ES_KIND_ADD:
        if (s->operator_.type == ES_INT8)
            es_add_s8(isa, delegate->pool, &s->operator_.addition, a, b, y, es_operator_output_count(conv));
        else
            es_add(isa, delegate->pool, a, b, y, es_operator_output_count(conv), conv->low, conv->high);
        break;
    case ES_KIND_MEAN:
        es_mean(isa, delegate->pool, a, y, (size_t)conv->batch, pixels, channels);
        break;
    case ES_KIND_PAD:
        es_pad(delegate->pool,
               &(es_padding){.images = (size_t)conv->batch, .in_h = (size_t)conv->in_h, .in_w = (size_t)conv->in_w,
                             .channels = channels, .top = (size_t)conv->pad_top, .left = (size_t)conv->pad_left, .bytes = s->operator_.type == ES_INT8,
                             .zero = (int8_t)s->operator_.quantization.output_zero,
                             .out_h = (size_t)conv->out_h, .out_w = (size_t)conv->out_w},
               a, y);
        break;
    }
}

/* NULL: it has no memory, or less than it was prepared for. */
static void *data_of(const tfl_context *context, const es_delegate *delegate, int tensor, size_t offset, size_t bytes)
{
    if (offset != SIZE_MAX)
        return delegate->scratch + offset;
    return context->tensors[tensor].bytes >= bytes ? context->tensors[tensor].data : NULL;
}

tfl_status es_island_invoke(tfl_context *context, tfl_node *node)
{
    island *is = node->user_data;
    es_delegate *delegate = is->delegate;
    pthread_mutex_lock(&delegate->lock);
    tfl_status status = TFL_OK;
    for (size_t i = 0; i < is->count && status == TFL_OK; ++i) {
        const step *s = &is->steps[i];
        const es_operator *op = &s->operator_;
        const void *a = data_of(context, delegate, op->inputs[0], s->input_offsets[0], s->input_bytes);
        const void *b = op->inputs[1] < 0
                             ? a
                             : data_of(context, delegate, op->inputs[1], s->input_offsets[1], s->input_bytes);
        void *y = data_of(context, delegate, op->output, s->output_offset, s->output_bytes);
        if (a == NULL || b == NULL || y == NULL)
            status = TFL_ERROR;
        else
            run_step(delegate, s, a, b, y, delegate->scratch + is->scratch_from);
    }
    pthread_mutex_unlock(&delegate->lock);
    if (status != TFL_OK)
        context->ReportError(context, "edgesparse: a tensor has no memory, or less than it was prepared for: allocate the "
                                      "tensors before invoking.");
    return status;
}
