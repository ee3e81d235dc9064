/* Writes the seed corpora: make_seeds DIRECTORY fills DIRECTORY/fuzz_expand and DIRECTORY/fuzz_delegate with whole, valid
 * inputs, from which a fuzzer reaches the rest by small changes. The numbers are written as bytes.h reads them. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bytes.h"
#include "../tests/encode.h"

typedef struct seed {
    uint8_t data[1 << 16];
    size_t size;
} seed;

static void put_byte(seed *s, size_t byte)
{
    if (s->size < sizeof s->data)
        s->data[s->size++] = (uint8_t)byte;
}

static void put_number(seed *s, int32_t number)
{
    if (number >= 0 && number < MARK_INT32) {
        put_byte(s, (size_t)number);
        return;
    }
    put_byte(s, MARK_INT32);
    for (int i = 0; i < 4; ++i)
        put_byte(s, (uint32_t)number >> 8 * i & 255);
}

static void put_numbers(seed *s, const int32_t *numbers, size_t count)
{
    put_byte(s, count);
    for (size_t i = 0; i < count; ++i)
        put_number(s, numbers[i]);
}

static void put_sparsity(seed *s, const encoded *e, const layout *l)
{
    put_numbers(s, l->traversal, l->levels);
    put_numbers(s, l->block_map, l->levels - l->rank);
    put_byte(s, l->levels);
    for (size_t i = 0; i < l->levels; ++i) {
        put_byte(s, l->csr[i]);
        if (l->csr[i]) {
            put_numbers(s, e->dimensions[i].segments.data, e->dimensions[i].segments.size);
            put_numbers(s, e->dimensions[i].indices.data, e->dimensions[i].indices.size);
        } else {
            put_number(s, e->dimensions[i].dense_size);
        }
    }
}

/* False: an array is longer than the targets read. */
static bool short_enough(const encoded *e)
{
    for (size_t i = 0; i < ES_MAX_RANK; ++i)
        if (e->dimensions[i].segments.size > 200 || e->dimensions[i].indices.size > 200)
            return false;
    return true;
}

static void write_seed(const char *directory, const char *target, int number, const seed *s)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, target);
    mkdir(directory, 0777);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%02d", directory, target, number);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(s->data, 1, s->size, file) != s->size || fclose(file) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

static bool expand_seed(random_state *r, int half, seed *s)
{
    const layout l = random_layout(r, 60);
    float dense[256] = {0};
    for (size_t i = 0; i < layout_count(&l); ++i)
        dense[i] = random_below(r, 3) == 0 ? 1.0f : 0.0f;
    encoded e = encode(r, &l, dense);
    const bool usable = short_enough(&e);
    put_byte(s, (size_t)half);
    put_byte(s, 0);
    put_number(s, 0);
    put_numbers(s, l.shape, l.rank);
    put_sparsity(s, &e, &l);
    for (size_t i = 0; i < e.value_count * (half ? 2 : 4); ++i)
        put_byte(s, i % 4 == 3 ? 0x3f : 0x80);
    encoded_free(&e);
    return usable;
}

/* ---- models: as fuzz_delegate.c reads them ------------------------------------------------------------------------- */

enum { FLOAT32 = 0, FLOAT16 = 3, INT32 = 4, INT8 = 5, CONSTANT = 0, COMPUTED = 1 };
enum { CONV = 0, FC = 1, DENSIFY = 2, DEQUANTIZE = 3, PAD = 6, DEPTHWISE = 7, MEAN = 8, ADD = 9 };

static void put_tensor(seed *s, int type, int allocation, const int32_t *shape, size_t rank)
{
    put_byte(s, (size_t)type);
    put_byte(s, (size_t)allocation);
    put_numbers(s, shape, rank);
    put_byte(s, 0);
    if (allocation == CONSTANT) {
        put_number(s, 0);
        put_byte(s, 60);
    }
}

static void put_sparse_tensor(random_state *r, seed *s, int type, const int32_t *shape, size_t rank, int block)
{
    layout l = {.rank = rank, .levels = rank + (block > 1)};
    for (size_t d = 0; d < l.levels; ++d) {
        l.traversal[d] = (int32_t)d;
        l.shape[d] = d < rank ? shape[d] : 0;
        l.csr[d] = d == rank - 1;
    }
    l.block_size[0] = block;
    float *dense = calloc(layout_count(&l), sizeof *dense);
    for (size_t i = 0; i < layout_count(&l); ++i)
        dense[i] = random_below(r, 6) == 0 ? 1.0f : 0.0f;
    encoded e = encode(r, &l, dense);
    put_byte(s, (size_t)type);
    put_byte(s, CONSTANT);
    put_numbers(s, shape, rank);
    put_byte(s, 3);
    put_sparsity(s, &e, &l);
    put_number(s, (int32_t)(e.value_count * (type == FLOAT16 ? 2 : 4)));
    put_byte(s, 200);
    encoded_free(&e);
    free(dense);
}

static void put_node(seed *s, int code, const int32_t *inputs, size_t input_count, int32_t output, const int32_t *params,
                     size_t param_count)
{
    put_byte(s, (size_t)code);
    put_byte(s, input_count);
    for (size_t i = 0; i < input_count; ++i)
        put_number(s, inputs[i]);
    put_number(s, output);
    put_byte(s, param_count);
    for (size_t i = 0; i < param_count; ++i)
        put_number(s, params[i]);
    put_byte(s, 0);
}

static void put_options(seed *s, size_t isa)
{
    put_byte(s, 2);
    put_byte(s, 0), put_byte(s, 0);         /* claim=all */
    put_byte(s, 1), put_byte(s, isa);
    put_byte(s, 0);                         /* one thread */
}

/* picture -> conv k x k -> conv 1x1, the weights dense, sparse, sparse in blocks, sparse halves. */
static void conv_seed(random_state *r, seed *s, int32_t k, int kind)
{
    const int32_t picture[] = {1, 5, 6, 4}, a[] = {8, k, k, 4}, b[] = {4, 1, 1, 8}, mid[] = {1, 5, 6, 8}, out[] = {1, 5, 6, 4};
    const int32_t bias[] = {8}, params[] = {1, 1, 1, 1, 1, 1};
    put_options(s, kind % 2 ? 3 : 4);       /* scalar, avx2 */
    const int type = kind == 3 ? FLOAT16 : FLOAT32;
    put_byte(s, 8);
    put_tensor(s, FLOAT32, COMPUTED, picture, 4);       /* 0 */
    if (kind == 0)
        put_tensor(s, type, CONSTANT, a, 4);            /* 1 */
    else
        put_sparse_tensor(r, s, type, a, 4, kind == 2 ? 4 : 1);
    put_tensor(s, type, COMPUTED, a, 4);                /* 2: behind DENSIFY */
    put_tensor(s, FLOAT32, COMPUTED, a, 4);             /* 3: behind DEQUANTIZE */
    put_tensor(s, FLOAT32, CONSTANT, bias, 1);          /* 4 */
    put_tensor(s, FLOAT32, COMPUTED, mid, 4);           /* 5 */
    put_tensor(s, FLOAT32, CONSTANT, b, 4);             /* 6 */
    put_tensor(s, FLOAT32, COMPUTED, out, 4);           /* 7 */
    const int32_t weights = kind == 0 ? 1 : kind == 3 ? 3 : 2;
    put_byte(s, kind == 0 ? 2 : kind == 3 ? 4 : 3);
    if (kind > 0)
        put_node(s, DENSIFY, (const int32_t[]){1}, 1, 2, NULL, 0);
    if (kind == 3)
        put_node(s, DEQUANTIZE, (const int32_t[]){2}, 1, 3, NULL, 0);
    put_node(s, CONV, (const int32_t[]){0, weights, 4}, 3, 5, params, 6);
    put_node(s, CONV, (const int32_t[]){5, 6}, 2, 7, params, 6);
    put_number(s, 7);
    put_byte(s, 2), put_number(s, 9);       /* then wider */
}

static void fully_connected_seed(random_state *r, seed *s, int keep, int sparse)
{
    const int32_t in[] = {3, 16}, w[] = {5, 16}, out[] = {3, 5};
    put_options(s, 3);
    put_byte(s, 4);
    put_tensor(s, FLOAT32, COMPUTED, in, 2);
    if (sparse)
        put_sparse_tensor(r, s, FLOAT32, w, 2, 1);
    else
        put_tensor(s, FLOAT32, CONSTANT, w, 2);
    put_tensor(s, FLOAT32, COMPUTED, w, 2);
    put_tensor(s, FLOAT32, COMPUTED, out, 2);
    put_byte(s, sparse ? 2 : 1);
    if (sparse)
        put_node(s, DENSIFY, (const int32_t[]){1}, 1, 2, NULL, 0);
    put_node(s, FC, (const int32_t[]){0, sparse ? 2 : 1}, 2, 3, (const int32_t[]){1, 0, keep}, 3);
    put_number(s, 3);
    put_byte(s, 0), put_number(s, 7);
}

static void put_ints(seed *s, const int32_t *shape, size_t rank, const int32_t *values, size_t count)
{
    put_byte(s, INT32);
    put_byte(s, CONSTANT);
    put_numbers(s, shape, rank);
    put_byte(s, 0);
    put_number(s, 0);
    put_byte(s, 0);
    for (size_t i = 0; i < count; ++i)
        put_number(s, values[i]);
}

/* conv 1x1 -> depthwise -> ADD the conv's output -> PAD -> conv 3x3 -> MEAN. */
static void block_seed(seed *s, size_t isa)
{
    const int32_t picture[] = {1, 4, 5, 8}, a[] = {8, 1, 1, 8}, d[] = {1, 3, 3, 8}, c[] = {8, 3, 3, 8};
    const int32_t padded[] = {1, 6, 6, 8}, last[] = {1, 4, 4, 8}, flat[] = {1, 8};
    const int32_t pad_shape[] = {4, 2}, pads[] = {0, 0, 1, 1, 0, 1, 0, 0}, axes_shape[] = {2}, axes[] = {1, 2};
    put_options(s, isa);
    put_byte(s, 12);
    put_tensor(s, FLOAT32, COMPUTED, picture, 4);       /* 0 */
    put_tensor(s, FLOAT32, CONSTANT, a, 4);             /* 1 */
    put_tensor(s, FLOAT32, CONSTANT, d, 4);             /* 2 */
    put_tensor(s, FLOAT32, CONSTANT, c, 4);             /* 3 */
    put_ints(s, pad_shape, 2, pads, 8);                 /* 4 */
    put_ints(s, axes_shape, 1, axes, 2);                /* 5 */
    put_tensor(s, FLOAT32, COMPUTED, picture, 4);       /* 6: conv */
    put_tensor(s, FLOAT32, COMPUTED, picture, 4);       /* 7: depthwise */
    put_tensor(s, FLOAT32, COMPUTED, picture, 4);       /* 8: sum */
    put_tensor(s, FLOAT32, COMPUTED, padded, 4);        /* 9 */
    put_tensor(s, FLOAT32, COMPUTED, last, 4);          /* 10 */
    put_tensor(s, FLOAT32, COMPUTED, flat, 2);          /* 11 */
    put_byte(s, 6);
    put_node(s, CONV, (const int32_t[]){0, 1}, 2, 6, (const int32_t[]){1, 1, 1, 3, 1, 1}, 6);
    put_node(s, DEPTHWISE, (const int32_t[]){6, 2}, 2, 7, (const int32_t[]){1, 1, 1, 1, 1, 1, 1}, 7);
    put_node(s, ADD, (const int32_t[]){7, 6}, 2, 8, (const int32_t[]){1}, 1);
    put_node(s, PAD, (const int32_t[]){8, 4}, 2, 9, NULL, 0);
    put_node(s, CONV, (const int32_t[]){9, 3}, 2, 10, (const int32_t[]){2, 1, 1, 0, 1, 1}, 6);
    put_node(s, MEAN, (const int32_t[]){10, 5}, 2, 11, (const int32_t[]){0}, 1);
    put_number(s, 11);
    put_byte(s, 1), put_number(s, 9);       /* then higher */
}

/* One scale and the zero point, or for weights as many scales as `channels`, the zero point 0. */
static void put_int8(seed *s, int allocation, const int32_t *shape, size_t rank, size_t channels, size_t dimension,
                     int32_t zero)
{
    put_byte(s, INT8);
    put_byte(s, (size_t)allocation);
    put_numbers(s, shape, rank);
    put_byte(s, 0);
    put_byte(s, channels);
    for (size_t i = 0; i < channels; ++i)
        put_byte(s, 0);
    put_byte(s, 1), put_number(s, zero);
    put_byte(s, dimension);
    if (allocation == CONSTANT) {
        put_number(s, 0);
        put_byte(s, 60);
    }
}

/* conv 1x1 -> depthwise -> ADD the conv's output -> conv 3x3, all int8. */
static void int8_seed(seed *s, size_t isa, bool fixed)
{
    const int32_t picture[] = {1, 4, 5, 16}, a[] = {16, 1, 1, 16}, d[] = {1, 3, 3, 16}, c[] = {8, 3, 3, 16};
    const int32_t last[] = {1, 2, 3, 8}, bias_shape[] = {16}, bias[16] = {0, 100, -100};
    put_byte(s, 3);
    put_byte(s, 0), put_byte(s, 0);         /* claim=all */
    put_byte(s, 1), put_byte(s, isa);
    put_byte(s, 5), put_byte(s, fixed ? 14 : 15);
    put_byte(s, 0);
    put_byte(s, 9);
    put_int8(s, COMPUTED, picture, 4, 1, 0, -3);        /* 0 */
    put_int8(s, CONSTANT, a, 4, 16, 0, 0);              /* 1 */
    put_int8(s, CONSTANT, d, 4, 16, 3, 0);              /* 2 */
    put_int8(s, CONSTANT, c, 4, 1, 0, 0);               /* 3 */
    put_ints(s, bias_shape, 1, bias, 16);               /* 4 */
    put_int8(s, COMPUTED, picture, 4, 1, 0, 5);         /* 5: conv */
    put_int8(s, COMPUTED, picture, 4, 1, 0, 0);         /* 6: depthwise */
    put_int8(s, COMPUTED, picture, 4, 1, 0, 7);         /* 7: sum */
    put_int8(s, COMPUTED, last, 4, 1, 0, 1);            /* 8 */
    put_byte(s, 4);
    put_node(s, CONV, (const int32_t[]){0, 1, 4}, 3, 5, (const int32_t[]){1, 1, 1, 3, 1, 1}, 6);
    put_node(s, DEPTHWISE, (const int32_t[]){5, 2, 4}, 3, 6, (const int32_t[]){1, 1, 1, 1, 1, 1, 1}, 7);
    put_node(s, ADD, (const int32_t[]){6, 5}, 2, 7, (const int32_t[]){1}, 1);
    put_node(s, CONV, (const int32_t[]){7, 3}, 2, 8, (const int32_t[]){2, 1, 1, 0, 1, 1}, 6);
    put_number(s, 8);
    put_byte(s, 1), put_number(s, 9);       /* then higher */
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds DIRECTORY\n");
        return 2;
    }
    random_state r = {7};
    for (int number = 0; number < 24;) {
        seed s = {.size = 0};
        if (expand_seed(&r, number % 2, &s))
            write_seed(argv[1], "fuzz_expand", number++, &s);
    }
    int number = 0;
    for (int32_t k = 1; k <= 3; k += 2)
        for (int kind = 0; kind < 4; ++kind) {
            seed s = {.size = 0};
            conv_seed(&r, &s, k, kind);
            write_seed(argv[1], "fuzz_delegate", number++, &s);
        }
    for (int n = 0; n < 4; ++n) {
        seed s = {.size = 0};
        fully_connected_seed(&r, &s, n % 2, n / 2);
        write_seed(argv[1], "fuzz_delegate", number++, &s);
    }
    for (size_t isa = 3; isa < 5; ++isa) {
        seed s = {.size = 0};
        block_seed(&s, isa);
        write_seed(argv[1], "fuzz_delegate", number++, &s);
    }
    for (size_t n = 0; n < 4; ++n) {
        seed s = {.size = 0};
        int8_seed(&s, 3 + n % 2, n / 2);
        write_seed(argv[1], "fuzz_delegate", number++, &s);
    }
    return 0;
}
