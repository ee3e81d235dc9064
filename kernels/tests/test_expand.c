/* es_expand: random layouts there and back, and every way in which metadata can be wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "encode.h"

static random_state rng = {5};

/* To half precision, for numbers that have one. */
static uint16_t to_half(float value)
{
    if (value == 0.0f)
        return 0;
    int exponent;
    const float fraction = frexpf(fabsf(value), &exponent);
    return (uint16_t)((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | ((int)(fraction * 2048) - 1024));
}

/* Values at an odd address, as a file may have them, that end where no more can be read. */
static guarded stored_values(const encoded *e, es_type type)
{
    const size_t size = type == ES_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
    guarded memory = guarded_allocate(e->value_count * size, 1, AT_END);
    if (memory.data + memory.bytes > memory.data && random_below(&rng, 2) != 0)
        --memory.data;
    for (size_t i = 0; i < e->value_count; ++i) {
        const uint16_t half = to_half(e->values[i]);
        memcpy(memory.data + i * size, type == ES_FLOAT32 ? (const void *)&e->values[i] : &half, size);
    }
    return memory;
}

static void test_layout(const layout *l, double density, es_type type)
{
    const size_t count = layout_count(l);
    float *dense = calloc(count, sizeof *dense);
    for (size_t i = 0; i < count; ++i)
        if (random_unit(&rng) < density)
            dense[i] = (float)((int)random_below(&rng, 255) - 127) / 16;
    encoded e = encode(&rng, l, dense);
    e.sparsity.dimensions = e.dimensions;
    guarded values = stored_values(&e, type), expanded = guarded_allocate(count * sizeof(float), sizeof(float), AT_END);
    const es_status status = es_expand(&e.sparsity, l->shape, l->rank, type, values.data, e.value_count,
                                       (float *)expanded.data, count);
    CHECK(status == ES_OK, "rank %zu, %zu levels: %s", l->rank, l->levels, es_status_message(status));
    size_t wrong = 0;
    for (size_t i = 0; i < count; ++i)
        wrong += ((const float *)expanded.data)[i] != dense[i];
    CHECK(wrong == 0, "rank %zu, %zu levels, %zu elements: %zu wrong", l->rank, l->levels, count, wrong);
    CHECK(guarded_free(&expanded));
    /* One value too few or too many. */
    CHECK(es_expand(&e.sparsity, l->shape, l->rank, type, values.data, e.value_count + 1, dense, count) ==
          ES_BAD_VALUE_COUNT);
    if (e.value_count > 0)
        CHECK(es_expand(&e.sparsity, l->shape, l->rank, type, values.data, e.value_count - 1, dense, count) ==
              ES_BAD_VALUE_COUNT);
    guarded_free(&values);
    encoded_free(&e);
    free(dense);
}

/* ---- what TFLite's converter writes -------------------------------------------------------------------------------- */

static void test_known(void)
{
    /* A 2 x 4 matrix by rows, compressed: 1 at (0, 3), 2 and 3 in row 1. */
    const int32_t shape[] = {2, 4}, order[] = {0, 1}, segments[] = {0, 1, 3}, indices[] = {3, 0, 2};
    const float values[] = {1, 2, 3}, want[] = {0, 0, 0, 1, 2, 0, 3, 0};
    const es_dimension dimensions[] = {{.dense_size = 2}, {.csr = true, .segments = {3, segments}, .indices = {3, indices}}};
    const es_sparsity sparsity = {.traversal_order = {2, order}, .dimensions = dimensions, .dimension_count = 2};
    float dense[8];
    CHECK(es_expand(&sparsity, shape, 2, ES_FLOAT32, values, 3, dense, 8) == ES_OK);
    CHECK(memcmp(dense, want, sizeof want) == 0);

    /* The same as blocks of 1 x 2. */
    const int32_t blocked_order[] = {0, 1, 2}, map[] = {1}, block_segments[] = {0, 1, 3}, block_indices[] = {1, 0, 1};
    const float block_values[] = {0, 1, 2, 0, 3, 0};
    const es_dimension blocked[] = {{.dense_size = 2},
                                    {.csr = true, .segments = {3, block_segments}, .indices = {3, block_indices}},
                                    {.dense_size = 2}};
    const es_sparsity blocks = {.traversal_order = {3, blocked_order}, .block_map = {1, map}, .dimensions = blocked,
                                .dimension_count = 3};
    CHECK(es_expand(&blocks, shape, 2, ES_FLOAT32, block_values, 6, dense, 8) == ES_OK);
    CHECK(memcmp(dense, want, sizeof want) == 0);

    /* Dense, as floats and as halves. */
    const uint16_t halves[] = {0, 0, 0, 0x3c00, 0x4000, 0, 0x4200, 0};
    CHECK(es_expand(NULL, shape, 2, ES_FLOAT32, want, 8, dense, 8) == ES_OK && memcmp(dense, want, sizeof want) == 0);
    CHECK(es_expand(NULL, shape, 2, ES_FLOAT16, halves, 8, dense, 8) == ES_OK && memcmp(dense, want, sizeof want) == 0);
    CHECK(es_expand(NULL, shape, 2, ES_FLOAT32, want, 7, dense, 8) == ES_BAD_VALUE_COUNT);
}

/* ---- what is wrong ------------------------------------------------------------------------------------------------- */

/* A 4 x 6 matrix in blocks of 2 x 3, rows dense, columns compressed: everything is stored. */
typedef struct broken {
    int32_t shape[2], order[4], map[2], segments[3], indices[4];
    es_dimension dimensions[4];
    es_sparsity sparsity;
    size_t rank, value_count, dense_count;
} broken;

static broken whole(void)
{
    return (broken){
        .shape = {4, 6}, .order = {0, 1, 2, 3}, .map = {0, 1}, .segments = {0, 2, 4}, .indices = {0, 1, 0, 1},
        .dimensions = {{.dense_size = 2}, {.csr = true}, {.dense_size = 2}, {.dense_size = 3}},
        .sparsity = {.traversal_order = {.size = 4}, .block_map = {.size = 2}, .dimension_count = 4},
        .rank = 2, .value_count = 24, .dense_count = 24,
    };
}

static es_status expand(broken *b)
{
    static const float values[64];
    float dense[64];
    b->sparsity.traversal_order.data = b->order;
    b->sparsity.block_map.data = b->map;
    b->sparsity.dimensions = b->dimensions;
    if (b->dimensions[1].segments.size == 0 && b->dimensions[1].csr)
        b->dimensions[1].segments.size = 3;
    if (b->dimensions[1].indices.size == 0)
        b->dimensions[1].indices.size = 4;
    b->dimensions[1].segments.data = b->segments;
    b->dimensions[1].indices.data = b->indices;
    return es_expand(&b->sparsity, b->shape, b->rank, ES_FLOAT32, values, b->value_count, dense, b->dense_count);
}

#define BROKEN(status, ...)                                                                                            \
    do {                                                                                                               \
        broken b = whole();                                                                                            \
        __VA_ARGS__;                                                                                                   \
        const es_status found = expand(&b);                                                                            \
        CHECK(found == (status), "%s, found: %s", #__VA_ARGS__, es_status_message(found));                             \
    } while (0)

static void test_broken(void)
{
    BROKEN(ES_OK, (void)0);
    BROKEN(ES_BAD_RANK, b.rank = 0);
    BROKEN(ES_BAD_RANK, b.rank = 9);
    BROKEN(ES_BAD_RANK, b.sparsity.dimension_count = 3);
    BROKEN(ES_BAD_RANK, b.sparsity.dimension_count = 0);
    BROKEN(ES_BAD_RANK, b.sparsity.dimension_count = SIZE_MAX);
    BROKEN(ES_BAD_RANK, b.sparsity.block_map.size = 3);
    BROKEN(ES_BAD_RANK, b.sparsity.block_map.size = SIZE_MAX - 1);
    BROKEN(ES_BAD_SHAPE, b.shape[0] = 0);
    BROKEN(ES_BAD_SHAPE, b.shape[1] = -6);
    BROKEN(ES_BAD_SHAPE, b.shape[1] = 9);
    BROKEN(ES_BAD_SHAPE, b.dense_count = 23);
    BROKEN(ES_BAD_TRAVERSAL, b.sparsity.traversal_order.size = 3);
    BROKEN(ES_BAD_TRAVERSAL, b.order[0] = 1);
    BROKEN(ES_BAD_TRAVERSAL, b.order[1] = -1);
    BROKEN(ES_BAD_TRAVERSAL, b.order[3] = 4);
    BROKEN(ES_BAD_TRAVERSAL, b.order[1] = 2; b.order[2] = 1);
    BROKEN(ES_BAD_BLOCK_MAP, b.map[0] = 1; b.map[1] = 0);
    BROKEN(ES_BAD_BLOCK_MAP, b.map[0] = b.map[1]);
    BROKEN(ES_BAD_BLOCK_MAP, b.map[1] = 2);
    BROKEN(ES_BAD_BLOCK_MAP, b.map[0] = -1);
    BROKEN(ES_BAD_BLOCK_MAP, b.dimensions[2].dense_size = 3);
    BROKEN(ES_BAD_DIMENSION, b.dimensions[2].dense_size = 0);
    BROKEN(ES_BAD_DIMENSION, b.dimensions[3].dense_size = -3);
    BROKEN(ES_BAD_DIMENSION, b.dimensions[3].csr = true);
    BROKEN(ES_BAD_DIMENSION, b.dimensions[0].dense_size = 4);
    BROKEN(ES_BAD_DIMENSION, b.dimensions[0].dense_size = 0);
    BROKEN(ES_BAD_SEGMENTS, b.segments[0] = 1);
    BROKEN(ES_BAD_SEGMENTS, b.segments[1] = 5);
    BROKEN(ES_BAD_SEGMENTS, b.segments[1] = -1);
    BROKEN(ES_BAD_SEGMENTS, b.segments[2] = 3);
    BROKEN(ES_BAD_SEGMENTS, b.segments[2] = INT32_MAX);
    BROKEN(ES_BAD_SEGMENTS, b.dimensions[1].segments.size = 2);
    BROKEN(ES_BAD_SEGMENTS, b.dimensions[1].segments.size = SIZE_MAX);
    BROKEN(ES_BAD_SEGMENTS, b.dimensions[1].indices.size = 3);
    BROKEN(ES_BAD_SEGMENTS, b.dimensions[1].indices.size = SIZE_MAX);
    BROKEN(ES_BAD_INDICES, b.indices[1] = 2);
    BROKEN(ES_BAD_INDICES, b.indices[0] = -1);
    BROKEN(ES_BAD_INDICES, b.indices[1] = 0);
    BROKEN(ES_BAD_INDICES, b.indices[2] = 1; b.indices[3] = 0);
    BROKEN(ES_BAD_VALUE_COUNT, b.value_count = 0);
    BROKEN(ES_BAD_VALUE_COUNT, b.value_count = 23);
    BROKEN(ES_BAD_VALUE_COUNT, b.value_count = SIZE_MAX);

    const int32_t huge[] = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
    float value = 0;
    CHECK(es_expand(NULL, huge, 4, ES_FLOAT32, &value, 1, &value, 1) == ES_TOO_LARGE);

    /* A compressed level without segments at all. */
    broken b = whole();
    b.dimensions[1].segments = (es_array){0};
    b.sparsity.traversal_order.data = b.order;
    b.sparsity.block_map.data = b.map;
    b.sparsity.dimensions = b.dimensions;
    float dense[24];
    CHECK(es_expand(&b.sparsity, b.shape, 2, ES_FLOAT32, dense, 24, dense, 24) == ES_BAD_SEGMENTS);
}

int main(void)
{
    test_known();
    test_broken();
    static const double densities[] = {0, 0.1, 0.5, 1};
    for (int n = 0; n < 4000; ++n) {
        const layout l = random_layout(&rng, 300);
        test_layout(&l, densities[n % 4], n % 2 == 0 ? ES_FLOAT32 : ES_FLOAT16);
    }
    return check_report("sparse metadata: 4000 layouts, every error");
}
