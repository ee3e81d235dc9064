/* int8 operators against the definition: sums of whole numbers, scaled in float, rounded half to even, bit for bit. Every
 * instruction set and block height over shapes, zero points, activations and threads, with memory that ends where the process
 * may read no further. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isas.h"
#include "shapes.h"
#include "support.h"

static random_state rng = {8};

typedef struct layer {
    es_conv conv;
    es_quantization quantization;
    int8_t *weights;
    int32_t *bias;
    float *scales;
} layer;

static int8_t random_byte(void)
{
    return (int8_t)((int)random_below(&rng, 256) - 128);
}

static void *room(size_t bytes)
{
    void *memory = calloc(bytes + 1, 1);
    if (memory == NULL)
        exit(1);
    return memory;
}

/* Blocks of `height` x 4 within taps; the values at both ends of their range more often than chance has them. */
static void make_quads(int8_t *weights, size_t rows, size_t taps, size_t in_c, size_t height, double density)
{
    memset(weights, 0, rows * taps * in_c);
    for (size_t row = 0; row < rows; row += height)
        for (size_t tap = 0; tap < taps; ++tap)
            for (size_t c = 0; c < in_c; c += 4) {
                if (random_unit(&rng) >= density)
                    continue;
                for (size_t r = row; r < row + height && r < rows; ++r)
                    for (size_t i = c; i < c + 4 && i < in_c; ++i) {
                        const int8_t value = random_byte();
                        weights[(r * taps + tap) * in_c + i] =
                            random_below(&rng, 8) == 0 ? (int8_t)(value < 0 ? -127 : 127) : value == -128 ? 0 : value;
                    }
            }
}

static layer make_layer(const shape *s, size_t height, double density)
{
    layer l = {.conv = conv_of(s)};
    const size_t rows = (size_t)l.conv.out_c, taps = (size_t)(l.conv.k_h * l.conv.k_w), in_c = (size_t)l.conv.in_c;
    const size_t columns = taps * in_c;
    l.weights = room(rows * columns);
    l.bias = room(rows * sizeof *l.bias);
    l.scales = room(rows * sizeof *l.scales);
    make_quads(l.weights, rows, taps, in_c, height, density);
    const bool per_channel = random_below(&rng, 3) != 0;
    for (size_t r = 0; r < rows; ++r) {
        l.bias[r] = (int32_t)random_below(&rng, 60000) - 30000;
        l.scales[r] = (float)(0.002 + 0.01 * random_unit(&rng));
    }
    static const int32_t zeros[] = {-128, 0, 127, 5, -77};
    l.quantization = (es_quantization){
        .input_scale = 0.05f,
        .output_scale = (float)(0.02 + 0.004 * density * (double)columns * random_unit(&rng)),
        .input_zero = zeros[random_below(&rng, 5)],
        .output_zero = zeros[random_below(&rng, 5)],
        .weight_scales = l.scales,
        .weight_scale_count = per_channel ? rows : 1,
    };
    switch (random_below(&rng, 4)) {
    case 0: l.conv.low = 0, l.conv.high = 6; break;
    case 1: l.conv.low = 0; break;
    case 2: l.conv.low = -1, l.conv.high = 1; break;
    default: break;
    }
    return l;
}

static void free_layer(layer *l)
{
    free(l->weights), free(l->bias), free(l->scales);
}

static float clamped(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* What quantised bounds an activation has, as XNNPACK quantises them. */
static float bound(float real, const es_quantization *q)
{
    return rintf(clamped(real / q->output_scale + (float)q->output_zero, -128, 127)) - (float)q->output_zero;
}

static void reference(const layer *l, const es_conv *c, const int8_t *x, int8_t *y)
{
    const es_quantization *q = &l->quantization;
    const float low = bound(c->low, q), high = bound(c->high, q);
    for (int32_t n = 0; n < c->batch; ++n)
        for (int32_t oy = 0; oy < c->out_h; ++oy)
            for (int32_t ox = 0; ox < c->out_w; ++ox)
                for (int32_t o = 0; o < c->out_c; ++o) {
                    int64_t sum = l->bias[o];
                    for (int32_t ky = 0; ky < c->k_h; ++ky)
                        for (int32_t kx = 0; kx < c->k_w; ++kx) {
                            const int32_t iy = oy * c->stride_h + ky - c->pad_top, ix = ox * c->stride_w + kx - c->pad_left;
                            if (iy < 0 || iy >= c->in_h || ix < 0 || ix >= c->in_w)
                                continue;
                            const int8_t *w = l->weights + ((o * c->k_h + ky) * c->k_w + kx) * c->in_c;
                            const int8_t *p = x + (((size_t)n * (size_t)c->in_h + (size_t)iy) * (size_t)c->in_w +
                                                   (size_t)ix) * (size_t)c->in_c;
                            for (int32_t i = 0; i < c->in_c; ++i)
                                sum += (int64_t)w[i] * (p[i] - q->input_zero);
                        }
                    const float scale = q->input_scale * q->weight_scales[q->weight_scale_count == 1 ? 0 : o] /
                                        q->output_scale;
                    *y++ = (int8_t)(rintf(clamped((float)(int32_t)sum * scale, low, high)) + (float)q->output_zero);
                }
}

static void run_guarded(const es_op *op, const layer *l, const es_conv *conv, es_pool *pool, side where)
{
    const size_t inputs = conv_inputs(conv), outputs = conv_outputs(conv);
    guarded input = guarded_allocate(inputs, 1, where), output = guarded_allocate(outputs, 1, where);
    guarded scratch = guarded_allocate(es_op_scratch_bytes(op, es_pool_threads(pool)), 64, where);
    int8_t *x = (int8_t *)input.data, *y = (int8_t *)output.data, *wanted = room(outputs);
    for (size_t i = 0; i < inputs; ++i)
        x[i] = random_byte();
    es_op_run(op, pool, x, y, scratch.data);
    reference(l, conv, x, wanted);
    size_t wrong = 0;
    while (wrong < outputs && y[wrong] == wanted[wrong])
        ++wrong;
    CHECK(wrong == outputs, "%s, %zu threads, %s: output %zu is %d, expected %d", es_op_kernel(op), es_pool_threads(pool),
          conv_text(conv), wrong, y[wrong % outputs], wanted[wrong % outputs]);
    free(wanted);
    CHECK(guarded_free(&input), "%s wrote beside its input", es_op_kernel(op));
    CHECK(guarded_free(&output), "%s wrote beside its output", es_op_kernel(op));
    CHECK(guarded_free(&scratch), "%s wrote beside its scratch memory", es_op_kernel(op));
}

static es_op *create(const es_isa *isa, es_format format, const layer *l)
{
    es_op *op;
    const es_status status = es_op_create_s8(isa, format, &l->conv, &l->quantization, l->weights, l->bias, &op);
    if (!CHECK(status == ES_OK, "%s %s: %s", isa->name, es_format_name(format), es_status_message(status)))
        return NULL;
    const char *suffix = strstr(es_op_kernel(op), "__");
    CHECK(strstr(es_op_kernel(op), "es_s8_bsr_") != NULL && suffix != NULL && strcmp(suffix + 2, isa->name) == 0,
          "%s is not of %s", es_op_kernel(op), isa->name);
    return op;
}

static void test_shape(const es_isa *isa, es_format format, const shape *s, double density, es_pool *pool, side where)
{
    layer l = make_layer(s, es_block_rows(isa, format), density);
    es_op *op = create(isa, format, &l);
    if (op != NULL)
        run_guarded(op, &l, &l.conv, pool, where);
    es_op_destroy(op);
    free_layer(&l);
}

static void test_reshape(const es_isa *isa, es_format format, int32_t k, int32_t in_c)
{
    layer l = make_layer(&(shape){1, 6, 7, in_c, 18, k, k, 1, 1, SAME}, es_block_rows(isa, format), 0.3);
    es_op *op = create(isa, format, &l);
    if (op == NULL)
        return;
    static const int32_t sizes[][3] = {{2, 9, 5}, {1, 3, 40}, {1, 4, 4000}, {3, 2, 6}, {1, 1, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        es_conv other = l.conv;
        other.batch = sizes[i][0];
        other.in_h = sizes[i][1];
        other.in_w = sizes[i][2];
        es_conv_same(&other);
        if (CHECK(es_op_reshape(op, &other) == ES_OK, "%s", conv_text(&other)))
            run_guarded(op, &l, &other, NULL, AT_END);
    }
    es_op_destroy(op);
    free_layer(&l);
}

/* Where wider blocks are as fast. */
static void test_no_kernel(const es_isa *isa, es_format format)
{
    layer l = make_layer(&(shape){1, 6, 6, 8, 8, 3, 3, 1, 1, SAME}, 8, 1);
    es_op *op;
    CHECK(es_op_create_s8(isa, format, &l.conv, &l.quantization, l.weights, l.bias, &op) == ES_NO_KERNEL && op == NULL);
    free_layer(&l);
}

/* A format that this instruction set has. */
static es_format some_format(const es_isa *isa)
{
    es_format format = ES_FLOAT_FORMATS;
    while (es_tile_table(isa, format, ES_WIDE) == NULL)
        ++format;
    return format;
}

static void test_refusals(const es_isa *isa)
{
    const es_format format_of_isa = some_format(isa);
    layer l = make_layer(&(shape){1, 6, 6, 8, 8, 3, 3, 1, 1, SAME}, 8, 1);
    es_op *op;
#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        es_quantization bad = l.quantization;                                                                          \
        bad.field = value;                                                                                             \
        CHECK(es_op_create_s8(isa, format_of_isa, &l.conv, &bad, l.weights, l.bias, &op) == ES_BAD_QUANTIZATION &&         \
                  op == NULL, #field " = " #value);                                                                    \
    } while (0)
    REFUSED(input_scale, 0);
    REFUSED(input_scale, NAN);
    REFUSED(output_scale, -1);
    REFUSED(output_scale, INFINITY);
    REFUSED(output_scale, 1e-44f);
    REFUSED(input_zero, 128);
    REFUSED(output_zero, -129);
    REFUSED(weight_scale_count, 7);
    REFUSED(weight_scale_count, 0);
#undef REFUSED
    for (es_format format = 0; format <= ES_FORMAT_COUNT; ++format)
        if (format < ES_FLOAT_FORMATS || format == ES_FORMAT_COUNT)
            CHECK(es_op_create_s8(isa, format, &l.conv, &l.quantization, l.weights, l.bias, &op) == ES_NO_KERNEL);
    l.weights[3] = -128;
    CHECK(es_op_create_s8(isa, format_of_isa, &l.conv, &l.quantization, l.weights, l.bias, &op) == ES_BAD_QUANTIZATION);
    free_layer(&l);
}

/* Halves, and products at both ends of the sums that kernels must not saturate. */
static void test_extremes(const es_isa *isa, es_format format)
{
    for (int sign = -1; sign <= 1; sign += 2)
        for (int32_t zero = -128; zero <= 127; zero += 255) {
            layer l = make_layer(&(shape){1, 3, 5, 24, 16, 1, 1, 1, 1, SAME}, 16, 1);
            memset(l.weights, sign * 127, conv_weights(&l.conv));
            l.quantization.input_zero = zero;
            l.quantization.output_scale = l.quantization.input_scale;
            for (int32_t r = 0; r < l.conv.out_c; ++r)
                l.scales[r] = 1.0f / 512 / (float)(r % 3 + 1);      /* sums of whole halves */
            es_op *op = create(isa, format, &l);
            if (op != NULL) {
                int8_t x[360], y[240], wanted[240];
                void *scratch = aligned_alloc(64, es_round_up(es_op_scratch_bytes(op, 1) + 1, 64));
                for (int fill = 0; fill < 3; ++fill) {
                    for (size_t i = 0; i < sizeof x; ++i)
                        x[i] = fill == 0 ? -128 : fill == 1 ? 127 : (int8_t)(i % 2 ? 127 : -128);
                    es_op_run(op, NULL, x, y, scratch);
                    reference(&l, &l.conv, x, wanted);
                    CHECK(memcmp(y, wanted, sizeof y) == 0, "%s, weights %d, zero %d", es_op_kernel(op), sign * 127, zero);
                }
                free(scratch);
            }
            es_op_destroy(op);
            free_layer(&l);
        }
}

/* ---- every micro-kernel of a table ------------------------------------------------------------------------------------ */

/* One tile of S segments of M pixels, called as the runner calls it. */
static void run_tile(const es_op *op, const layer *l, es_tile_kernel kernel, size_t segments, size_t pixels)
{
    const size_t count = segments * pixels, channels = op->channels, rows = op->rows, in_c = (size_t)l->conv.in_c;
    es_conv conv = l->conv;
    conv.in_w = conv.out_w = (int32_t)count;
    int8_t *x = room(count * in_c), *wanted = room(count * rows);
    guarded picture = guarded_allocate(count * channels * op->x_bytes, 2, AT_END), y = guarded_allocate(count * rows, 1, AT_END);
    for (size_t i = 0; i < count * in_c; ++i)
        x[i] = random_byte();
    op->isa->s8->convert(x, picture.data, count * in_c, op->input_zero);
    kernel(&(es_tile){
        .x = picture.data, .x_pixel = (ptrdiff_t)channels, .x_segment = (ptrdiff_t)(pixels * channels),
        .y = y.data, .y_pixel = (ptrdiff_t)rows, .y_segment = (ptrdiff_t)(pixels * rows),
        .last = op->block_rows, .rows = rows, .bias = op->bias, .weights = op->bsr.values, .row_start = op->bsr.row_start,
        .offsets = op->bsr.offsets, .scale = op->scale, .output = es_op_bounds(op), .factors = op->factors,
    });
    reference(l, &conv, x, wanted);
    CHECK(memcmp(y.data, wanted, count * rows) == 0, "%s, tile %zux%zu", op->kernel, segments, pixels);
    CHECK(guarded_free(&picture) && guarded_free(&y), "%s, tile %zux%zu wrote beside its memory", op->kernel, segments, pixels);
    free(x), free(wanted);
}

static size_t test_tiles(const es_isa *isa, es_format format)
{
    const es_tile_kernels *table = es_tile_table(isa, format, ES_WIDE);
    const int32_t height = (int32_t)es_block_rows(isa, format), out_c[] = {1, height, 2 * height + height / 2 + 1};
    static const double densities[] = {0, 0.4, 1};
    size_t kernels = 0;
    CHECK(table->of[0][0] != NULL);
    for (size_t s = 1; s <= ES_MAX_S; ++s)
        for (size_t m = 1; m <= ES_MAX_M; ++m) {
            if (table->of[s - 1][m - 1] == NULL)
                continue;
            CHECK(s > 1 || m == 1 || table->of[0][m - 2] != NULL, "%s: a gap below 1x%zu", isa->name, m);
            ++kernels;
            for (size_t n = 0; n < 9; ++n) {
                layer l = make_layer(&(shape){1, 1, 1, 28, out_c[n / 3], 1, 1, 1, 1, VALID}, (size_t)height, densities[n % 3]);
                es_op *op = create(isa, format, &l);
                if (op != NULL)
                    run_tile(op, &l, table->of[s - 1][m - 1], s, m);
                es_op_destroy(op);
                free_layer(&l);
            }
        }
    return kernels;
}

/* ---- dense neighbours ----------------------------------------------------------------------------------------------- */

static void reference_depthwise(const layer *l, const es_conv *c, const int8_t *x, int8_t *y)
{
    const es_quantization *q = &l->quantization;
    const float low = bound(c->low, q), high = bound(c->high, q);
    for (int32_t n = 0; n < c->batch; ++n)
        for (int32_t oy = 0; oy < c->out_h; ++oy)
            for (int32_t ox = 0; ox < c->out_w; ++ox)
                for (int32_t o = 0; o < c->out_c; ++o) {
                    int32_t sum = l->bias[o];
                    for (int32_t ky = 0; ky < 3; ++ky)
                        for (int32_t kx = 0; kx < 3; ++kx) {
                            const int32_t iy = oy * c->stride_h + ky - c->pad_top, ix = ox * c->stride_w + kx - c->pad_left;
                            if (iy >= 0 && iy < c->in_h && ix >= 0 && ix < c->in_w)
                                sum += l->weights[(ky * 3 + kx) * c->out_c + o] *
                                       (x[((n * c->in_h + iy) * c->in_w + ix) * c->in_c + o] - q->input_zero);
                        }
                    const float scale = q->input_scale * q->weight_scales[q->weight_scale_count == 1 ? 0 : o] /
                                        q->output_scale;
                    *y++ = (int8_t)(rintf(clamped((float)sum * scale, low, high)) + (float)q->output_zero);
                }
}

static void run_depthwise(const es_op *op, const layer *l, const es_conv *conv, es_pool *pool, side where)
{
    const size_t inputs = conv_inputs(conv), outputs = conv_outputs(conv);
    guarded input = guarded_allocate(inputs, 1, where), output = guarded_allocate(outputs, 1, where);
    guarded scratch = guarded_allocate(es_op_scratch_bytes(op, es_pool_threads(pool)), 64, where);
    int8_t *x = (int8_t *)input.data, *wanted = room(outputs);
    for (size_t i = 0; i < inputs; ++i)
        x[i] = random_byte();
    es_op_run(op, pool, x, output.data, scratch.data);
    reference_depthwise(l, conv, x, wanted);
    CHECK(memcmp(output.data, wanted, outputs) == 0, "%s, %s", es_op_kernel(op), conv_text(conv));
    free(wanted);
    CHECK(guarded_free(&input) && guarded_free(&output) && guarded_free(&scratch), "%s wrote beside its memory",
          es_op_kernel(op));
}

static void test_depthwise(const es_isa *isa, es_pool *pool)
{
    static const shape sizes[] = {
        {1, 7, 7, 16, 0, 3, 3, 1, 1, SAME},   {1, 9, 8, 64, 0, 3, 3, 1, 1, SAME},   {2, 5, 12, 144, 0, 3, 3, 2, 2, SAME},
        {1, 6, 6, 24, 0, 3, 3, 2, 2, SAME},   {1, 4, 40, 7, 0, 3, 3, 1, 1, SAME},   {1, 1, 1, 32, 0, 3, 3, 1, 1, SAME},
        {1, 12, 3, 112, 0, 3, 3, 1, 1, VALID}, {1, 9, 9, 80, 0, 3, 3, 2, 2, VALID}, {1, 2, 2, 33, 0, 3, 3, 2, 2, SAME},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        shape s = sizes[i];
        s.out_c = s.in_c;
        layer l = make_layer(&s, 1, 0.03);
        make_quads(l.weights, 9, 1, (size_t)s.in_c, 1, 1);
        es_op *op;
        const es_status status = es_op_create_depthwise_s8(isa, &l.conv, &l.quantization, l.weights, l.bias, &op);
        if (isa->s8->depthwise[0] == NULL) {
            CHECK(status == ES_NO_KERNEL && op == NULL);
        } else if (CHECK(status == ES_OK, "%s: %s", isa->name, es_status_message(status))) {
            run_depthwise(op, &l, &l.conv, i % 2 ? pool : NULL, i % 3 ? AT_END : AT_START);
            es_conv other = l.conv;
            other.in_w += 5;
            (s.pad == SAME ? es_conv_same : es_conv_valid)(&other);
            if (CHECK(es_op_reshape(op, &other) == ES_OK))
                run_depthwise(op, &l, &other, NULL, AT_END);
            es_op_destroy(op);
            l.weights[5] = -128;
            CHECK(es_op_create_depthwise_s8(isa, &l.conv, &l.quantization, l.weights, l.bias, &op) == ES_BAD_QUANTIZATION);
        }
        free_layer(&l);
    }
    layer l = make_layer(&(shape){1, 9, 9, 16, 16, 5, 5, 1, 1, SAME}, 1, 0.1);
    es_op *op;
    CHECK(es_op_create_depthwise_s8(isa, &l.conv, &l.quantization, l.weights, l.bias, &op) == ES_NO_KERNEL);
    free_layer(&l);
}

/* Against real numbers: at most half a step from the sum, and what half a multiplier's last bit is worth. */
static void test_add(const es_isa *isa, es_pool *pool)
{
    enum { COUNT = 40000 };
    int8_t *a = room(COUNT), *b = room(COUNT), *y = room(COUNT);
    for (int round = 0; round < 12; ++round) {
        es_add_s8_scales s = {.a_scale = (float)(0.001 + random_unit(&rng)), .b_scale = (float)(0.001 + random_unit(&rng)),
                              .y_scale = (float)(0.01 + 2 * random_unit(&rng)), .a_zero = random_byte(),
                              .b_zero = random_byte(), .y_zero = random_byte(), .low = -INFINITY, .high = INFINITY};
        if (round % 2)
            s.low = 0, s.high = 6;
        if (!CHECK(es_add_s8_fits(&s)))
            continue;
        const size_t count = round % 3 == 0 ? COUNT : random_below(&rng, 200);
        for (size_t i = 0; i < count; ++i)
            a[i] = random_byte(), b[i] = random_byte();
        y[count] = 99;
        es_add_s8(isa, round % 4 ? pool : NULL, &s, a, b, y, count);
        size_t wrong = 0;
        for (size_t i = 0; i < count; ++i) {
            const double real = (a[i] - s.a_zero) * (double)s.a_scale + (b[i] - s.b_zero) * (double)s.b_scale;
            const double low = fmax(rint((double)s.low / (double)s.y_scale) + s.y_zero, -128);
            const double high = fmin(rint((double)s.high / (double)s.y_scale) + s.y_zero, 127);
            const double wanted = fmin(fmax(real / (double)s.y_scale + s.y_zero, low), high);
            wrong += fabs(y[i] - wanted) > 0.501;
        }
        CHECK(wrong == 0, "%s: %zu sums are off", isa->name, wrong);
        CHECK(count == COUNT || y[count] == 99, "%s wrote behind its output", isa->name);
    }
    const es_add_s8_scales apart = {.a_scale = 1, .b_scale = 1, .y_scale = 1e-3f};
    CHECK(!es_add_s8_fits(&apart));
    free(a), free(b), free(y);
}

/* ---- whole numbers -------------------------------------------------------------------------------------------------- */

/* TFLite's multiplier of 31 bits, rounded twice, halves up. */
static int8_t twice_rounded(int64_t sum, double scale, const es_quantization *q)
{
    int shift;
    const int64_t multiplier = llround(ldexp(frexp(scale, &shift), 31));
    int64_t value = (sum * multiplier + (1 << 30)) >> 31;
    if (shift < 0)
        value = (value + ((int64_t)1 << (-shift - 1))) >> -shift;
    value = (shift > 0 ? value * (1 << shift) : value) + q->output_zero;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

static void test_fixed_point(const es_isa *isa, es_format format)
{
    layer l = make_layer(&(shape){1, 9, 11, 64, 37, 1, 1, 1, 1, SAME}, 4, 0.5);
    l.conv.low = -INFINITY;
    l.conv.high = INFINITY;
    l.quantization.fixed_point = true;
    es_op *op = create(isa, format, &l);
    if (op == NULL)
        return;
    const size_t inputs = conv_inputs(&l.conv), outputs = conv_outputs(&l.conv);
    int8_t *x = room(inputs), *y = room(outputs), *other = room(outputs);
    void *scratch = aligned_alloc(64, es_round_up(es_op_scratch_bytes(op, 1) + 1, 64));
    for (size_t i = 0; i < inputs; ++i)
        x[i] = random_byte();
    es_op_run(op, NULL, x, y, scratch);
    reference(&l, &l.conv, x, other);
    size_t wrong = 0, differ = 0;
    for (size_t i = 0; i < outputs; ++i) {
        const size_t pixel = i / 37, o = i % 37;
        int64_t sum = l.bias[o];
        for (size_t c = 0; c < 64; ++c)
            sum += (int64_t)l.weights[o * 64 + c] * (x[pixel * 64 + c] - l.quantization.input_zero);
        const double weight_scale = (double)l.scales[l.quantization.weight_scale_count == 1 ? 0 : o];
        const double scale = (double)l.quantization.input_scale * weight_scale / (double)l.quantization.output_scale;
        wrong += y[i] != twice_rounded(sum, scale, &l.quantization);
        differ += abs(y[i] - other[i]) > 1;
    }
    CHECK(wrong == 0 && differ == 0, "%s: %zu outputs of %zu are rounded otherwise", es_op_kernel(op), wrong, outputs);
    es_op_destroy(op);
    CHECK(es_op_create_depthwise_s8(isa, &l.conv, &l.quantization, l.weights, l.bias, &op) == ES_NO_KERNEL);
    free(x), free(y), free(other), free(scratch);
    free_layer(&l);
}

static void test_counts(void)
{
    enum { ROWS = 19, IN_C = 6, TAPS = 2, COLUMNS = TAPS * IN_C };
    int8_t weights[ROWS * COLUMNS] = {0};
    es_zeros zeros;
    es_count_s8(weights, ROWS, COLUMNS, IN_C, &zeros);
    CHECK(zeros.type == ES_INT8 && zeros.nonzeros == 0 && zeros.blocks4 == 0 && zeros.blocks16 == 0 && !zeros.lowest);
    weights[0] = 1;                             /* quad 0 */
    weights[1 * COLUMNS + 3] = 2;               /* the same block */
    weights[5 * COLUMNS + 4] = 3;               /* the ragged quad of the first tap */
    weights[5 * COLUMNS + 6] = 3;               /* the second tap's first */
    weights[18 * COLUMNS + 11] = -128;          /* the last of all */
    es_count_s8(weights, ROWS, COLUMNS, IN_C, &zeros);
    CHECK(zeros.nonzeros == 5 && zeros.lowest);
    CHECK(zeros.blocks4 == 4 && zeros.blocks8 == 4 && zeros.blocks16 == 4, "%zu %zu %zu", zeros.blocks4, zeros.blocks8,
          zeros.blocks16);
    weights[9 * COLUMNS + 0] = 1;
    es_count_s8(weights, ROWS, COLUMNS, IN_C, &zeros);
    CHECK(zeros.blocks4 == 5 && zeros.blocks8 == 5 && zeros.blocks16 == 4);
}

int main(void)
{
    const es_isa *isas[MOST_ISAS];
    const size_t count = usable_isas(isas);
    static const double densities[] = {0, 0.1, 0.5, 1};
    size_t kernels = 0;
    es_pool *pool;
    if (es_pool_create(3, &pool) != ES_OK)
        return 1;
    test_counts();
    for (size_t i = 0; i < count; ++i) {
        test_refusals(isas[i]);
        test_depthwise(isas[i], pool);
        test_add(isas[i], pool);
        for (es_format format = ES_FLOAT_FORMATS; format < ES_FORMAT_COUNT; ++format) {
            if (es_tile_table(isas[i], format, ES_WIDE) == NULL) {
                test_no_kernel(isas[i], format);
                continue;
            }
            for (size_t s = 0; s < SHAPES; ++s)
                for (size_t d = 0; d < sizeof densities / sizeof *densities; ++d)
                    test_shape(isas[i], format, &shapes[s], densities[d], (s + d) % 3 == 0 ? pool : NULL,
                               (s + d) % 4 == 0 ? AT_START : AT_END);
            test_shape(isas[i], format, &(shape){1, 3, 300, 320, 16, 3, 3, 1, 1, SAME}, 0.02, NULL, AT_END);
            test_shape(isas[i], format, &(shape){1, 1, 2, 70001, 9, 1, 1, 1, 1, VALID}, 0.02, NULL, AT_END);
            test_reshape(isas[i], format, 1, 20);
            test_reshape(isas[i], format, 3, 20);
            test_reshape(isas[i], format, 3, 18);
            kernels += test_tiles(isas[i], format);
            test_extremes(isas[i], format);
            test_fixed_point(isas[i], format);
        }
    }
    es_pool_destroy(pool);
    char what[80];
    snprintf(what, sizeof what, "int8: %zu instruction sets, %zu micro-kernels, %d shapes", count, kernels, (int)SHAPES);
    return check_report(what);
}
