/* The input of an int8 operator as its kernels want it. */
#include <string.h>

#include "op.h"

typedef struct job {
    const es_op *op;
    es_picture picture;
    const int8_t *input;
    char *output;
    size_t parts;
    bool flat;                  /* nothing but the values' type changes */
} job;

/* `pixels` of input, then each of them with zeros up to a whole number of quads. */
static void convert_pixels(const job *j, const int8_t *from, size_t pixels, char *to)
{
    const es_op *op = j->op;
    const size_t in_c = (size_t)op->conv.in_c, pixel_bytes = op->channels * op->x_bytes;
    if (op->channels == in_c) {
        op->isa->s8->convert(from, to, pixels * in_c, op->input_zero);
        return;
    }
    for (size_t p = 0; p < pixels; ++p, from += in_c, to += pixel_bytes) {
        op->isa->s8->convert(from, to, in_c, op->input_zero);
        memset(to + in_c * op->x_bytes, 0, pixel_bytes - in_c * op->x_bytes);  /* meets weights of 0 */
    }
}

/* A zero of the real numbers, `pixels` times. */
static void fill_pixels(const job *j, size_t pixels, char *to)
{
    const es_op *op = j->op;
    const size_t bytes = pixels * op->channels * op->x_bytes;
    switch (op->isa->s8->input) {
    case ES_S8_UNSIGNED: memset(to, op->input_zero + 128, bytes); break;
    case ES_S8_WIDE: memset(to, 0, bytes); break;
    default: memset(to, op->input_zero, bytes); break;
    }
}

/* One row of the padded picture. */
static void convert_row(const job *j, size_t row)
{
    const es_conv *conv = &j->op->conv;
    const size_t in_h = (size_t)conv->in_h, in_w = (size_t)conv->in_w, left = (size_t)conv->pad_left;
    const size_t width = j->picture.width, image = row / j->picture.height, y = row % j->picture.height;
    const size_t pixel_bytes = j->op->channels * j->op->x_bytes;
    char *to = j->output + row * width * pixel_bytes;
    if (y < (size_t)conv->pad_top || y - (size_t)conv->pad_top >= in_h) {
        fill_pixels(j, width, to);
        return;
    }
    const size_t inside = es_min(in_w, width - left);   /* a picture may end before its input does */
    const int8_t *from = j->input + (image * in_h + y - (size_t)conv->pad_top) * in_w * (size_t)conv->in_c;
    fill_pixels(j, left, to);
    convert_pixels(j, from, inside, to + left * pixel_bytes);
    fill_pixels(j, width - left - inside, to + (left + inside) * pixel_bytes);
}

static void run_part(void *context, size_t part, size_t thread)
{
    (void)thread;
    const job *j = context;
    const es_conv *conv = &j->op->conv;
    const size_t in_c = (size_t)conv->in_c;
    if (j->flat) {
        const size_t pixels = (size_t)conv->batch * (size_t)conv->in_h * (size_t)conv->in_w;
        const size_t first = pixels * part / j->parts, last = pixels * (part + 1) / j->parts;
        convert_pixels(j, j->input + first * in_c, last - first, j->output + first * j->op->channels * j->op->x_bytes);
        return;
    }
    const size_t rows = (size_t)conv->batch * j->picture.height;
    for (size_t row = rows * part / j->parts; row < rows * (part + 1) / j->parts; ++row)
        convert_row(j, row);
}

void es_convert_picture(const es_op *op, es_pool *pool, const int8_t *input, void *picture)
{
    job j = {.op = op, .picture = es_picture_of(&op->conv), .input = input, .output = picture};
    const es_conv *conv = &op->conv;
    j.flat = !j.picture.copied;
    const size_t threads = es_pool_threads(pool);
    const size_t most = j.flat ? (size_t)conv->batch * (size_t)conv->in_h * (size_t)conv->in_w
                               : (size_t)conv->batch * j.picture.height;
    j.parts = threads > 1 ? es_min(8 * threads, most) : 1;
    es_pool_run(pool, run_part, &j, j.parts);
}
