/* The small parts: statuses, choice of the instruction set, half precision, counting zeros, shapes, the cost model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "half.h"
#include "support.h"

static random_state rng = {4};

static void test_statuses(void)
{
    for (int a = 0; a < ES_STATUS_COUNT; ++a) {
        const char *sentence = es_status_message((es_status)a);
        CHECK(sentence != NULL && strlen(sentence) > 5, "status %d", a);
        for (int b = 0; b < a; ++b)
            CHECK(strcmp(sentence, es_status_message((es_status)b)) != 0, "statuses %d and %d say the same", a, b);
    }
    CHECK(es_status_message(ES_STATUS_COUNT) != NULL && es_status_message((es_status)-1) != NULL);
    CHECK(strcmp(es_status_message((es_status)12345), es_status_message(ES_STATUS_COUNT)) == 0);
    for (int f = 0; f <= ES_FORMAT_COUNT; ++f)
        CHECK(es_format_name((es_format)f) != NULL);
    CHECK(strcmp(es_format_name((es_format)99), es_format_name(ES_FORMAT_NONE)) == 0);
}

static void test_isas(void)
{
    size_t count;
    const es_isa *const *all = es_isa_list(&count), *isa, *best = NULL;
    CHECK(count >= 1 && strcmp(es_isa_name(all[count - 1]), "scalar") == 0);
    CHECK(es_isa_usable(all[count - 1]));
    for (size_t i = 0; i < count; ++i) {
        isa = NULL;
        const es_status status = es_isa_select(es_isa_name(all[i]), &isa);
        if (es_isa_usable(all[i])) {
            best = best == NULL ? all[i] : best;
            CHECK(status == ES_OK && isa == all[i], "%s", es_isa_name(all[i]));
        } else {
            CHECK(status == ES_UNUSABLE_ISA && isa == NULL, "%s", es_isa_name(all[i]));
        }
    }
    CHECK(es_isa_select(NULL, &isa) == ES_OK && isa == best);
    CHECK(es_isa_select("", &isa) == ES_OK && isa == best);
    static const char *const unknown[] = {"AVX2", "avx", "scalar ", "sse", "neon2"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; ++i)
        CHECK(es_isa_select(unknown[i], &isa) == ES_UNKNOWN_ISA, "%s", unknown[i]);
#if defined(__x86_64__)
    CHECK(es_isa_select("neon", &isa) == ES_UNKNOWN_ISA);
#if defined(__GNUC__) && !defined(__clang__)
    /* The compiler's own look at the CPU agrees. */
    CHECK((es_isa_select("avx2", &isa) == ES_OK) == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
    CHECK((es_isa_select("avx512", &isa) == ES_OK) ==
          (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma")));
#endif
#else
    CHECK(es_isa_select("avx2", &isa) == ES_UNKNOWN_ISA);
#endif
}

/* A half from its fields, in double precision. */
static double half_value(uint16_t half)
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double sign = half & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return fraction == 0 ? sign * INFINITY : NAN;
    return exponent == 0 ? sign * ldexp(fraction, -24) : sign * ldexp(1024 + fraction, exponent - 25);
}

static void test_halves(void)
{
    size_t wrong = 0;
    for (uint32_t bits = 0; bits <= UINT16_MAX; ++bits) {
        const double want = half_value((uint16_t)bits), got = (double)es_half_to_float((uint16_t)bits);
        wrong += isnan(want) ? !isnan(got) : got != want || signbit(got) != signbit(want);
    }
    CHECK(wrong == 0, "%zu of 65536 halves are wrong", wrong);
}

static void test_count(size_t rows, size_t columns, size_t group, double density, bool two_of_four)
{
    float *weights = calloc(rows * columns + 1, sizeof *weights);
    if (two_of_four)
        make_two_of_four(&rng, weights, rows, columns, density);
    else
        make_blocks(&rng, weights, rows, columns, 1 + random_below(&rng, 20), density);
    /* A negative zero is a zero. */
    if (density == 0)
        weights[rows * columns / 2] = -0.0f;
    size_t nonzeros = 0, blocks[3] = {0}, broken = 0;
    static const size_t heights[] = {16, 8, 4};
    for (size_t i = 0; i < rows * columns; ++i)
        nonzeros += weights[i] != 0;
    for (size_t h = 0; h < 3; ++h)
        for (size_t row = 0; row < rows; row += heights[h])
            for (size_t k = 0; k < columns; ++k) {
                bool any = false;
                for (size_t r = row; r < rows && r < row + heights[h]; ++r)
                    any = any || weights[r * columns + k] != 0;
                blocks[h] += any;
            }
    for (size_t i = 0; columns % 4 == 0 && i < rows * columns; i += 4)
        broken += (weights[i] != 0) + (weights[i + 1] != 0) + (weights[i + 2] != 0) + (weights[i + 3] != 0) > 2;
    es_zeros zeros;
    es_count(weights, rows, columns, group, &zeros);
    const bool nm4 = group % 4 == 0 && columns % 4 == 0 && broken == 0;
    CHECK(zeros.rows == rows && zeros.columns == columns && zeros.nonzeros == nonzeros, "%zux%zu", rows, columns);
    CHECK(zeros.blocks16 == blocks[0] && zeros.blocks8 == blocks[1] && zeros.blocks4 == blocks[2], "%zux%zu", rows, columns);
    CHECK(zeros.nm4 == nm4, "%zux%zu in groups of %zu", rows, columns, group);
    CHECK(fabs(es_density(&zeros) - (double)nonzeros / (double)(rows * columns)) < 1e-12);
    free(weights);
}

static void test_counts(void)
{
    static const size_t rows[] = {1, 3, 4, 5, 15, 16, 17, 40}, columns[] = {1, 4, 7, 36, 1023, 1024, 1025, 2100};
    static const double densities[] = {0, 0.01, 0.3, 1};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; ++r)
        for (size_t c = 0; c < sizeof columns / sizeof *columns; ++c)
            for (size_t d = 0; d < sizeof densities / sizeof *densities; ++d) {
                test_count(rows[r], columns[c], columns[c], densities[d], false);
                test_count(rows[r], columns[c], 6, densities[d], false);
                if (columns[c] % 4 == 0)
                    test_count(rows[r], columns[c], 4, densities[d], true);
            }
    const es_zeros none = {0};
    CHECK(es_density(&none) == 0);
}

static void test_shapes(void)
{
    es_conv conv = {.batch = 1, .in_h = 224, .in_w = 225, .in_c = 3, .out_c = 8, .k_h = 3, .k_w = 3, .stride_h = 2,
                    .stride_w = 2};
    CHECK(es_conv_same(&conv) == ES_OK);
    CHECK(conv.out_h == 112 && conv.out_w == 113 && conv.pad_top == 0 && conv.pad_left == 1);
    CHECK(es_conv_valid(&conv) == ES_OK);
    CHECK(conv.out_h == 111 && conv.out_w == 112 && conv.pad_top == 0 && conv.pad_left == 0);
    es_conv small = conv;
    small.in_w = 2;
    CHECK(es_conv_valid(&small) == ES_BAD_SHAPE && es_conv_same(&small) == ES_OK);
    CHECK(small.out_w == 1 && small.pad_left == 0);
    es_conv bad = conv;
    bad.stride_h = 0;
    CHECK(es_conv_same(&bad) == ES_BAD_SHAPE && es_conv_valid(&bad) == ES_BAD_SHAPE);
    bad = conv;
    bad.k_w = -1;
    CHECK(es_conv_same(&bad) == ES_BAD_SHAPE && es_conv_valid(&bad) == ES_BAD_SHAPE);
    bad = conv;
    bad.in_h = 0;
    CHECK(es_conv_same(&bad) == ES_BAD_SHAPE && es_conv_valid(&bad) == ES_BAD_SHAPE);
    es_conv large = {.in_h = INT32_MAX, .in_w = INT32_MAX, .k_h = INT32_MAX, .k_w = INT32_MAX, .stride_h = 1, .stride_w = 1};
    CHECK(es_conv_same(&large) == ES_OK && large.pad_top == INT32_MAX / 2);
    CHECK(es_conv_valid(&large) == ES_OK && large.out_h == 1);
}

static void test_cost(void)
{
    es_conv conv = {.batch = 1, .in_h = 14, .in_w = 14, .in_c = 512, .out_h = 14, .out_w = 14, .out_c = 512, .k_h = 1,
                    .k_w = 1, .stride_h = 1, .stride_w = 1};
    es_zeros dense = {ES_FLOAT32, 512, 512, 512 * 512, 512 * 32, 512 * 64, 512 * 128, false, false};
    es_zeros sparse = dense;
    sparse.nonzeros /= 20;
    sparse.blocks16 /= 20;
    sparse.blocks8 /= 20;
    sparse.blocks4 /= 20;
    CHECK(es_cost_target(0) != NULL);
    for (size_t i = 0; es_cost_target(i) != NULL; ++i) {
        const char *target = es_cost_target(i);
        es_decision full, few;
        CHECK(es_decide_for(target, &conv, &dense, &full) == ES_OK && es_decide_for(target, &conv, &sparse, &few) == ES_OK);
        CHECK(full.format < ES_FLOAT_FORMATS && few.format < ES_FLOAT_FORMATS, "%s", target);
        CHECK(few.sparse_us < full.sparse_us && few.sparse_us > 0, "%s: %g and %g us", target, few.sparse_us,
              full.sparse_us);
        CHECK(few.dense_us == full.dense_us && full.dense_us > 0 && isfinite(full.sparse_us), "%s", target);
        CHECK(full.sparse_us > full.dense_us, "%s: dense weights pay as sparse", target);
    }
    es_decision decision;
    CHECK(es_decide_for("z80", &conv, &dense, &decision) == ES_UNKNOWN_ISA);
    size_t count;
    const es_isa *const *all = es_isa_list(&count);
    for (size_t i = 0; i < count; ++i)
        CHECK(es_decide(all[i], &conv, &sparse, &decision) == ES_OK, "%s has no cost model", es_isa_name(all[i]));
}

int main(void)
{
    test_statuses();
    test_isas();
    test_halves();
    test_counts();
    test_shapes();
    test_cost();
    return check_report("basics: statuses, instruction sets, halves, zeros, shapes, costs");
}
