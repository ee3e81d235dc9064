/* The convolutions that operators are tested on. */
#ifndef SHAPES_H
#define SHAPES_H

#include <math.h>

#include "check.h"
#include "op.h"

typedef enum padding { SAME, VALID } padding;

typedef struct shape {
    int32_t batch, in_h, in_w, in_c, out_c, k_h, k_w, stride_h, stride_w;
    padding pad;
} shape;

static const shape shapes[] = {
    /* Pointwise: fewer pixels than a vector, one more than a tile, odd channels, many panels. */
    {1, 1, 1, 1, 1, 1, 1, 1, 1, VALID},     {1, 1, 1, 64, 40, 1, 1, 1, 1, VALID},   {3, 1, 1, 33, 19, 1, 1, 1, 1, VALID},
    {1, 7, 7, 20, 16, 1, 1, 1, 1, SAME},    {2, 5, 3, 12, 17, 1, 1, 1, 1, SAME},    {1, 9, 13, 600, 33, 1, 1, 1, 1, SAME},
    {1, 1, 29, 8, 31, 1, 1, 1, 1, VALID},   {1, 14, 14, 36, 15, 1, 1, 1, 1, SAME},  {5, 1, 1, 300, 50, 1, 1, 1, 1, SAME},
    {17, 1, 1, 24, 23, 1, 1, 1, 1, VALID},  {1, 1, 65, 7, 6, 1, 1, 1, 1, SAME},
    /* 1x1 with a stride. */
    {1, 7, 7, 12, 18, 1, 1, 2, 2, SAME},    {2, 8, 9, 5, 16, 1, 1, 3, 2, VALID},
    /* 2x2 to 5x5, the border on one side, on both, wider than the picture. */
    {1, 6, 6, 4, 16, 3, 3, 1, 1, SAME},     {1, 6, 6, 4, 9, 3, 3, 1, 1, VALID},     {2, 7, 5, 8, 20, 3, 3, 1, 1, SAME},
    {1, 9, 9, 3, 17, 3, 3, 2, 2, SAME},     {1, 8, 8, 16, 35, 3, 3, 2, 2, SAME},    {1, 11, 10, 6, 12, 3, 3, 3, 3, SAME},
    {1, 10, 10, 4, 16, 5, 5, 1, 1, SAME},   {1, 12, 12, 4, 8, 5, 5, 2, 2, VALID},   {1, 5, 5, 12, 16, 5, 5, 1, 1, VALID},
    {1, 2, 2, 4, 16, 5, 5, 1, 1, SAME},     {3, 4, 4, 8, 24, 2, 2, 1, 1, SAME},     {1, 9, 9, 4, 16, 2, 2, 2, 2, VALID},
    {1, 1, 1, 4, 16, 3, 3, 1, 1, SAME},     {1, 13, 1, 8, 16, 3, 1, 1, 1, SAME},    {1, 3, 40, 4, 16, 3, 3, 1, 1, SAME},
    /* Not square. */
    {1, 9, 11, 4, 16, 1, 5, 1, 1, SAME},    {1, 9, 11, 4, 18, 5, 1, 2, 1, SAME},    {2, 8, 12, 4, 16, 3, 5, 1, 3, VALID},
    {1, 12, 7, 7, 13, 4, 2, 3, 1, SAME},    {1, 6, 31, 16, 16, 2, 3, 1, 2, SAME},
    /* Lines of all lengths that are odd for a tile. */
    {1, 3, 15, 4, 16, 3, 3, 1, 1, SAME},    {1, 2, 25, 4, 16, 3, 3, 1, 1, SAME},    {1, 5, 27, 4, 16, 3, 3, 1, 1, VALID},
    {1, 4, 29, 4, 16, 2, 2, 1, 1, SAME},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static inline es_conv conv_of(const shape *s)
{
    es_conv conv = {.batch = s->batch, .in_h = s->in_h, .in_w = s->in_w, .in_c = s->in_c, .out_c = s->out_c,
                    .k_h = s->k_h, .k_w = s->k_w, .stride_h = s->stride_h, .stride_w = s->stride_w,
                    .low = -INFINITY, .high = INFINITY};
    const es_status status = s->pad == SAME ? es_conv_same(&conv) : es_conv_valid(&conv);
    CHECK(status == ES_OK, "%s", es_status_message(status));
    return conv;
}

#endif
