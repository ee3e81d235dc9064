/* Bytes to sparsity metadata, each array in memory of exactly its size. */
#ifndef FUZZ_SPARSITY_H
#define FUZZ_SPARSITY_H

#include <stdlib.h>

#include "bytes.h"
#include "edgesparse.h"

enum { MOST_DIMENSIONS = 10, MOST_ENTRIES = 200 };

typedef struct fuzz_sparsity {
    es_sparsity sparsity;
    es_dimension dimensions[MOST_DIMENSIONS];
    void *owned[2 + 2 * MOST_DIMENSIONS];
    size_t owned_count;
} fuzz_sparsity;

static inline es_array take_array(bytes *b, fuzz_sparsity *s)
{
    int32_t numbers[MOST_ENTRIES];
    const size_t count = take_numbers(b, numbers, MOST_ENTRIES);
    int32_t *copy = malloc(count * sizeof *copy + (count == 0));
    if (copy == NULL)
        abort();
    memcpy(copy, numbers, count * sizeof *copy);
    s->owned[s->owned_count++] = copy;
    return (es_array){count, copy};
}

static inline void take_sparsity(bytes *b, fuzz_sparsity *s)
{
    *s = (fuzz_sparsity){0};
    s->sparsity.traversal_order = take_array(b, s);
    s->sparsity.block_map = take_array(b, s);
    s->sparsity.dimension_count = take_below(b, MOST_DIMENSIONS + 1);
    s->sparsity.dimensions = s->dimensions;
    for (size_t i = 0; i < s->sparsity.dimension_count; ++i) {
        es_dimension *d = &s->dimensions[i];
        d->csr = take_below(b, 2) != 0;
        if (d->csr) {
            d->segments = take_array(b, s);
            d->indices = take_array(b, s);
        } else {
            d->dense_size = take_number(b);
        }
    }
}

static inline void free_sparsity(fuzz_sparsity *s)
{
    for (size_t i = 0; i < s->owned_count; ++i)
        free(s->owned[i]);
}

#endif
