#include "encode.h"

#include <stdlib.h>
#include <string.h>

size_t layout_count(const layout *l)
{
    size_t count = 1;
    for (size_t d = 0; d < l->rank; ++d)
        count *= (size_t)l->shape[d];
    return count;
}

static void shuffle(random_state *r, int32_t *values, size_t count)
{
    for (size_t i = count; i > 1; --i) {
        const size_t j = random_below(r, i);
        const int32_t kept = values[i - 1];
        values[i - 1] = values[j];
        values[j] = kept;
    }
}

layout random_layout(random_state *r, size_t most)
{
    layout l = {.rank = 1 + random_below(r, 5)};
    size_t count = 1;
    const size_t blocks = random_below(r, l.rank + 1);
    for (size_t d = 0; d < l.rank; ++d) {
        /* The blocked ones, in order, are a random choice of the dimensions. */
        const size_t chosen = l.levels, left = l.rank - d;
        int32_t size = 1 + (int32_t)random_below(r, 6);
        if (random_below(r, left) < blocks - chosen && l.rank + chosen < ES_MAX_RANK) {
            l.block_map[chosen] = (int32_t)d;
            l.block_size[chosen] = 1 + (int32_t)random_below(r, 4);
            size *= l.block_size[chosen];
            ++l.levels;
        }
        if (count * (size_t)size > most)
            size = l.levels > chosen ? l.block_size[chosen] : 1;
        l.shape[d] = size;
        count *= (size_t)size;
    }
    const size_t blocked = l.levels;
    l.levels += l.rank;
    for (size_t i = 0; i < l.levels; ++i) {
        l.traversal[i] = (int32_t)i;
        l.csr[i] = i < l.rank && random_below(r, 2) != 0;
    }
    shuffle(r, l.traversal, l.rank);
    shuffle(r, l.traversal + l.rank, blocked);
    return l;
}

/* ---- encoding ------------------------------------------------------------------------------------------------------ */

enum { UNSET = -1 };

static int32_t block_of(const layout *l, size_t d)
{
    for (size_t b = 0; b < l->levels - l->rank; ++b)
        if (l->block_map[b] == (int32_t)d)
            return (int32_t)b;
    return UNSET;
}

/* Entries of the level that the traversal has at place `i`. */
static int32_t level_size(const layout *l, size_t i)
{
    const int32_t t = l->traversal[i];
    if ((size_t)t >= l->rank)
        return l->block_size[(size_t)t - l->rank];
    const int32_t b = block_of(l, (size_t)t);
    return b == UNSET ? l->shape[t] : l->shape[t] / l->block_size[b];
}

/* A way down the tree: the coordinate at each level, numbered as the traversal numbers them; UNSET below. */
typedef struct path { int32_t at[ES_MAX_RANK]; } path;

static bool element_below(const layout *l, const path *p, const int32_t *coordinates)
{
    for (size_t d = 0; d < l->rank; ++d) {
        const int32_t b = block_of(l, d), size = b == UNSET ? 1 : l->block_size[b];
        if (p->at[d] != UNSET && p->at[d] != coordinates[d] / size)
            return false;
        if (b != UNSET && p->at[l->rank + (size_t)b] != UNSET && p->at[l->rank + (size_t)b] != coordinates[d] % size)
            return false;
    }
    return true;
}

/* The sum of the elements below is not needed: whether one is not zero, and the last one's value. */
static bool any_below(const layout *l, const path *p, const float *dense, float *value)
{
    bool any = false;
    const size_t count = layout_count(l);
    for (size_t i = 0; i < count; ++i) {
        int32_t coordinates[ES_MAX_RANK];
        size_t rest = i;
        for (size_t d = l->rank; d-- > 0; rest /= (size_t)l->shape[d])
            coordinates[d] = (int32_t)(rest % (size_t)l->shape[d]);
        if (!element_below(l, p, coordinates))
            continue;
        *value = dense[i];
        any = any || dense[i] != 0.0f;
    }
    return any;
}

encoded encode(random_state *r, const layout *l, const float *dense)
{
    encoded e = {0};
    const size_t count = layout_count(l), blocks = l->levels - l->rank;
    path *above = calloc(count + 1, sizeof *above), *below = calloc(count + 1, sizeof *below);
    for (size_t t = 0; t < ES_MAX_RANK; ++t)
        above[0].at[t] = UNSET;
    size_t parents = 1;
    for (size_t i = 0; i < l->levels; ++i) {
        const int32_t size = level_size(l, i);
        const size_t expanded = parents * (size_t)size;
        e.segments[i] = calloc(parents + 1, sizeof **e.segments);
        e.indices[i] = calloc(expanded + 1, sizeof **e.indices);
        size_t entries = 0;
        for (size_t p = 0; p < parents; ++p) {
            for (int32_t at = 0; at < size; ++at) {
                path child = above[p];
                child.at[l->traversal[i]] = at;
                float value;
                if (l->csr[i] && !any_below(l, &child, dense, &value) && random_below(r, 10) != 0)
                    continue;
                e.indices[i][entries] = at;
                below[entries++] = child;
            }
            e.segments[i][p + 1] = (int32_t)entries;
        }
        e.dimensions[i] = (es_dimension){.csr = l->csr[i], .dense_size = l->csr[i] ? 0 : size};
        if (l->csr[i]) {
            e.dimensions[i].segments = (es_array){parents + 1, e.segments[i]};
            e.dimensions[i].indices = (es_array){entries, e.indices[i]};
        }
        path *swapped = above;
        above = below;
        below = swapped;
        parents = entries;
    }
    e.values = calloc(parents + 1, sizeof *e.values);
    e.value_count = parents;
    for (size_t p = 0; p < parents; ++p)
        any_below(l, &above[p], dense, &e.values[p]);
    free(above), free(below);
    e.sparsity = (es_sparsity){.traversal_order = {l->levels, l->traversal}, .block_map = {blocks, l->block_map},
                               .dimension_count = l->levels};
    return e;
}

void encoded_free(encoded *e)
{
    for (size_t i = 0; i < ES_MAX_RANK; ++i)
        free(e->segments[i]), free(e->indices[i]);
    free(e->values);
}
