/* Weights of a file, in any sparse layout of TFLite's schema, to a dense row-major matrix.
 *
 * A layout: the tensor's dimensions, some of them split into (number of blocks, block), in `traversal_order` (the
 * block dimensions, numbered rank and up, come last); each level is dense or compressed. The stored values are the
 * leaves of this tree in order. Nothing of the metadata is trusted: lengths, order, ranges and products are checked
 * while the tree is walked, and no value is read or written outside of its array.
 */
#include <string.h>

#include "edgesparse.h"
#include "half.h"

typedef struct level {
    bool csr;
    size_t size;            /* entries of this level, expanded */
    size_t stride;          /* of one entry, in elements of the dense tensor */
    const int32_t *segments;
    size_t segment_count;
    const int32_t *indices;
    size_t index_count;
} level;

static bool multiply(size_t a, size_t b, size_t *product)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
}

static es_status element_count(const int32_t *shape, size_t rank, size_t *count)
{
    size_t product = 1;
    for (size_t d = 0; d < rank; ++d) {
        if (shape[d] <= 0)
            return ES_BAD_SHAPE;
        if (!multiply(product, (size_t)shape[d], &product) || product > SIZE_MAX / sizeof(float))
            return ES_TOO_LARGE;
    }
    *count = product;
    return ES_OK;
}

static es_status read_block_map(const es_sparsity *sparsity, size_t rank, const int32_t *shape, size_t block_of[],
                                size_t block_size[])
{
    const size_t blocks = sparsity->block_map.size;
    for (size_t d = 0; d < rank; ++d)
        block_of[d] = SIZE_MAX;
    for (size_t b = 0; b < blocks; ++b) {
        const int32_t d = sparsity->block_map.data[b];
        if (d < 0 || (size_t)d >= rank || (b > 0 && d <= sparsity->block_map.data[b - 1]))
            return ES_BAD_BLOCK_MAP;
        block_of[d] = b;
    }
    /* The block dimensions are dense; their sizes stand at their place of the traversal order. */
    for (size_t i = 0; i < rank + blocks; ++i) {
        const int32_t t = sparsity->traversal_order.data[i];
        if ((size_t)t < rank)
            continue;
        const es_dimension *dimension = &sparsity->dimensions[i];
        const size_t b = (size_t)t - rank;
        if (dimension->csr || dimension->dense_size <= 0)
            return ES_BAD_DIMENSION;
        if (shape[sparsity->block_map.data[b]] % dimension->dense_size != 0)
            return ES_BAD_BLOCK_MAP;
        block_size[b] = (size_t)dimension->dense_size;
    }
    return ES_OK;
}

static es_status check_traversal(const es_sparsity *sparsity, size_t rank, size_t levels)
{
    bool seen[ES_MAX_RANK] = {false};
    for (size_t i = 0; i < levels; ++i) {
        const int32_t t = sparsity->traversal_order.data[i];
        if (t < 0 || (size_t)t >= levels || seen[t] || ((size_t)t < rank) != (i < rank))
            return ES_BAD_TRAVERSAL;
        seen[t] = true;
    }
    return ES_OK;
}

/* The segments and indices of a compressed level under `parents` entries of the level above. */
static es_status check_compressed(const level *l, size_t parents)
{
    size_t expected;
    if (!multiply(parents, 1, &expected) || expected == SIZE_MAX || l->segment_count != expected + 1)
        return ES_BAD_SEGMENTS;
    if (l->segments[0] != 0 || (size_t)l->segments[parents] != l->index_count)
        return ES_BAD_SEGMENTS;
    for (size_t p = 0; p < parents; ++p) {
        const int32_t begin = l->segments[p], end = l->segments[p + 1];
        if (begin < 0 || begin > end || (size_t)end > l->index_count)
            return ES_BAD_SEGMENTS;
        int32_t last = -1;
        for (int32_t i = begin; i < end; ++i) {
            if (l->indices[i] <= last || (size_t)l->indices[i] >= l->size)
                return ES_BAD_INDICES;
            last = l->indices[i];
        }
    }
    return ES_OK;
}

static inline float value_at(es_type type, const void *values, size_t i)
{
    /* A file may place them at any address. */
    if (type == ES_FLOAT32) {
        float single;
        memcpy(&single, (const char *)values + i * sizeof single, sizeof single);
        return single;
    }
    uint16_t half;
    memcpy(&half, (const char *)values + i * sizeof half, sizeof half);
    return es_half_to_float(half);
}

typedef struct walk {
    const level *levels;
    size_t count;
    es_type type;
    const void *values;
    float *dense;
} walk;

/* Writes the leaves below entry `parent` of level `depth`, whose dense offset is `offset`. */
static void write_leaves(const walk *w, size_t depth, size_t parent, size_t offset)
{
    const level *l = &w->levels[depth];
    const size_t begin = l->csr ? (size_t)l->segments[parent] : parent * l->size;
    const size_t entries = l->csr ? (size_t)l->segments[parent + 1] - begin : l->size;
    if (depth + 1 < w->count) {
        for (size_t e = 0; e < entries; ++e)
            write_leaves(w, depth + 1, begin + e, offset + (l->csr ? (size_t)l->indices[begin + e] : e) * l->stride);
    } else if (l->csr) {
        for (size_t e = 0; e < entries; ++e)
            w->dense[offset + (size_t)l->indices[begin + e] * l->stride] = value_at(w->type, w->values, begin + e);
    } else {
        for (size_t e = 0; e < entries; ++e)
            w->dense[offset + e * l->stride] = value_at(w->type, w->values, begin + e);
    }
}

es_status es_expand(const es_sparsity *sparsity, const int32_t *shape, size_t rank, es_type type, const void *values,
                    size_t value_count, float *dense, size_t dense_count)
{
    if (rank == 0 || rank > ES_MAX_RANK)
        return ES_BAD_RANK;
    size_t elements;
    es_status status = element_count(shape, rank, &elements);
    if (status != ES_OK)
        return status;
    if (elements != dense_count)
        return ES_BAD_SHAPE;
    if (sparsity == NULL) {
        if (value_count != elements)
            return ES_BAD_VALUE_COUNT;
        for (size_t i = 0; i < elements; ++i)
            dense[i] = value_at(type, values, i);
        return ES_OK;
    }

    const size_t count = sparsity->dimension_count, blocks = sparsity->block_map.size;
    if (count == 0 || count > ES_MAX_RANK || blocks > rank || count != rank + blocks)
        return ES_BAD_RANK;
    if (sparsity->traversal_order.size != count)
        return ES_BAD_TRAVERSAL;
    status = check_traversal(sparsity, rank, count);
    if (status != ES_OK)
        return status;
    size_t block_of[ES_MAX_RANK], block_size[ES_MAX_RANK];
    status = read_block_map(sparsity, rank, shape, block_of, block_size);
    if (status != ES_OK)
        return status;

    size_t stride_of[ES_MAX_RANK];
    size_t stride = 1;
    for (size_t d = rank; d-- > 0; stride *= (size_t)shape[d])
        stride_of[d] = stride;

    level levels[ES_MAX_RANK];
    size_t entries = 1;     /* stored entries of the level above */
    for (size_t i = 0; i < count; ++i) {
        const es_dimension *dimension = &sparsity->dimensions[i];
        const size_t t = (size_t)sparsity->traversal_order.data[i];
        level *l = &levels[i];
        if (t < rank) {
            const size_t block = block_of[t] == SIZE_MAX ? 1 : block_size[block_of[t]];
            l->size = (size_t)shape[t] / block;
            l->stride = stride_of[t] * block;
        } else {
            l->size = block_size[t - rank];
            l->stride = stride_of[sparsity->block_map.data[t - rank]];
        }
        l->csr = dimension->csr;
        l->segments = dimension->segments.data;
        l->segment_count = dimension->segments.size;
        l->indices = dimension->indices.data;
        l->index_count = dimension->indices.size;
        if (l->csr) {
            if (l->segment_count == 0)
                return ES_BAD_SEGMENTS;
            status = check_compressed(l, entries);
            if (status != ES_OK)
                return status;
            entries = l->index_count;
        } else {
            if (dimension->dense_size <= 0 || (size_t)dimension->dense_size != l->size)
                return ES_BAD_DIMENSION;
            if (!multiply(entries, l->size, &entries))
                return ES_TOO_LARGE;
        }
    }
    if (entries != value_count)
        return ES_BAD_VALUE_COUNT;
    memset(dense, 0, dense_count * sizeof *dense);
    if (entries > 0)
        write_leaves(&(walk){levels, count, type, values, dense}, 0, 0, 0);
    return ES_OK;
}
