/* A dense tensor to any sparse layout of TFLite's schema: the other way round than es_expand, written for the tests and the
 * fuzz targets' seeds. */
#ifndef ENCODE_H
#define ENCODE_H

#include "support.h"

typedef struct layout {
    size_t rank, levels;                /* levels: rank and the blocked dimensions */
    int32_t shape[ES_MAX_RANK];
    int32_t traversal[ES_MAX_RANK], block_map[ES_MAX_RANK], block_size[ES_MAX_RANK];
    bool csr[ES_MAX_RANK];              /* of each level, in the order of the traversal */
} layout;

typedef struct encoded {
    es_sparsity sparsity;
    es_dimension dimensions[ES_MAX_RANK];
    int32_t *segments[ES_MAX_RANK], *indices[ES_MAX_RANK];
    float *values;
    size_t value_count;
} encoded;

/* Any rank, blocks, order and formats; at most `most` elements or so. */
layout random_layout(random_state *r, size_t most);
size_t layout_count(const layout *l);
/* Entries of a compressed level are those that hold a non-zero, and now and then one that does not. */
encoded encode(random_state *r, const layout *l, const float *dense);
void encoded_free(encoded *e);

#endif
