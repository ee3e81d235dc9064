/* Operators on pools of two and four threads: the same outputs as alone, scratch memory of exactly the size they ask for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isas.h"
#include "support.h"

static random_state rng = {3};

static void test_op(const es_isa *isa, es_format format, es_pool *pool, es_conv conv)
{
    if (es_conv_same(&conv) != ES_OK || (format != ES_CSR && es_tile_table(isa, format, ES_NARROW) == NULL))
        return;
    const size_t rows = (size_t)conv.out_c, columns = conv_weights(&conv) / rows, outputs = conv_outputs(&conv);
    float *weights = calloc(rows * columns, sizeof *weights), *input = calloc(conv_inputs(&conv), sizeof *input);
    float *output = calloc(outputs, sizeof *output);
    expected *e = calloc(outputs, sizeof *e);
    make_weights(&rng, format, weights, rows, columns, 0.3);
    for (size_t i = 0; i < conv_inputs(&conv); ++i)
        input[i] = random_value(&rng);
    reference_conv(&conv, weights, NULL, input, e);
    es_op *op;
    if (CHECK(es_op_create(isa, format, &conv, weights, NULL, &op) == ES_OK)) {
        guarded scratch = guarded_allocate(es_op_scratch_bytes(op, es_pool_threads(pool)), 64, AT_END);
        for (int n = 0; n < 3; ++n) {
            memset(output, 0, outputs * sizeof *output);
            es_op_run(op, pool, input, output, scratch.data);
            const size_t wrong = first_difference(output, e, outputs);
            CHECK(wrong == outputs, "%s, %zu threads, %s: output %zu is %g, expected %g", es_op_kernel(op),
                  es_pool_threads(pool), conv_text(&conv), wrong, (double)output[wrong % outputs],
                  e[wrong % outputs].value);
        }
        CHECK(guarded_free(&scratch), "%s wrote beside its scratch memory", es_op_kernel(op));
        es_op_destroy(op);
    }
    free(weights), free(input), free(output), free(e);
}

int main(void)
{
    const es_isa *isas[MOST_ISAS];
    const size_t count = usable_isas(isas);
    static const es_conv convs[] = {
        {.batch = 1, .in_h = 1, .in_w = 1, .in_c = 64, .out_c = 100, .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1},
        {.batch = 3, .in_h = 1, .in_w = 1, .in_c = 64, .out_c = 3, .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1},
        {.batch = 1, .in_h = 2, .in_w = 3, .in_c = 24, .out_c = 50, .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1},
        {.batch = 1, .in_h = 14, .in_w = 14, .in_c = 32, .out_c = 33, .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1},
        {.batch = 2, .in_h = 9, .in_w = 11, .in_c = 8, .out_c = 20, .k_h = 3, .k_w = 3, .stride_h = 1, .stride_w = 1},
        {.batch = 1, .in_h = 15, .in_w = 15, .in_c = 4, .out_c = 130, .k_h = 5, .k_w = 3, .stride_h = 2, .stride_w = 2},
    };
    static const size_t threads[] = {1, 2, 4};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; ++t) {
        es_pool *pool;
        if (!CHECK(es_pool_create(threads[t], &pool) == ES_OK))
            continue;
        for (size_t i = 0; i < count; ++i)
            for (es_format format = 0; format < ES_FLOAT_FORMATS; ++format)
                for (size_t c = 0; c < sizeof convs / sizeof *convs; ++c) {
                    es_conv conv = convs[c];
                    conv.low = -INFINITY;
                    conv.high = INFINITY;
                    test_op(isas[i], format, pool, conv);
                }
        es_pool_destroy(pool);
    }
    return check_report("threads: all formats on pools of 1, 2 and 4");
}
