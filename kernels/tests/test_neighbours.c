/* The dense operators against their definitions: every instruction set, shapes with and without an inside, strides, paddings,
 * channels left over by every vector's length, threads, memory that ends where the process may read no further. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isas.h"
#include "support.h"

static random_state rng = {11};

static float *new_floats(size_t count, bool filled)
{
    float *floats = calloc(count + 1, sizeof *floats);
    if (floats == NULL)
        exit(1);
    for (size_t i = 0; filled && i < count; ++i)
        floats[i] = random_value(&rng);
    return floats;
}

static guarded guarded_floats(size_t count, bool filled, side where)
{
    guarded memory = guarded_allocate(count * sizeof(float), sizeof(float), where);
    for (size_t i = 0; filled && i < count; ++i)
        ((float *)memory.data)[i] = random_value(&rng);
    return memory;
}

/* ---- depthwise ------------------------------------------------------------------------------------------------------ */

static void reference_depthwise(const es_conv *c, const float *weights, const float *bias, const float *x, expected *e)
{
    for (size_t i = 0; i < conv_outputs(c); ++i) {
        const int32_t channel = (int32_t)(i % (size_t)c->out_c);
        const size_t pixel = i / (size_t)c->out_c;
        const int32_t column = (int32_t)(pixel % (size_t)c->out_w), row = (int32_t)(pixel / (size_t)c->out_w % (size_t)c->out_h);
        const size_t image = pixel / (size_t)c->out_w / (size_t)c->out_h;
        double sum = bias != NULL ? (double)bias[channel] : 0, size = fabs(sum);
        bool nan = false;
        for (int32_t ky = 0; ky < c->k_h; ++ky)
            for (int32_t kx = 0; kx < c->k_w; ++kx) {
                const int32_t y = row * c->stride_h + ky - c->pad_top, z = column * c->stride_w + kx - c->pad_left;
                if (y < 0 || z < 0 || y >= c->in_h || z >= c->in_w)
                    continue;
                const float input = x[((image * (size_t)c->in_h + (size_t)y) * (size_t)c->in_w + (size_t)z) * (size_t)c->in_c +
                                      (size_t)channel];
                const double product = (double)input * (double)weights[(ky * c->k_w + kx) * c->in_c + channel];
                nan |= isnan(input);
                sum += product;
                size += fabs(product);
            }
        sum = sum < (double)c->low ? (double)c->low : sum > (double)c->high ? (double)c->high : sum;
        e[i] = (expected){.value = sum, .size = size, .nan = nan, .nan_allowed = nan};
    }
}

static void run_depthwise(const es_isa *isa, es_pool *pool, es_conv conv, bool with_bias, side where)
{
    const size_t taps = (size_t)conv.k_h * (size_t)conv.k_w, channels = (size_t)conv.in_c;
    float *weights = new_floats(taps * channels, true), *bias = new_floats(channels, true);
    guarded input = guarded_floats(conv_inputs(&conv), true, where), output = guarded_floats(conv_outputs(&conv), false, where);
    if (random_below(&rng, 8) == 0)
        ((float *)input.data)[random_below(&rng, conv_inputs(&conv))] = NAN;
    expected *e = calloc(conv_outputs(&conv), sizeof *e);
    es_depthwise *dw;
    const es_status status = es_depthwise_create(isa, &conv, weights, with_bias ? bias : NULL, &dw);
    if (CHECK(status == ES_OK, "%s: %s", conv_text(&conv), es_status_message(status))) {
        const char *name = es_depthwise_kernel_name(dw), *suffix = strstr(name, "__");
        CHECK(suffix != NULL && strcmp(suffix + 2, isa->name) == 0, "%s is not of %s", name, isa->name);
        CHECK(es_depthwise_packed_bytes(dw) >= (taps + 1) * channels * sizeof(float));
        es_depthwise_run(dw, pool, (const float *)input.data, (float *)output.data);
        reference_depthwise(&conv, weights, with_bias ? bias : NULL, (const float *)input.data, e);
        const size_t wrong = first_difference((const float *)output.data, e, conv_outputs(&conv));
        CHECK(wrong == conv_outputs(&conv), "%s, %zu threads, %s: output %zu is %g, expected %g", name, es_pool_threads(pool),
              conv_text(&conv), wrong, (double)((const float *)output.data)[wrong % conv_outputs(&conv)],
              e[wrong % conv_outputs(&conv)].value);
        es_depthwise_destroy(dw);
    }
    CHECK(guarded_free(&input) && guarded_free(&output), "%s: written beside it", conv_text(&conv));
    free(weights), free(bias), free(e);
}

static void test_depthwise(const es_isa *isa, es_pool *pool)
{
    static const int32_t pictures[][2] = {{1, 1}, {1, 5}, {2, 2}, {3, 3}, {4, 3}, {5, 6}, {7, 7}, {9, 4}, {3, 18}, {6, 35}};
    static const int32_t channels[] = {4, 8, 12, 16, 20, 32, 36, 44, 60, 64, 132};
    static const int32_t kernels[][2] = {{3, 3}, {3, 3}, {5, 5}, {1, 1}, {2, 3}, {7, 1}};
    static const int32_t strides[][2] = {{1, 1}, {2, 2}, {1, 2}, {3, 3}};
    for (size_t p = 0; p < sizeof pictures / sizeof *pictures; ++p)
        for (size_t k = 0; k < sizeof kernels / sizeof *kernels; ++k)
            for (size_t s = 0; s < sizeof strides / sizeof *strides; ++s)
                for (int padding = 0; padding < 3; ++padding) {
                    const int32_t c = channels[random_below(&rng, sizeof channels / sizeof *channels)];
                    es_conv conv = {.batch = 1 + (int32_t)random_below(&rng, 2), .in_h = pictures[p][0], .in_w = pictures[p][1],
                                    .in_c = c, .out_c = c, .k_h = kernels[k][0], .k_w = kernels[k][1],
                                    .stride_h = strides[s][0], .stride_w = strides[s][1], .low = -INFINITY, .high = INFINITY};
                    if (random_below(&rng, 2) != 0)
                        conv.low = 0, conv.high = 6;
                    if ((padding == 0 ? es_conv_same(&conv) : es_conv_valid(&conv)) != ES_OK)
                        continue;
                    if (padding == 2) {             /* one more row above and column on the left than VALID has */
                        conv.pad_top = conv.k_h > 1, conv.pad_left = conv.k_w > 1;
                        conv.out_h = (conv.in_h + conv.pad_top - conv.k_h) / conv.stride_h + 1;
                        conv.out_w = (conv.in_w + conv.pad_left - conv.k_w) / conv.stride_w + 1;
                    }
                    run_depthwise(isa, pool, conv, random_below(&rng, 2) != 0, random_below(&rng, 2) ? AT_END : AT_START);
                }
}

static void test_depthwise_refusals(const es_isa *isa)
{
    const float weights[9 * 6] = {0};
    es_conv conv = {.batch = 1, .in_h = 5, .in_w = 5, .in_c = 6, .out_c = 6, .k_h = 3, .k_w = 3, .stride_h = 1, .stride_w = 1,
                    .low = -INFINITY, .high = INFINITY};
    es_conv_same(&conv);
    es_depthwise *dw;
    CHECK(es_depthwise_create(isa, &conv, weights, NULL, &dw) == ES_NO_KERNEL && dw == NULL);
    conv.in_c = conv.out_c = 4;
    conv.in_w = -1;
    CHECK(es_depthwise_create(isa, &conv, weights, NULL, &dw) == ES_BAD_SHAPE && dw == NULL);
    conv.in_w = 5;
    if (CHECK(es_depthwise_create(isa, &conv, weights, NULL, &dw) == ES_OK)) {
        es_conv other = conv;
        other.in_c = other.out_c = 8;
        CHECK(es_depthwise_reshape(dw, &other) == ES_BAD_SHAPE);
        other = conv;
        other.in_h = other.out_h = 9;
        CHECK(es_depthwise_reshape(dw, &other) == ES_OK);
    }
    es_depthwise_destroy(dw);
    es_depthwise_destroy(NULL);
}

/* ---- sums, means, frames -------------------------------------------------------------------------------------------- */

static void test_add(const es_isa *isa, es_pool *pool)
{
    static const size_t counts[] = {1, 3, 4, 7, 16, 33, 1000, 16 * 1024 - 1, 40 * 1024 + 5};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; ++n)
        for (int clamped = 0; clamped < 2; ++clamped) {
            const size_t count = counts[n];
            const float low = clamped ? 0 : -INFINITY, high = clamped ? 1.5f : INFINITY;
            guarded a = guarded_floats(count, true, AT_END), b = guarded_floats(count, true, AT_START);
            guarded y = guarded_floats(count, false, AT_END);
            const float *x = (const float *)a.data, *z = (const float *)b.data;
            es_add(isa, pool, x, z, (float *)y.data, count, low, high);
            size_t wrong = 0;
            for (size_t i = 0; i < count; ++i) {
                const float sum = x[i] + z[i];
                wrong += ((const float *)y.data)[i] != (sum < low ? low : sum > high ? high : sum);
            }
            CHECK(wrong == 0, "%s: %zu of %zu sums", isa->name, wrong, count);
            CHECK(guarded_free(&a) && guarded_free(&b) && guarded_free(&y));
        }
}

static void test_mean(const es_isa *isa, es_pool *pool)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 49, 40}, {3, 6, 37}, {2, 100, 16}, {1, 4, 3}};
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; ++n) {
        const size_t images = shapes[n][0], pixels = shapes[n][1], channels = shapes[n][2];
        guarded x = guarded_floats(images * pixels * channels, true, AT_END), y = guarded_floats(images * channels, false, AT_END);
        es_mean(isa, pool, (const float *)x.data, (float *)y.data, images, pixels, channels);
        for (size_t i = 0; i < images * channels; ++i) {
            double sum = 0;
            for (size_t p = 0; p < pixels; ++p)
                sum += (double)((const float *)x.data)[(i / channels * pixels + p) * channels + i % channels];
            const double found = (double)((const float *)y.data)[i];
            CHECK(fabs(found - sum / (double)pixels) < 1e-6, "%s: %g, expected %g", isa->name, found, sum / (double)pixels);
        }
        CHECK(guarded_free(&x) && guarded_free(&y));
    }
}

static void check_frame(es_pool *pool, const es_padding *f)
{
    const size_t element = f->bytes ? sizeof(int8_t) : sizeof(float);
    const size_t inputs = f->images * f->in_h * f->in_w * f->channels, outputs = f->images * f->out_h * f->out_w * f->channels;
    guarded x = guarded_allocate(inputs * element, element, AT_END), y = guarded_allocate(outputs * element, element, AT_END);
    for (size_t i = 0; i < inputs * element; ++i)
        x.data[i] = (char)(1 + i % 100);
    es_pad(pool, f, x.data, y.data);
    char fill[sizeof(float)] = {f->bytes ? f->zero : 0};
    size_t wrong = 0;
    for (size_t i = 0; i < outputs; ++i) {
        const size_t channel = i % f->channels, column = i / f->channels % f->out_w, row = i / f->channels / f->out_w % f->out_h;
        const size_t image = i / f->channels / f->out_w / f->out_h;
        const bool inside = row >= f->top && row < f->top + f->in_h && column >= f->left && column < f->left + f->in_w;
        const size_t from = ((image * f->in_h + row - f->top) * f->in_w + column - f->left) * f->channels + channel;
        wrong += memcmp(y.data + i * element, inside ? x.data + from * element : fill, element) != 0;
    }
    CHECK(wrong == 0, "%zu of %zu", wrong, outputs);
    CHECK(guarded_free(&x) && guarded_free(&y));
}

static void test_pad(es_pool *pool)
{
    static const size_t frames[][8] = {{1, 1, 1, 1, 0, 0, 1, 1}, {2, 3, 4, 5, 1, 2, 6, 9}, {1, 4, 4, 3, 0, 0, 5, 5},
                                       {1, 4, 4, 3, 2, 1, 6, 5}, {1, 6, 6, 2, 1, 1, 4, 5} /* cut off */};
    for (size_t n = 0; n < 2 * sizeof frames / sizeof *frames; ++n) {
        const size_t *f = frames[n / 2];
        check_frame(pool, &(es_padding){f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], n % 2 == 1, -77});
    }
}

int main(void)
{
    const es_isa *isas[MOST_ISAS];
    const size_t count = usable_isas(isas);
    static const size_t threads[] = {1, 3};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; ++t) {
        es_pool *pool;
        if (!CHECK(es_pool_create(threads[t], &pool) == ES_OK))
            continue;
        for (size_t i = 0; i < count; ++i) {
            test_depthwise(isas[i], pool);
            test_depthwise_refusals(isas[i]);
            test_add(isas[i], pool);
            test_mean(isas[i], pool);
        }
        test_pad(pool);
        es_pool_destroy(pool);
    }
    return check_report("neighbours: depthwise, sums, means, frames");
}
