/* A vector of 16 floats in the compiler's own vector extension: runs the templates as AVX-512 does, on any CPU. */
#ifndef VECTOR_PORTABLE16_H
#define VECTOR_PORTABLE16_H

#include <string.h>

#include "vector_portable.h"

typedef float v16_t __attribute__((vector_size(64)));
typedef v16_t v16_x_t;
typedef struct { uint8_t at[16]; } v16_positions_t;

ES_INLINE v16_t v16_load(const float *p)
{
    v16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
ES_INLINE v16_t v16_zero(void) { return (v16_t){0}; }
ES_INLINE v16_t v16_set1(float f) { return (v16_t){f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f}; }
ES_INLINE v16_x_t v16_broadcast(const float *p) { return v16_set1(*p); }
ES_INLINE v16_t v16_broadcast4(const float *p)
{
    return (v16_t){p[0], p[1], p[2], p[3], p[0], p[1], p[2], p[3], p[0], p[1], p[2], p[3], p[0], p[1], p[2], p[3]};
}
ES_INLINE v16_t v16_fma(v16_t sum, v16_t a, v16_t b) { return sum + a * b; }
ES_INLINE v16_t v16_fma_x(v16_t sum, v16_t a, v16_x_t b) { return sum + a * b; }
ES_INLINE v16_t v16_add(v16_t a, v16_t b) { return a + b; }
ES_INLINE v16_t v16_min(v16_t a, v16_t b)
{
    for (int i = 0; i < 16; ++i)
        b[i] = a[i] < b[i] ? a[i] : b[i];
    return b;
}
ES_INLINE v16_t v16_max(v16_t a, v16_t b)
{
    for (int i = 0; i < 16; ++i)
        b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}
ES_INLINE void v16_store(float *p, v16_t v) { memcpy(p, &v, sizeof v); }
ES_INLINE v16_t v16_pick(v16_t four, v16_positions_t positions)
{
    v16_t picked;
    for (int i = 0; i < 16; ++i)
        picked[i] = four[i / 4 * 4 + positions.at[i]];
    return picked;
}
ES_INLINE void v16_positions(const uint8_t *packed, v16_positions_t *first, v16_positions_t *second)
{
    for (int i = 0; i < 16; ++i) {
        first->at[i] = packed[i / 4] >> (i % 4 * 2) & 3;
        second->at[i] = packed[4 + i / 4] >> (i % 4 * 2) & 3;
    }
}
ES_INLINE void v16_broadcast_four(const float *p, v16_x_t w[4])
{
    for (int i = 0; i < 4; ++i)
        w[i] = v16_set1(p[i]);
}
ES_INLINE void v16_load_turned(const float *p, size_t stride, v16_t t[16])
{
    for (size_t i = 0; i < 16; ++i)
        for (size_t j = 0; j < 16; ++j)
            t[i][j] = p[j * stride + i];
}
ES_INLINE void v16_gather_turned(const float *const *rows, size_t offset, v16_t t[16])
{
    for (size_t i = 0; i < 16; ++i)
        for (size_t j = 0; j < 16; ++j)
            t[i][j] = rows[j][offset + i];
}

#endif
