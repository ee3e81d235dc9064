#define _DEFAULT_SOURCE    /* MAP_ANONYMOUS */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- random numbers ------------------------------------------------------------------------------------------------ */

uint32_t random_bits(random_state *r)
{
    /* A linear congruential generator's upper bits, mixed once. */
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = r->state ^ r->state >> 29;
    bits *= 0xbf58476d1ce4e5b9u;
    return (uint32_t)(bits >> 32);
}

size_t random_below(random_state *r, size_t bound)
{
    return bound == 0 ? 0 : random_bits(r) % bound;
}

double random_unit(random_state *r)
{
    return random_bits(r) / 4294967296.0;
}

float random_value(random_state *r)
{
    const float size = 0.5f + (float)random_unit(r);
    return random_bits(r) & 1u ? size : -size;
}

/* ---- guarded memory ------------------------------------------------------------------------------------------------ */

enum { CANARY = 0xa5 };

guarded guarded_allocate(size_t bytes, size_t alignment, side where)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = es_round_up(bytes + alignment, page);
    guarded memory = {.map_bytes = inner + 2 * page, .bytes = bytes};
    memory.map = mmap(NULL, memory.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory.map == MAP_FAILED || mprotect(memory.map + page, inner, PROT_READ | PROT_WRITE) != 0) {
        fprintf(stderr, "no memory for %zu bytes of test data\n", bytes);
        exit(1);
    }
    memset(memory.map + page, CANARY, inner);
    memory.data = memory.map + page + (where == AT_START ? 0 : inner - es_round_up(bytes, alignment));
    return memory;
}

bool guarded_free(guarded *memory)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *first = memory->map + page, *end = memory->map + memory->map_bytes - page;
    bool intact = true;
    for (const char *p = first; p < end; ++p)
        if (p < memory->data || p >= memory->data + memory->bytes)
            intact = intact && (unsigned char)*p == CANARY;
    munmap(memory->map, memory->map_bytes);
    *memory = (guarded){0};
    return intact;
}

/* ---- weights ------------------------------------------------------------------------------------------------------- */

void make_blocks(random_state *r, float *weights, size_t rows, size_t columns, size_t height, double density)
{
    for (size_t row = 0; row < rows; row += height)
        for (size_t k = 0; k < columns; ++k) {
            const bool block = random_unit(r) < density;
            for (size_t i = row; i < rows && i < row + height; ++i) {
                /* A stored block may hold zeros of its own. */
                const bool zero = !block || (height > 1 && density < 1 && random_below(r, 8) == 0);
                weights[i * columns + k] = zero ? 0.0f : random_value(r);
            }
        }
}

void make_two_of_four(random_state *r, float *weights, size_t rows, size_t columns, double density)
{
    memset(weights, 0, rows * columns * sizeof *weights);
    for (size_t i = 0; i < rows * columns; i += 4)
        for (int n = 0; n < 2; ++n)
            if (random_unit(r) < density)
                weights[i + random_below(r, 4)] = random_value(r);
}

void make_weights(random_state *r, es_format format, float *weights, size_t rows, size_t columns, double density)
{
    static const size_t heights[] = {[ES_BSR16] = 16, [ES_BSR8] = 8, [ES_BSR4] = 4, [ES_CSR] = 1};
    if (format == ES_NM4)
        make_two_of_four(r, weights, rows, columns, density);
    else
        make_blocks(r, weights, rows, columns, heights[format], density);
}

/* ---- the reference ------------------------------------------------------------------------------------------------- */

static void add_tap(const float *weight, const float *input, size_t channels, expected *e)
{
    for (size_t c = 0; c < channels; ++c) {
        if (isnan(input[c])) {
            e->nan = e->nan || weight[c] != 0.0f;
            e->nan_allowed = true;
        } else if (weight[c] != 0.0f) {
            const double product = (double)weight[c] * (double)input[c];
            e->value += product;
            e->size += fabs(product);
        }
    }
}

void reference_conv(const es_conv *conv, const float *weights, const float *bias, const float *input, expected *output)
{
    const size_t channels = (size_t)conv->in_c, taps = (size_t)conv->k_h * (size_t)conv->k_w;
    for (int32_t n = 0; n < conv->batch; ++n)
        for (int32_t oy = 0; oy < conv->out_h; ++oy)
            for (int32_t ox = 0; ox < conv->out_w; ++ox)
                for (int32_t oc = 0; oc < conv->out_c; ++oc) {
                    const float *w = weights + (size_t)oc * taps * channels;
                    expected e = {.value = bias != NULL ? (double)bias[oc] : 0};
                    e.size = fabs(e.value);
                    for (int32_t ky = 0; ky < conv->k_h; ++ky)
                        for (int32_t kx = 0; kx < conv->k_w; ++kx, w += channels) {
                            const int32_t y = oy * conv->stride_h - conv->pad_top + ky;
                            const int32_t x = ox * conv->stride_w - conv->pad_left + kx;
                            if (y < 0 || x < 0 || y >= conv->in_h || x >= conv->in_w)
                                continue;
                            const size_t pixel = ((size_t)n * (size_t)conv->in_h + (size_t)y) * (size_t)conv->in_w +
                                                 (size_t)x;
                            add_tap(w, input + pixel * channels, channels, &e);
                        }
                    e.value = fmin((double)conv->high, fmax((double)conv->low, e.value));
                    *output++ = e;
                }
}

bool as_expected(float value, const expected *e)
{
    if (isnan(value))
        return e->nan || e->nan_allowed;
    return !e->nan && fabs((double)value - e->value) <= 4e-6 * e->size + 1e-30;
}

size_t first_difference(const float *values, const expected *e, size_t count)
{
    size_t i = 0;
    while (i < count && as_expected(values[i], &e[i]))
        ++i;
    return i;
}

size_t conv_inputs(const es_conv *conv)
{
    return (size_t)conv->batch * (size_t)conv->in_h * (size_t)conv->in_w * (size_t)conv->in_c;
}

size_t conv_outputs(const es_conv *conv)
{
    return es_pixels(conv) * (size_t)conv->out_c;
}

size_t conv_weights(const es_conv *conv)
{
    return (size_t)conv->out_c * (size_t)conv->k_h * (size_t)conv->k_w * (size_t)conv->in_c;
}

const char *conv_text(const es_conv *conv)
{
    static char text[160];
    snprintf(text, sizeof text, "input %dx%dx%dx%d, kernel %dx%d, stride %dx%d, pad %d,%d, output %dx%dx%d", conv->batch,
             conv->in_h, conv->in_w, conv->in_c, conv->k_h, conv->k_w, conv->stride_h, conv->stride_w, conv->pad_top,
             conv->pad_left, conv->out_h, conv->out_w, conv->out_c);
    return text;
}
