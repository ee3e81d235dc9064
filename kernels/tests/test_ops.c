/* es_op_create and es_op_run against the definition of a convolution: every instruction set and format, over shapes, strides,
 * paddings, batches, densities, activations and threads, with inputs, outputs and scratch memory that end where the process
 * may read no further. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isas.h"
#include "shapes.h"
#include "support.h"

static random_state rng = {2};

static bool fits(const es_isa *isa, es_format format, const es_conv *conv)
{
    if (format == ES_CSR)
        return true;
    return es_tile_table(isa, format, ES_NARROW) != NULL && (format != ES_NM4 || conv->in_c % 4 == 0);
}

static float *new_floats(size_t count)
{
    float *floats = calloc(count + 1, sizeof *floats);
    if (floats == NULL)
        exit(1);
    return floats;
}

/* Runs `op` on memory that ends, or begins, at a page that faults. */
static void run_guarded(es_op *op, const es_conv *conv, es_pool *pool, const float *weights, const float *bias,
                        double nan_share, side where)
{
    const size_t inputs = conv_inputs(conv), outputs = conv_outputs(conv);
    guarded input = guarded_allocate(inputs * sizeof(float), sizeof(float), where);
    guarded output = guarded_allocate(outputs * sizeof(float), sizeof(float), where);
    guarded scratch = guarded_allocate(es_op_scratch_bytes(op, es_pool_threads(pool)), 64, where);
    float *x = (float *)input.data;
    for (size_t i = 0; i < inputs; ++i)
        x[i] = random_unit(&rng) < nan_share ? NAN : random_value(&rng);
    es_op_run(op, pool, x, (float *)output.data, scratch.data);
    expected *e = calloc(outputs, sizeof *e);
    reference_conv(conv, weights, bias, x, e);
    const size_t wrong = first_difference((const float *)output.data, e, outputs);
    CHECK(wrong == outputs, "%s, %zu threads, %s: output %zu is %g, expected %g", es_op_kernel(op), es_pool_threads(pool),
          conv_text(conv), wrong, (double)((const float *)output.data)[wrong % outputs], e[wrong % outputs].value);
    free(e);
    CHECK(guarded_free(&input), "%s wrote beside its input", es_op_kernel(op));
    CHECK(guarded_free(&output), "%s wrote beside its output", es_op_kernel(op));
    CHECK(guarded_free(&scratch), "%s wrote beside its scratch memory", es_op_kernel(op));
}

/* The name says which instruction set ran and which format. */
static void check_name(const es_op *op, const es_isa *isa, es_format format)
{
    const char *name = es_op_kernel(op), *suffix = strstr(name, "__");
    CHECK(suffix != NULL && strcmp(suffix + 2, isa->name) == 0, "%s is not of %s", name, isa->name);
    static const char *const parts[] = {"_bsr_16x1_", "_bsr_8x1_", "_bsr_4x1_", "_nm_2of4_", "_csr_"};
    CHECK(strstr(name, parts[format]) != NULL, "%s is not %s", name, es_format_name(format));
    CHECK(es_op_format(op) == format);
}

static void test_shape(const es_isa *isa, es_format format, const shape *s, double density, bool with_bias, side where)
{
    es_conv conv = conv_of(s);
    if (!fits(isa, format, &conv))
        return;
    if (random_below(&rng, 2) != 0) {
        conv.low = 0;
        conv.high = random_below(&rng, 2) ? 6 : INFINITY;
    }
    const size_t rows = (size_t)conv.out_c, columns = conv_weights(&conv) / rows;
    float *weights = new_floats(rows * columns), *bias = with_bias ? new_floats(rows) : NULL;
    make_weights(&rng, format, weights, rows, columns, density);
    for (size_t r = 0; with_bias && r < rows; ++r)
        bias[r] = random_value(&rng);
    es_op *op;
    const es_status status = es_op_create(isa, format, &conv, weights, bias, &op);
    if (CHECK(status == ES_OK, "%s %s: %s", isa->name, es_format_name(format), es_status_message(status))) {
        check_name(op, isa, format);
        run_guarded(op, &conv, NULL, weights, bias, 0, where);
        es_op_destroy(op);
    }
    free(weights), free(bias);
}

static void test_nan(const es_isa *isa, es_format format, const shape *s)
{
    const es_conv conv = conv_of(s);
    if (!fits(isa, format, &conv))
        return;
    const size_t rows = (size_t)conv.out_c, columns = conv_weights(&conv) / rows;
    float *weights = new_floats(rows * columns);
    make_weights(&rng, format, weights, rows, columns, 0.4);
    es_op *op;
    if (CHECK(es_op_create(isa, format, &conv, weights, NULL, &op) == ES_OK)) {
        run_guarded(op, &conv, NULL, weights, NULL, 0.05, AT_END);
        es_op_destroy(op);
    }
    free(weights);
}

/* The same weights on other sizes of the input: smaller, larger, and so wide that 16-bit offsets do not reach. */
static void test_reshape(const es_isa *isa, es_format format, bool pointwise)
{
    const int32_t k = pointwise ? 1 : 3;
    es_conv conv = {.batch = 1, .in_h = 6, .in_w = 7, .in_c = 20, .out_c = 18, .k_h = k, .k_w = k, .stride_h = 1,
                    .stride_w = 1, .low = -INFINITY, .high = INFINITY};
    es_conv_same(&conv);
    if (!fits(isa, format, &conv))
        return;
    const size_t rows = (size_t)conv.out_c, columns = conv_weights(&conv) / rows;
    float *weights = new_floats(rows * columns);
    make_weights(&rng, format, weights, rows, columns, 0.3);
    es_op *op;
    if (!CHECK(es_op_create(isa, format, &conv, weights, NULL, &op) == ES_OK))
        return;
    static const int32_t sizes[][3] = {{2, 9, 5}, {1, 3, 40}, {1, 4, 2000}, {3, 2, 6}, {1, 1, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        es_conv other = conv;
        other.batch = sizes[i][0];
        other.in_h = sizes[i][1];
        other.in_w = sizes[i][2];
        es_conv_same(&other);
        const es_status status = es_op_reshape(op, &other);
        if (CHECK(status == ES_OK, "%s: %s", conv_text(&other), es_status_message(status)))
            run_guarded(op, &other, NULL, weights, NULL, 0, AT_END);
    }
    /* Other weights would be needed for these: refused, and the operator stays as it was. */
    es_conv wrong = conv;
    wrong.in_c = 4;
    CHECK(es_op_reshape(op, &wrong) == ES_BAD_SHAPE);
    wrong = conv;
    wrong.out_c = 17;
    CHECK(es_op_reshape(op, &wrong) == ES_BAD_SHAPE);
    wrong = conv;
    wrong.k_w = 2;
    CHECK(es_op_reshape(op, &wrong) == ES_BAD_SHAPE);
    wrong = conv;
    wrong.in_h = 0;
    CHECK(es_op_reshape(op, &wrong) == ES_BAD_SHAPE);
    CHECK(es_op_reshape(op, &conv) == ES_OK);
    run_guarded(op, &conv, NULL, weights, NULL, 0, AT_END);
    es_op_destroy(op);
    free(weights);
}

/* Offsets of more than 16 bits from the start: many channels, a wide picture. */
static void test_wide(const es_isa *isa, es_format format)
{
    static const shape wide[] = {{1, 3, 300, 120, 16, 3, 3, 1, 1, SAME}, {1, 1, 2, 70000, 9, 1, 1, 1, 1, VALID},
                                 {1, 1, 1, 70000, 5, 1, 1, 1, 1, VALID}};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; ++i)
        test_shape(isa, format, &wide[i], 0.02, false, AT_END);
}

static void test_refusals(const es_isa *isa)
{
    const es_conv good = conv_of(&(shape){1, 6, 6, 4, 8, 3, 3, 1, 1, SAME});
    float *weights = new_floats(conv_weights(&good));
    es_op *op;
#define REFUSED(status, field, value)                                                                                  \
    do {                                                                                                               \
        es_conv bad = good;                                                                                            \
        bad.field = value;                                                                                             \
        op = (es_op *)weights;                                                                                         \
        CHECK(es_op_create(isa, ES_BSR8, &bad, weights, NULL, &op) == (status), #field " = " #value);                  \
        CHECK(op == NULL);                                                                                             \
    } while (0)
    REFUSED(ES_BAD_SHAPE, batch, 0);
    REFUSED(ES_BAD_SHAPE, in_h, -6);
    REFUSED(ES_BAD_SHAPE, in_c, 0);
    REFUSED(ES_BAD_SHAPE, out_c, 0);
    REFUSED(ES_BAD_SHAPE, out_w, 0);
    REFUSED(ES_BAD_SHAPE, out_h, 60);
    REFUSED(ES_BAD_SHAPE, k_h, 0);
    REFUSED(ES_BAD_SHAPE, stride_w, 0);
    REFUSED(ES_BAD_SHAPE, pad_top, -1);
    REFUSED(ES_BAD_SHAPE, pad_left, 3);
    REFUSED(ES_BAD_SHAPE, low, NAN);
    REFUSED(ES_BAD_SHAPE, high, NAN);
#undef REFUSED
    const es_conv huge = {.batch = INT32_MAX, .in_h = INT32_MAX, .in_w = INT32_MAX, .in_c = INT32_MAX, .out_h = INT32_MAX,
                          .out_w = INT32_MAX, .out_c = INT32_MAX, .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1};
    CHECK(es_op_create(isa, ES_CSR, &huge, weights, NULL, &op) == ES_TOO_LARGE);
    CHECK(es_op_create(isa, ES_FORMAT_NONE, &good, weights, NULL, &op) == ES_NO_KERNEL);
    CHECK(es_op_create(isa, ES_BSR8X4, &good, weights, NULL, &op) == ES_NO_KERNEL);
    CHECK(es_op_create(isa, (es_format)-1, &good, weights, NULL, &op) == ES_NO_KERNEL);
    const es_conv odd = conv_of(&(shape){1, 6, 6, 5, 8, 3, 3, 1, 1, SAME});
    CHECK(es_op_create(isa, ES_NM4, &odd, weights, NULL, &op) == ES_NO_KERNEL);
    es_op_destroy(NULL);
    free(weights);
}

int main(void)
{
    const es_isa *isas[MOST_ISAS];
    const size_t count = usable_isas(isas);
    static const double densities[] = {0, 0.05, 0.3, 0.7, 1};
    for (size_t i = 0; i < count; ++i) {
        test_refusals(isas[i]);
        for (es_format format = 0; format < ES_FLOAT_FORMATS; ++format) {
            for (size_t s = 0; s < SHAPES; ++s) {
                for (size_t d = 0; d < sizeof densities / sizeof *densities; ++d)
                    test_shape(isas[i], format, &shapes[s], densities[d], (s + d) % 3 != 0,
                               (s + d) % 4 == 0 ? AT_START : AT_END);
                test_nan(isas[i], format, &shapes[s]);
            }
            test_reshape(isas[i], format, false);
            test_reshape(isas[i], format, true);
            test_wide(isas[i], format);
        }
    }
    char what[80];
    snprintf(what, sizeof what, "operators: %zu instruction sets, %d formats, %d shapes", count, (int)ES_FLOAT_FORMATS,
             (int)SHAPES);
    return check_report(what);
}
