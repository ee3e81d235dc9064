/* Which operators the delegate takes, and why. */
#ifndef ES_CHOOSE_H
#define ES_CHOOSE_H

#include "operator.h"
#include "options.h"

typedef struct es_choice {
    size_t place;                       /* in the execution plan */
    int node;                           /* TFLite's number of the node */
    const char *name;                   /* CONV_2D, FULLY_CONNECTED, ... */
    const char *output;                 /* name of the output tensor, may be NULL */
    es_operator operator_;
    es_operator_constants constants;
    bool neighbour;                     /* claimed for what is around it, or not at all */
    bool considered;                    /* the kernels could run it */
    bool left_whole;                    /* with its cluster, to XNNPACK */
    bool claimed;
    double density;
    es_zeros zeros;
    es_decision decision;               /* ES_FORMAT_NONE: it has no sparse kernel, or was not weighed */
    char kernel[64];
    char reason[192];
    es_op *op;                          /* packed; NULL unless claimed and not planned only */
    es_depthwise *depthwise;
} es_choice;

typedef struct es_choices {
    es_choice *all;
    size_t count;
    double packing_ms;
    size_t packed_bytes;
} es_choices;

/* For so many threads. False: `sentence` says what stopped it. */
bool es_choose(const es_graph *graph, const es_options *options, int threads, es_choices *choices, char *sentence,
               size_t length);
void es_choices_free(es_choices *choices);

#endif
