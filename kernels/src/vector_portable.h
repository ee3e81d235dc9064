/* A vector of four floats in plain C, for the scalar table: what every other instruction set is measured against. */
#ifndef ES_VECTOR_PORTABLE_H
#define ES_VECTOR_PORTABLE_H

#include <string.h>

#include "kernels.h"

typedef struct { float f[4]; } v4_t;
typedef float v4_x_t;
typedef struct { uint8_t at[4]; } v4_positions_t;

#define ES_FOUR(expression)                        \
    v4_t result;                                   \
    ES_UNROLL for (int i = 0; i < 4; ++i)          \
        result.f[i] = (expression);                \
    return result

ES_INLINE v4_t v4_load(const float *p) { ES_FOUR(p[i]); }
ES_INLINE v4_t v4_zero(void) { ES_FOUR(0.0f); }
ES_INLINE v4_t v4_set1(float f) { ES_FOUR(f); }
ES_INLINE float v4_broadcast(const float *p) { return *p; }
ES_INLINE v4_t v4_broadcast4(const float *p) { return v4_load(p); }
ES_INLINE v4_t v4_fma(v4_t sum, v4_t a, v4_t b) { ES_FOUR(sum.f[i] + a.f[i] * b.f[i]); }
ES_INLINE v4_t v4_fma_x(v4_t sum, v4_t a, float b) { ES_FOUR(sum.f[i] + a.f[i] * b); }
ES_INLINE v4_t v4_add(v4_t a, v4_t b) { ES_FOUR(a.f[i] + b.f[i]); }
ES_INLINE v4_t v4_min(v4_t a, v4_t b) { ES_FOUR(a.f[i] < b.f[i] ? a.f[i] : b.f[i]); }
ES_INLINE v4_t v4_max(v4_t a, v4_t b) { ES_FOUR(a.f[i] > b.f[i] ? a.f[i] : b.f[i]); }
ES_INLINE void v4_store(float *p, v4_t v) { memcpy(p, v.f, sizeof v.f); }
ES_INLINE v4_t v4_pick(v4_t four, v4_positions_t positions) { ES_FOUR(four.f[positions.at[i]]); }
ES_INLINE void v4_positions(const uint8_t *packed, v4_positions_t *first, v4_positions_t *second)
{
    ES_UNROLL for (int i = 0; i < 4; ++i) {
        first->at[i] = packed[0] >> (2 * i) & 3;
        second->at[i] = packed[1] >> (2 * i) & 3;
    }
}
ES_INLINE void v4_transpose(v4_t t[4])
{
    v4_t turned[4];
    ES_UNROLL for (int i = 0; i < 4; ++i)
        ES_UNROLL for (int j = 0; j < 4; ++j)
            turned[i].f[j] = t[j].f[i];
    memcpy(t, turned, sizeof turned);
}

ES_INLINE void v4_broadcast_four(const float *p, v4_x_t w[4]) { memcpy(w, p, 4 * sizeof *p); }
ES_INLINE void v4_load_turned(const float *p, size_t stride, v4_t t[4])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i)
        t[i] = v4_load(p + i * stride);
    v4_transpose(t);
}
ES_INLINE void v4_gather_turned(const float *const *rows, size_t offset, v4_t t[4])
{
    ES_UNROLL for (size_t i = 0; i < 4; ++i)
        t[i] = v4_load(rows[i] + offset);
    v4_transpose(t);
}

#endif
