/* The kernels alone: what each reaches on the layers of known networks, beside the peak of this core.
 *
 * es_bench [--json] [--calibrate] [--isa NAME] [--format NAME] [--shape PART-OF-NAME] [--rounds N] [--threads N]
 *
 * All cells of a shape are measured in turns, so that a change of the clock or a busy neighbour hits all alike. Time is
 * the minimum and the median over the rounds; GFLOP/s come from the minimum, as the peak does. A layer with few pixels
 * reads its weights once per run: in front of each of its runs the last-level cache is filled with something else. */
#define _GNU_SOURCE     /* getopt_long, clock_gettime, the sizes of caches */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"
#include "peak.h"

/* ---- what is measured ---------------------------------------------------------------------------------------------- */

typedef struct shape {
    const char *name;
    int32_t batch, size, in_c, out_c, kernel, stride;
} shape;

static const shape shapes[] = {
    {"mobilenet_v1 2", 1, 112, 32, 64, 1, 1},       {"mobilenet_v1 6", 1, 56, 128, 128, 1, 1},
    {"mobilenet_v1 10", 1, 28, 256, 256, 1, 1},     {"mobilenet_v1 14", 1, 14, 512, 512, 1, 1},
    {"mobilenet_v1 26", 1, 7, 1024, 1024, 1, 1},    {"mobilenet_v2 expand 56", 1, 56, 24, 144, 1, 1},
    {"mobilenet_v2 project 28", 1, 28, 192, 32, 1, 1}, {"mobilenet_v2 expand 14", 1, 14, 96, 576, 1, 1},
    {"mobilenet_v2 project 14", 1, 14, 576, 96, 1, 1}, {"mobilenet_v2 expand 7", 1, 7, 160, 960, 1, 1},
    {"mobilenet_v2 last", 1, 7, 320, 1280, 1, 1},   {"resnet50 3x3 56", 1, 56, 64, 64, 3, 1},
    {"resnet50 3x3 28", 1, 28, 128, 128, 3, 1},     {"resnet50 3x3 14", 1, 14, 256, 256, 3, 1},
    {"resnet50 3x3 7", 1, 7, 512, 512, 3, 1},       {"resnet50 3x3/2 56", 1, 56, 128, 128, 3, 2},
    {"resnet50 1x1 56", 1, 56, 256, 64, 1, 1},      {"resnet50 1x1 14", 1, 14, 1024, 256, 1, 1},
    {"mlp 4096 batch 1", 1, 1, 4096, 4096, 1, 1},   {"mlp 4096 batch 16", 16, 1, 4096, 4096, 1, 1},
};
static const double densities[] = {0.1, 0.2, 0.3, 0.5};
enum { SHAPES = sizeof shapes / sizeof *shapes, DENSITIES = sizeof densities / sizeof *densities, MOST_ISAS = 5 };
enum { MOST_ROUNDS = 1000, MOST_CELLS = MOST_ISAS * ES_FORMAT_COUNT * DENSITIES };

typedef struct options {
    bool json, calibrate;
    const char *isa, *format, *shape;
    size_t rounds, threads;
} options;

typedef struct cell {
    const es_isa *isa;
    es_format format;
    const shape *shape;
    double density, nonzeros, peak_gflops, predicted_us;
    es_op *op;
    void *scratch;
    char kernel[64];
    double us[MOST_ROUNDS];
    double us_min, us_median;
} cell;

static void fail(const char *what)
{
    fprintf(stderr, "es_bench: %s\n", what);
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, bytes / 64 * 64 + 64);
    if (memory == NULL)
        fail("memory is exhausted");
    memset(memory, 0, bytes / 64 * 64 + 64);
    return memory;
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, size_t count, double q)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[(size_t)(q * (double)(count - 1) + 0.5)];
}

/* ---- the peak ------------------------------------------------------------------------------------------------------ */

static double peak_gflops(const es_isa *isa)
{
    static const struct { const char *name; es_peak_loop *loop; } loops[] = {
#if defined(__x86_64__)
        {"avx512vnni", es_peak_avx512},
        {"avx512", es_peak_avx512},
        {"avxvnni", es_peak_avx2},
        {"avx2", es_peak_avx2},
#elif defined(__aarch64__) || defined(__arm__)
        {"neondot", es_peak_neon},
        {"neon", es_peak_neon},
#endif
        {"scalar", es_peak_scalar},
    };
    for (size_t i = 0; i < sizeof loops / sizeof *loops; ++i)
        if (strcmp(loops[i].name, es_isa_name(isa)) == 0) {
            double best = 0;
            for (int round = 0; round < 60; ++round) {
                const double start = now_us(), flops = loops[i].loop(20000);
                best = fmax(best, flops / (now_us() - start) * 1e-3);
            }
            return best;
        }
    return 0;
}

/* ---- weights ------------------------------------------------------------------------------------------------------- */

static uint64_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static float random_value(void)
{
    const uint32_t bits = random_bits();
    return (bits & 1u ? 1.0f : -1.0f) * (0.5f + (float)(bits >> 8) * 0x1p-24f);
}

static bool is_s8(es_format format)
{
    return format >= ES_FLOAT_FORMATS;
}

static void make_weights_s8(es_format format, int8_t *weights, size_t rows, size_t columns, double density)
{
    const size_t height = format == ES_BSR16X4 ? 16 : format == ES_BSR8X4 ? 8 : 4;
    const uint32_t below = (uint32_t)(density * 4294967295.0);
    memset(weights, 0, rows * columns);
    for (size_t row = 0; row < rows; row += height)
        for (size_t k = 0; k < columns; k += 4)
            if (random_bits() < below)
                for (size_t r = row; r < row + height && r < rows; ++r)
                    for (size_t i = k; i < k + 4 && i < columns; ++i)
                        weights[r * columns + i] = (int8_t)(random_value() * 80);
}

static void make_weights(es_format format, float *weights, size_t rows, size_t columns, double density)
{
    static const size_t heights[] = {[ES_BSR16] = 16, [ES_BSR8] = 8, [ES_BSR4] = 4, [ES_NM4] = 1, [ES_CSR] = 1};
    const size_t height = heights[format];
    const uint32_t below = (uint32_t)(density * 4294967295.0);
    memset(weights, 0, rows * columns * sizeof *weights);
    if (format == ES_NM4) {
        for (size_t i = 0; i + 4 <= rows * columns; i += 4) {
            const size_t first = random_bits() >> 30, step = 1 + random_bits() % 3;
            weights[i + first] = random_value();
            weights[i + (first + step) % 4] = random_value();
        }
        return;
    }
    for (size_t row = 0; row < rows; row += height)
        for (size_t k = 0; k < columns; ++k)
            if (random_bits() < below)
                for (size_t r = row; r < row + height && r < rows; ++r)
                    weights[r * columns + k] = random_value();
}

/* The cost model's time for this format alone: all others are made to look hopeless. */
static double predict(const es_isa *isa, es_format format, const es_conv *conv, const es_zeros *zeros)
{
    const size_t hopeless = (size_t)1 << 30;
    es_zeros only = {.type = zeros->type, .rows = zeros->rows, .columns = zeros->columns, .nonzeros = hopeless, .blocks16 = hopeless,
                     .blocks8 = hopeless, .blocks4 = hopeless};
    switch (format) {
    case ES_BSR16: case ES_BSR16X4: only.blocks16 = zeros->blocks16; break;
    case ES_BSR8: case ES_BSR8X4: only.blocks8 = zeros->blocks8; break;
    case ES_BSR4: case ES_BSR4X4: only.blocks4 = zeros->blocks4; break;
    case ES_NM4: only.nm4 = zeros->nm4; break;
    default: only.nonzeros = zeros->nonzeros; break;
    }
    es_decision decision;
    if (es_decide(isa, conv, &only, &decision) != ES_OK || decision.format != format)
        return NAN;
    return decision.sparse_us;
}

/* ---- one shape ----------------------------------------------------------------------------------------------------- */

static es_conv conv_of(const shape *s)
{
    es_conv conv = {.batch = s->batch, .in_h = s->size, .in_w = s->size, .in_c = s->in_c, .out_c = s->out_c,
                    .k_h = s->kernel, .k_w = s->kernel, .stride_h = s->stride, .stride_w = s->stride,
                    .low = 0, .high = 6};
    if (es_conv_same(&conv) != ES_OK)
        fail("a shape is wrong");
    return conv;
}

static double pixels_of(const es_conv *conv)
{
    return (double)conv->batch * conv->out_h * conv->out_w;
}

static es_status create(const es_isa *isa, es_format format, const es_conv *conv, const void *weights, es_op **op)
{
    static const float scale = 0.01f;
    const es_quantization q = {.input_scale = 0.05f, .output_scale = 6.0f / 255, .input_zero = -128, .output_zero = -128,
                               .weight_scales = &scale, .weight_scale_count = 1};
    return is_s8(format) ? es_op_create_s8(isa, format, conv, &q, weights, NULL, op)
                         : es_op_create(isa, format, conv, weights, NULL, op);
}

static size_t make_cells(const options *o, const shape *s, const es_conv *conv, const es_isa *const *isas,
                         const double *peaks, size_t isa_count, cell *cells)
{
    const size_t rows = (size_t)conv->out_c, columns = (size_t)conv->k_h * (size_t)conv->k_w * (size_t)conv->in_c;
    float *weights = allocate(rows * columns * sizeof *weights);
    size_t count = 0;
    for (int f = 0; f < ES_FORMAT_COUNT; ++f) {
        const es_format format = (es_format)f;
        if (o->format != NULL && strcmp(o->format, es_format_name(format)) != 0)
            continue;
        for (size_t d = 0; d < DENSITIES; ++d) {
            if (format == ES_NM4 && densities[d] != 0.5)
                continue;
            es_zeros zeros;
            if (is_s8(format)) {
                make_weights_s8(format, (int8_t *)weights, rows, columns, densities[d]);
                es_count_s8((const int8_t *)weights, rows, columns, (size_t)conv->in_c, &zeros);
            } else {
                make_weights(format, weights, rows, columns, densities[d]);
                es_count(weights, rows, columns, (size_t)conv->in_c, &zeros);
            }
            for (size_t i = 0; i < isa_count; ++i) {
                cell *c = &cells[count];
                *c = (cell){.isa = isas[i], .format = format, .shape = s, .density = es_density(&zeros),
                            .nonzeros = (double)zeros.nonzeros, .peak_gflops = is_s8(format) ? NAN : peaks[i]};
                if (create(isas[i], format, conv, weights, &c->op) != ES_OK)
                    continue;       /* this instruction set has no such kernel */
                c->predicted_us = predict(isas[i], format, conv, &zeros);
                c->scratch = allocate(es_op_scratch_bytes(c->op, o->threads));
                snprintf(c->kernel, sizeof c->kernel, "%s", es_op_kernel(c->op));
                ++count;
            }
        }
    }
    free(weights);
    return count;
}

/* Reads twice the last-level cache, so that nothing of a cell is left in it. */
static void evict(void)
{
    static size_t bytes;
    static char *memory;
    if (memory == NULL) {
        const long llc = sysconf(_SC_LEVEL3_CACHE_SIZE);
        bytes = llc > 0 && llc < 1 << 28 ? 2 * (size_t)llc : (size_t)64 << 20;
        memory = allocate(bytes);
    }
    unsigned sum = 0;
    for (size_t i = 0; i < bytes; i += 64)
        sum += (unsigned char)memory[i];
    __asm__ volatile("" : : "r"(sum));
}

static double run_cell(const cell *c, es_pool *pool, const float *input, float *output, size_t repetitions, bool cold)
{
    if (cold)
        evict();
    const double start = now_us();
    for (size_t n = 0; n < repetitions; ++n)
        es_op_run(c->op, pool, input, output, c->scratch);
    return (now_us() - start) / (double)repetitions;
}

static void measure(const options *o, es_pool *pool, const es_conv *conv, cell *cells, size_t count)
{
    const double pixels = pixels_of(conv);
    const size_t inputs = (size_t)conv->batch * (size_t)conv->in_h * (size_t)conv->in_w * (size_t)conv->in_c;
    const bool cold = pixels < 32;
    float *input = allocate(inputs * sizeof *input), *output = allocate((size_t)pixels * (size_t)conv->out_c * sizeof *output);
    for (size_t i = 0; i < inputs; ++i)
        input[i] = random_value();
    for (size_t round = 0; round < o->rounds; ++round)
        for (size_t i = 0; i < count; ++i) {
            cell *c = &cells[i];
            /* Warm caches: a first run that does not count, then as many as last a quarter of a millisecond. */
            const double once = cold ? 0 : run_cell(c, pool, input, output, 1, false);
            const size_t repetitions = cold || once > 250 ? 1 : (size_t)(250 / fmax(once, 1)) + 1;
            c->us[round] = run_cell(c, pool, input, output, repetitions, cold);
        }
    free(input);
    free(output);
    for (size_t i = 0; i < count; ++i) {
        cells[i].us_median = quantile(cells[i].us, o->rounds, 0.5);
        cells[i].us_min = cells[i].us[0];
        es_op_destroy(cells[i].op);
        free(cells[i].scratch);
    }
}

/* ---- what is printed ----------------------------------------------------------------------------------------------- */

static double real_gflops(const cell *c, double pixels)
{
    return 2e-3 * c->nonzeros * pixels / c->us_min;
}

static double equivalent_gflops(const cell *c, double pixels)
{
    return real_gflops(c, pixels) / c->density;
}

static void print_number(double value)
{
    if (isnan(value))
        printf("null");
    else
        printf("%.3f", value);
}

static void print_json(const cell *c, const es_conv *conv, bool first)
{
    const double pixels = pixels_of(conv);
    printf("%s\n{\"kernel\": \"%s\", \"isa\": \"%s\", \"format\": \"%s\", \"shape\": {\"name\": \"%s\", \"batch\": %d, "
           "\"in_h\": %d, \"in_w\": %d, \"in_c\": %d, \"out_h\": %d, \"out_w\": %d, \"out_c\": %d, \"k_h\": %d, "
           "\"k_w\": %d, \"stride\": %d}, \"density\": %.4f, \"us_median\": %.3f, \"us_min\": %.3f, "
           "\"real_gflops\": %.2f, \"dense_equivalent_gflops\": %.2f, \"peak_gflops\": ",
           first ? "" : ",", c->kernel, es_isa_name(c->isa), es_format_name(c->format), c->shape->name, conv->batch,
           conv->in_h, conv->in_w, conv->in_c, conv->out_h, conv->out_w, conv->out_c, conv->k_h, conv->k_w,
           conv->stride_h, c->density, c->us_median, c->us_min, real_gflops(c, pixels), equivalent_gflops(c, pixels));
    print_number(c->peak_gflops);
    printf(", \"predicted_us\": ");
    print_number(c->predicted_us);
    printf("}");
}

static void print_row(const cell *c, const es_conv *conv)
{
    const double pixels = pixels_of(conv), real = real_gflops(c, pixels);
    char peak[16] = "-";
    if (!isnan(c->peak_gflops))
        snprintf(peak, sizeof peak, "%.0f %%", 100 * real / c->peak_gflops);
    printf("%-24s %-48s %7.2f %9.1f %9.1f %9.1f %9.1f %7s %9.1f\n", c->shape->name, c->kernel, c->density, c->us_min,
           c->us_median, real, equivalent_gflops(c, pixels), peak, c->predicted_us);
}

/* How far the cost model is from the truth: measured over predicted. */
typedef struct calibration {
    double *ratios;             /* [isa][format][n] */
    size_t counts[MOST_ISAS][ES_FORMAT_COUNT];
} calibration;
enum { MOST_RATIOS = SHAPES * DENSITIES };

static double *ratios_of(const calibration *c, size_t isa, size_t format)
{
    return c->ratios + (isa * ES_FORMAT_COUNT + format) * MOST_RATIOS;
}

static void calibrate(calibration *into, const es_isa *const *isas, size_t isa_count, const cell *c)
{
    for (size_t i = 0; i < isa_count; ++i)
        if (c->isa == isas[i] && !isnan(c->predicted_us))
            ratios_of(into, i, c->format)[into->counts[i][c->format]++] = c->us_min / c->predicted_us;
}

static void print_calibration(const calibration *c, const es_isa *const *isas, size_t isa_count)
{
    fprintf(stderr, "\nmeasured minimum / predicted (at 3 GHz, one call included)\n%-8s %-8s %5s %8s %8s %8s %8s %8s\n", "isa",
            "format", "cells", "least", "p10", "median", "p90", "most");
    for (size_t i = 0; i < isa_count; ++i)
        for (size_t f = 0; f < ES_FORMAT_COUNT; ++f) {
            const size_t n = c->counts[i][f];
            double *r = ratios_of(c, i, f);
            if (n > 0)
                fprintf(stderr, "%-8s %-8s %5zu %8.2f %8.2f %8.2f %8.2f %8.2f\n", es_isa_name(isas[i]),
                        es_format_name((es_format)f), n, quantile(r, n, 0), quantile(r, n, 0.1), quantile(r, n, 0.5),
                        quantile(r, n, 0.9), quantile(r, n, 1));
        }
}

/* ---- main ---------------------------------------------------------------------------------------------------------- */

static size_t number(const char *text, size_t most)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value == 0 || value > most)
        fail("expected a number from 1; --rounds goes up to 1000, --threads up to 256");
    return value;
}

static options read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'},         {"calibrate", no_argument, NULL, 'c'},
        {"isa", required_argument, NULL, 'i'},    {"format", required_argument, NULL, 'f'},
        {"shape", required_argument, NULL, 's'},  {"rounds", required_argument, NULL, 'r'},
        {"threads", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
    };
    options o = {.rounds = 9, .threads = 1};
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1)
        switch (name) {
        case 'j': o.json = true; break;
        case 'c': o.calibrate = true; break;
        case 'i': o.isa = optarg; break;
        case 'f': o.format = optarg; break;
        case 's': o.shape = optarg; break;
        case 'r': o.rounds = number(optarg, MOST_ROUNDS); break;
        case 't': o.threads = number(optarg, 256); break;
        default:
            fail("usage: es_bench [--json] [--calibrate] [--isa NAME] [--format NAME] [--shape PART-OF-NAME] "
                 "[--rounds N] [--threads N]");
        }
    return o;
}

static size_t choose_isas(const char *name, const es_isa *isas[MOST_ISAS])
{
    if (name != NULL) {
        const es_status status = es_isa_select(name, &isas[0]);
        if (status != ES_OK)
            fail(es_status_message(status));
        return 1;
    }
    size_t all, count = 0;
    const es_isa *const *list = es_isa_list(&all);
    for (size_t i = 0; i < all && count < MOST_ISAS; ++i)
        if (es_isa_usable(list[i]))
            isas[count++] = list[i];
    return count;
}

int main(int argc, char **argv)
{
    const options o = read_options(argc, argv);
    const es_isa *isas[MOST_ISAS];
    const size_t isa_count = choose_isas(o.isa, isas);
    double peaks[MOST_ISAS];
    for (size_t i = 0; i < isa_count; ++i) {
        peaks[i] = (double)o.threads * peak_gflops(isas[i]);
        fprintf(stderr, "%s: peak %.1f GFLOP/s on %zu thread%s\n", es_isa_name(isas[i]), peaks[i], o.threads,
                o.threads == 1 ? "" : "s");
    }
    es_pool *pool;
    if (es_pool_create(o.threads, &pool) != ES_OK)
        fail("the threads cannot be started");

    cell *cells = allocate(MOST_CELLS * sizeof *cells);
    calibration ratios = {.ratios = allocate(MOST_ISAS * ES_FORMAT_COUNT * MOST_RATIOS * sizeof(double))};
    bool first = true;
    if (o.json)
        printf("[");
    else
        printf("%-24s %-48s %7s %9s %9s %9s %9s %7s %9s\n", "shape", "kernel", "density", "min us", "median", "GFLOP/s",
               "as dense", "peak", "predicted");
    for (size_t s = 0; s < SHAPES; ++s) {
        if (o.shape != NULL && strstr(shapes[s].name, o.shape) == NULL)
            continue;
        if (o.json)
            fprintf(stderr, "%s\n", shapes[s].name);
        const es_conv conv = conv_of(&shapes[s]);
        const size_t count = make_cells(&o, &shapes[s], &conv, isas, peaks, isa_count, cells);
        measure(&o, pool, &conv, cells, count);
        for (size_t i = 0; i < count; ++i, first = false) {
            if (o.json)
                print_json(&cells[i], &conv, first);
            else
                print_row(&cells[i], &conv);
            calibrate(&ratios, isas, isa_count, &cells[i]);
        }
        fflush(stdout);
    }
    if (o.json)
        printf("\n]\n");
    if (o.calibrate)
        print_calibration(&ratios, isas, isa_count);
    if (first && (o.shape != NULL || o.format != NULL))
        fail("nothing has this shape and format; formats are bsr16x1, bsr8x1, bsr4x1, nm2:4, csr, bsr16x4, bsr8x4, bsr4x4");
    es_pool_destroy(pool);
    free(cells);
    free(ratios.ratios);
    return 0;
}
