#include "choose.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster.h"
#include "rounding.h"

static size_t columns_of(const es_choice *choice)
{
    return choice->constants.weights.count / (size_t)choice->operator_.conv.out_c;
}

static const char *target_of(const es_options *options)
{
    return options->plan != NULL ? options->plan : es_isa_target(options->isa);
}

typedef struct buffers {
    es_buffer weights, bias;
} buffers;

/* Counts the zeros of one operator's weights, expanded already, and asks the cost model. */
static es_status weigh(const es_options *options, const buffers *room, es_choice *choice)
{
    const es_conv *conv = &choice->operator_.conv;
    const size_t rows = (size_t)conv->out_c, columns = columns_of(choice), group = (size_t)conv->in_c;
    if (choice->operator_.type == ES_INT8)
        es_count_s8(choice->constants.weights.tensor->data, rows, columns, group, &choice->zeros);
    else
        es_count(room->weights.data, rows, columns, group, &choice->zeros);
    choice->density = es_density(&choice->zeros);
    if (choice->zeros.lowest)
        return ES_BAD_QUANTIZATION;
    const es_status status = es_decide_for(target_of(options), conv, &choice->zeros, &choice->decision);
    choice->considered = status == ES_OK;
    return status;
}

/* The model errs by a few per cent; a claim that gains less than that is not worth breaking XNNPACK's graph. */
static const double least_gain = 1.08;

/* Zeros that a kernel skips: single ones of floats, of int8, where some are everywhere by chance, whole blocks. */
static bool has_zeros(const es_choice *choice)
{
    const es_zeros *z = &choice->zeros;
    if (z->type != ES_INT8)
        return z->nonzeros < z->rows * z->columns;
    const size_t blocks[] = {z->blocks16, z->blocks8, z->blocks4}, heights[] = {16, 8, 4};
    const int which = choice->decision.format - ES_BSR16X4;
    if (which < 0 || which > 2)
        return false;
    const size_t in_c = (size_t)choice->operator_.conv.in_c, quads = z->columns / in_c * ((in_c + 3) / 4);
    return blocks[which] < (z->rows + heights[which] - 1) / heights[which] * quads;
}

static void settle(const es_options *options, es_choice *choice)
{
    const double gain = choice->decision.dense_us / choice->decision.sparse_us;
    const bool zeros = has_zeros(choice);
    choice->claimed = options->claim == ES_CLAIM_ALL || (options->claim == ES_CLAIM_AUTO && zeros && gain > least_gain);
    char *reason = choice->reason;
    const size_t length = sizeof choice->reason;
    if (options->claim == ES_CLAIM_NONE)
        snprintf(reason, length, "nothing is claimed, as asked");
    else if (options->claim == ES_CLAIM_ALL)
        snprintf(reason, length, "claimed, as asked");
    else if (!zeros && choice->zeros.type == ES_INT8)
        snprintf(reason, length, "%.0f %% zeros, but no block of %s that a kernel could skip", 100 * (1 - choice->density),
                 choice->decision.format == ES_BSR16X4 ? "16x4" : choice->decision.format == ES_BSR8X4 ? "8x4" : "4x4");
    else if (!zeros)
        snprintf(reason, length, "its weights hold no zeros");
    else if (choice->claimed)
        snprintf(reason, length, "predicted to be %.2f times as fast as dense", gain);
    else
        snprintf(reason, length, "%.0f %% zeros: the best sparse kernel (%s) is predicted to be %.2f times as fast as dense",
                 100 * (1 - choice->density), es_format_name(choice->decision.format), gain);
}

/* int8 is packed as it lies in the file. */
static es_status pack_s8(const es_options *options, es_choice *choice)
{
    const es_operator *op = &choice->operator_;
    const void *weights = choice->constants.weights.tensor->data;
    const void *bias = choice->constants.bias.count > 0 ? choice->constants.bias.tensor->data : NULL;
    if (op->kind == ES_KIND_DEPTHWISE)
        return es_op_create_depthwise_s8(options->isa, &op->conv, &op->quantization, weights, bias, &choice->op);
    return es_op_create_s8(options->isa, choice->decision.format, &op->conv, &op->quantization, weights, bias, &choice->op);
}

static es_status pack_f32(const es_options *options, buffers *room, es_choice *choice)
{
    const bool has_bias = choice->constants.bias.count > 0;
    const es_conv *conv = &choice->operator_.conv;
    const es_status status = has_bias ? es_constant_expand(&choice->constants.bias, &room->bias) : ES_OK;
    if (status != ES_OK)
        return status;
    const float *weights = room->weights.data, *bias = has_bias ? room->bias.data : NULL;
    if (choice->operator_.kind == ES_KIND_DEPTHWISE)
        return es_depthwise_create(options->isa, conv, weights, bias, &choice->depthwise);
    return es_op_create(options->isa, choice->decision.format, conv, weights, bias, &choice->op);
}

/* The weights are expanded already. */
static es_status pack(const es_options *options, buffers *room, es_choice *choice)
{
    const es_status status =
        choice->operator_.type == ES_INT8 ? pack_s8(options, choice) : pack_f32(options, room, choice);
    if (status == ES_OK)
        snprintf(choice->kernel, sizeof choice->kernel, "%s",
                 choice->op != NULL ? es_op_kernel(choice->op) : es_depthwise_kernel_name(choice->depthwise));
    return status;
}

static es_status expand(const es_choice *choice, buffers *room)
{
    return choice->operator_.type == ES_INT8 ? ES_OK : es_constant_expand(&choice->constants.weights, &room->weights);
}

static es_status expand_and_pack(const es_options *options, buffers *room, es_choice *choice)
{
    if (choice->constants.weights.count == 0)
        return ES_OK;
    const es_status status = expand(choice, room);
    return status == ES_OK ? pack(options, room, choice) : status;
}

static void leave(es_choice *choice, es_status status)
{
    choice->claimed = false;
    snprintf(choice->reason, sizeof choice->reason, "left to TFLite: %s", es_status_message(status));
}

/* An operator by itself: its weights are expanded once, looked at, and packed if they pay. */
static void choose_one(const es_options *options, bool in_cluster, buffers *room, es_choice *choice)
{
    es_status status = expand(choice, room);
    if (status == ES_OK)
        status = weigh(options, room, choice);
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
        if (clusters->of[choice->place] != cluster || !choice->considered || choice->neighbour)
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
        choice->left_whole = left;
        if (choice->neighbour)
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
        const es_status status = expand_and_pack(options, room, choice);
        if (status != ES_OK)
            leave(choice, status);
    }
}

/* ---- neighbours --------------------------------------------------------------------------------------------------- */

static bool reads(const es_choice *choice, int tensor)
{
    return choice->operator_.inputs[0] == tensor || choice->operator_.inputs[1] == tensor;
}

/* A dense int8 convolution that these kernels run faster by itself: XNNPACK fills up the inputs of a tap, so that the three of
 * a picture cost as much as eight. Only beside sparse operators: a model without any is left alone. */
static bool pays_alone(const es_choices *choices, const es_choice *choice)
{
    if (choice->operator_.type != ES_INT8 || choice->decision.format == ES_FORMAT_NONE ||
        choice->decision.dense_us < least_gain * choice->decision.sparse_us)
        return false;
    for (size_t i = 0; i < choices->count; ++i)
        if (choices->all[i].claimed && !choices->all[i].neighbour)
            return true;
    return false;
}

/* Edges to operators that are claimed, less those to operators that are not. */
static int edges_saved(const es_graph *graph, const es_choices *choices, const es_choice *choice)
{
    int inside = 0, all = graph->consumers[choice->operator_.output];
    for (int i = 0; i < 2 && choice->operator_.inputs[i] >= 0; ++i)
        all += graph->producer[choice->operator_.inputs[i]] >= 0;
    for (size_t i = 0; i < choices->count; ++i) {
        const es_choice *other = &choices->all[i];
        if (other->claimed && other->operator_.kind != ES_KIND_PAD)
            inside += reads(other, choice->operator_.output) + reads(choice, other->operator_.output);
    }
    return inside == 0 && !pays_alone(choices, choice) ? INT_MIN / 2 : 2 * inside - all;
}

/* What the operator itself would gain, microseconds; what its edges save comes on top. */
static double own_gain(const es_options *options, const es_choice *choice)
{
    const char *target = target_of(options);
    switch (choice->operator_.kind) {
    case ES_KIND_CONV:
    case ES_KIND_FULLY_CONNECTED: return choice->decision.dense_us - choice->decision.sparse_us;
    case ES_KIND_DEPTHWISE: return es_depthwise_gain_us(target, choice->operator_.type, &choice->operator_.conv);
    default: return 0;
    }
}

/* A PAD goes with the convolutions that pad by themselves what it would have padded. */
static bool pad_goes(const es_graph *graph, const es_choices *choices, const es_choice *pad)
{
    int without = 0;
    for (size_t i = 0; i < choices->count; ++i)
        without += choices->all[i].claimed && choices->all[i].operator_.pad == (int)pad->place;
    return without > 0 && without == graph->consumers[pad->operator_.output];
}

static void name_plain(const es_options *options, es_choice *choice)
{
    static const char *const names[] = {[ES_KIND_ADD] = "add", [ES_KIND_MEAN] = "mean", [ES_KIND_PAD] = "pad"};
    if (choice->op == NULL && choice->depthwise == NULL && options->plan == NULL)
        snprintf(choice->kernel, sizeof choice->kernel, "es_%s_%s__%s", choice->operator_.type == ES_INT8 ? "s8" : "f32",
                 names[choice->operator_.kind], es_isa_name(options->isa));
}

/* Claims dense operators around claimed ones, as long as one is found that gains: each may make the next one gain. */
static void claim_neighbours(const es_graph *graph, const es_options *options, int threads, buffers *room,
                             es_choices *choices)
{
    const double crossing = es_crossing_us(target_of(options), threads);
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < choices->count; ++i) {
            es_choice *choice = &choices->all[i];
            if (choice->claimed || !choice->considered || choice->left_whole)
                continue;
            const bool pad = choice->operator_.kind == ES_KIND_PAD;
            if (pad ? !pad_goes(graph, choices, choice)
                    : own_gain(options, choice) / threads + crossing * edges_saved(graph, choices, choice) <= 0)
                continue;
            const es_status status = options->plan == NULL ? expand_and_pack(options, room, choice) : ES_OK;
            if (status != ES_OK) {
                choice->considered = false;
                leave(choice, status);
                continue;
            }
            choice->claimed = choice->neighbour = found = true;
            name_plain(options, choice);
            snprintf(choice->reason, sizeof choice->reason, "%s",
                     pad ? "done by the convolutions behind it"
                     : edges_saved(graph, choices, choice) < 0 ? "dense, and faster here than in XNNPACK"
                                                               : "taken with the claimed operators around it");
        }
    }
}

static double now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool has_kernel(const es_options *options, const es_operator *op)
{
    if (op->type != ES_INT8 || op->kind == ES_KIND_PAD)
        return true;
    if (op->quantization.fixed_point)
        return false;               /* those of the neighbours round as XNNPACK does */
    return op->kind != ES_KIND_DEPTHWISE ||
           (es_depthwise_gain_us(target_of(options), ES_INT8, &op->conv) != 0 &&
            (options->plan != NULL || es_depthwise_s8_fits(options->isa, &op->conv)));
}

static bool find_operators(const es_graph *graph, const es_options *options, es_choices *choices)
{
    choices->all = calloc(graph->node_count + 1, sizeof *choices->all);
    if (choices->all == NULL)
        return false;
    const bool fixed_point = options->rounding == ES_ROUNDING_FIXED ||
                             (options->rounding == ES_ROUNDING_AUTO && es_runtime_rounds_fixed());
    for (size_t place = 0; place < graph->node_count; ++place) {
        es_choice *choice = &choices->all[choices->count];
        es_kind kind;
        if (!es_operator_kind(graph, place, &kind, &choice->name))
            continue;
        const char *refusal = es_operator_read(graph, place, &choice->operator_, &choice->constants);
        choice->operator_.quantization.fixed_point = fixed_point;
        choice->neighbour = kind != ES_KIND_CONV && kind != ES_KIND_FULLY_CONNECTED;
        if (choice->neighbour && (refusal != NULL || !has_kernel(options, &choice->operator_)))
            continue;                   /* nothing sparse to report of it */
        ++choices->count;
        choice->place = place;
        choice->node = graph->node_index[place];
        choice->decision.format = ES_FORMAT_NONE;
        choice->considered = choice->neighbour;
        const tfl_tensor *output = es_graph_tensor(graph, graph->nodes[place]->outputs, 0);
        choice->output = output != NULL ? output->name : NULL;
        if (refusal != NULL)
            snprintf(choice->reason, sizeof choice->reason, "%s", refusal);
    }
    return true;
}

bool es_choose(const es_graph *graph, const es_options *options, int threads, es_choices *choices, char *sentence,
               size_t length)
{
    const double begin = now_ms();
    es_clusters clusters = {0};
    *choices = (es_choices){0};
    if (!find_operators(graph, options, choices) || !es_clusters_find(graph, &clusters)) {
        snprintf(sentence, length, "%s", es_status_message(ES_OUT_OF_MEMORY));
        es_choices_free(choices);
        return false;
    }
    buffers room = {0};
    /* Elsewhere XNNPACK has no sparse path, or one of scalar kernels. */
    const bool has_clusters = strncmp(target_of(options), "aarch64", 7) == 0;
    for (size_t i = 0; i < choices->count; ++i)
        if (!choices->all[i].neighbour && choices->all[i].reason[0] == '\0')
            choose_one(options, has_clusters && clusters.of[choices->all[i].place] >= 0, &room,
                       &choices->all[i]);
    for (int cluster = 0; has_clusters && cluster < clusters.count; ++cluster)
        choose_cluster(options, &clusters, cluster, &room, choices);
    es_clusters_free(&clusters);
    if (options->claim != ES_CLAIM_NONE)
        claim_neighbours(graph, options, threads, &room, choices);
    free(room.weights.data);
    free(room.bias.data);
    for (size_t i = 0; i < choices->count; ++i) {
        if (choices->all[i].op != NULL)
            choices->packed_bytes += es_op_packed_bytes(choices->all[i].op);
        if (choices->all[i].depthwise != NULL)
            choices->packed_bytes += es_depthwise_packed_bytes(choices->all[i].depthwise);
    }
    choices->packing_ms = now_ms() - begin;
    return true;
}

void es_choices_free(es_choices *choices)
{
    for (size_t i = 0; i < choices->count; ++i) {
        es_op_destroy(choices->all[i].op);
        es_depthwise_destroy(choices->all[i].depthwise);
    }
    free(choices->all);
    *choices = (es_choices){0};
}
