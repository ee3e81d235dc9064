/* The external delegate: what TFLite calls.
 *
 * Prepare reads the graph, chooses operators, packs their weights, and hands the chosen nodes to TFLite, which cuts them
 * into islands and calls es_island_init for each. */
#include <stdio.h>
#include <stdlib.h>

#include "choose.h"
#include "graph.h"
#include "island.h"
#include "options.h"
#include "report.h"
#include "tflite_abi.h"

/* A DENSIFY or DEQUANTIZE goes with its users if all of them are claimed: otherwise TFLite still needs what it makes. */
static void take_way(const es_graph *graph, const es_choices *choices, bool *taken)
{
    int *claimed_readers = calloc(graph->tensor_count + 1, sizeof *claimed_readers);
    if (claimed_readers == NULL)
        return;                     /* slower, not wrong: they stay with TFLite */
    for (size_t i = 0; i < choices->count; ++i)
        if (choices->all[i].claimed && choices->all[i].constants.weights.count > 0) {
            const tfl_int_array *inputs = graph->nodes[choices->all[i].place]->inputs;
            for (int k = 1; k < inputs->size && k < 3; ++k)
                if (inputs->data[k] >= 0)
                    ++claimed_readers[inputs->data[k]];
        }
    /* Twice: a DENSIFY in front of a DEQUANTIZE is free only once that one is taken. */
    for (int pass = 0; pass < 2; ++pass)
        for (size_t place = 0; place < graph->node_count; ++place) {
            const int code = graph->registrations[place]->builtin_code;
            const tfl_int_array *outputs = graph->nodes[place]->outputs, *inputs = graph->nodes[place]->inputs;
            if (taken[place] || (code != TFL_DENSIFY && code != TFL_DEQUANTIZE) || outputs == NULL ||
                outputs->size != 1 || outputs->data[0] < 0 || inputs == NULL || inputs->size != 1 ||
                inputs->data[0] < 0)
                continue;
            const int out = outputs->data[0];
            if (graph->consumers[out] == 0 || claimed_readers[out] != graph->consumers[out])
                continue;
            taken[place] = true;
            ++claimed_readers[inputs->data[0]];
        }
    free(claimed_readers);
}

static tfl_status hand_over(es_delegate *delegate, const es_graph *graph, es_choices *choices)
{
    tfl_context *context = graph->context;
    bool *taken = calloc(graph->node_count + 1, sizeof *taken);
    tfl_int_array *nodes = malloc(sizeof *nodes + graph->node_count * sizeof *nodes->data);
    tfl_status status = TFL_ERROR;
    if (taken != NULL && nodes != NULL) {
        for (size_t i = 0; i < choices->count; ++i)
            taken[choices->all[i].place] = choices->all[i].claimed;
        take_way(graph, choices, taken);
        nodes->size = 0;
        for (size_t place = 0; place < graph->node_count; ++place)
            if (taken[place])
                nodes->data[nodes->size++] = graph->node_index[place];
        const tfl_registration registration = {
            .init = es_island_init,
            .free = es_island_free,
            .prepare = es_island_prepare,
            .invoke = es_island_invoke,
            .custom_name = "edgesparse",
            .version = 1,
        };
        delegate->choices = choices;
        status = nodes->size == 0 ? TFL_OK
                                  : context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, nodes,
                                                                                   &delegate->tfl);
        delegate->choices = NULL;
    }
    free(nodes);
    free(taken);
    return status;
}

static tfl_status delegate_prepare(tfl_context *context, tfl_delegate *tfl)
{
    es_delegate *delegate = tfl->data;
    char sentence[ES_SENTENCE];
    es_graph graph;
    if (!es_graph_read(context, &graph, sentence, sizeof sentence)) {
        if (context != NULL && context->ReportError != NULL)
            context->ReportError(context, "edgesparse: %s.", sentence);
        return TFL_DELEGATE_ERROR;
    }
    tfl_status status = TFL_OK;
    es_choices choices;
    if (!es_choose(&graph, &delegate->options, es_delegate_threads(delegate, context), &choices, sentence, sizeof sentence)) {
        context->ReportError(context, "edgesparse: %s.", sentence);
        es_graph_free(&graph);
        return TFL_DELEGATE_ERROR;
    }
    /* The report first: TFLite takes the nodes' names with it when it replaces them. */
    if (delegate->options.report != NULL &&
        !es_report_write(&delegate->options, &choices, es_delegate_threads(delegate, context), sentence, sizeof sentence)) {
        context->ReportError(context, "edgesparse: %s.", sentence);
        status = TFL_DELEGATE_ERROR;
    }
    if (status == TFL_OK && delegate->options.plan == NULL)
        status = hand_over(delegate, &graph, &choices);
    es_choices_free(&choices);
    es_graph_free(&graph);
    return status;
}

/* ---- exports ------------------------------------------------------------------------------------------------------ */

ES_EXPORT tfl_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values, size_t count,
                                                      void (*report_error)(const char *))
{
    char sentence[ES_SENTENCE];
    es_delegate *delegate = calloc(1, sizeof *delegate);
    if (delegate == NULL) {
        if (report_error != NULL)
            report_error("edgesparse: memory is exhausted.");
        return NULL;
    }
    if (!es_options_read(keys, values, count, &delegate->options, sentence)) {
        if (report_error != NULL)
            report_error(sentence);
        free(delegate);
        return NULL;
    }
    pthread_mutex_init(&delegate->lock, NULL);
    delegate->tfl.data = delegate;
    delegate->tfl.Prepare = delegate_prepare;
    return &delegate->tfl;
}

ES_EXPORT void tflite_plugin_destroy_delegate(tfl_delegate *tfl)
{
    if (tfl == NULL)
        return;
    es_delegate *delegate = tfl->data;
    es_pool_destroy(delegate->pool);
    pthread_mutex_destroy(&delegate->lock);
    es_options_free(&delegate->options);
    free(delegate->scratch);
    free(delegate);
}
