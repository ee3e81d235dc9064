/* Which operators the delegate takes, and why. */
#ifndef ES_CHOOSE_H
#define ES_CHOOSE_H

#include "graph.h"
#include "options.h"

/* An operator as the kernels see it, with what it takes to follow the interpreter when its input is resized. */
typedef struct es_operator {
    bool fully_connected, keep_dims, same_padding;
    int input, output;                  /* tensors */
    es_conv conv;
} es_operator;

typedef struct es_choice {
    size_t place;                       /* in the execution plan */
    int node;                           /* TFLite's number of the node */
    const char *name;                   /* CONV_2D, FULLY_CONNECTED */
    const char *output;                 /* name of the output tensor, may be NULL */
    bool considered;                    /* the kernels could run it; density and decision are set */
    bool claimed;
    double density;
    es_zeros zeros;
    es_decision decision;
    char kernel[64];
    char reason[192];
    es_operator operator_;
    es_constant weights, bias;
    bool has_bias;
    es_op *op;                          /* packed; NULL unless claimed and not planned only */
} es_choice;

typedef struct es_choices {
    es_choice *all;
    size_t count;
    double packing_ms;
    size_t packed_bytes;
} es_choices;

/* False: `sentence` says what stopped it. */
bool es_choose(const es_graph *graph, const es_options *options, es_choices *choices, char *sentence, size_t length);
void es_choices_free(es_choices *choices);

/* The output's size from the input's, as it is now. */
es_status es_operator_shape(const es_operator *op, const tfl_int_array *input_dims, es_conv *conv);

#endif
