/* An island: claimed operators that TFLite runs as one node. It runs them in order; tensors that only it sees live in the
 * delegate's scratch memory, which all islands share because one runs after the other. */
#ifndef ES_ISLAND_H
#define ES_ISLAND_H

#include <pthread.h>

#include "choose.h"

typedef struct es_delegate {
    tfl_delegate tfl;               /* first: TFLite sees this part */
    es_options options;
    pthread_mutex_t lock;           /* one invocation at a time: interpreters may share a delegate */
    es_pool *pool;
    char *scratch;
    size_t scratch_bytes;
    es_choices *choices;            /* while Prepare runs */
} es_delegate;

/* Those that the options ask for, or the interpreter's, of these not more than there are CPUs. */
int es_delegate_threads(const es_delegate *delegate, const tfl_context *context);

/* What TFLite calls for an island, as it declares them. The delegate's `choices` give up what is packed for its operators. */
void *es_island_init(tfl_context *context, const char *buffer, size_t length);
void es_island_free(tfl_context *context, void *buffer);
tfl_status es_island_prepare(tfl_context *context, tfl_node *node);
tfl_status es_island_invoke(tfl_context *context, tfl_node *node);

#endif
