/* What the tests share: random numbers, memory that faults behind its end, weights, and the plain reference. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdint.h>

#include "op.h"

/* ---- random numbers: the same in every run ------------------------------------------------------------------------ */

typedef struct random_state { uint64_t state; } random_state;

uint32_t random_bits(random_state *r);
size_t random_below(random_state *r, size_t bound);     /* 0 if bound is 0 */
double random_unit(random_state *r);                    /* [0, 1) */
/* Of either sign, its size between 0.5 and 1.5: no product of two is lost in the tolerance. */
float random_value(random_state *r);

/* ---- memory between two pages that fault -------------------------------------------------------------------------- */

typedef enum side { AT_END, AT_START } side;

typedef struct guarded {
    char *map;
    size_t map_bytes;
    char *data;                 /* with AT_END its last byte is the last one that can be read */
    size_t bytes;
} guarded;

/* `bytes` rounded up to `alignment` where AT_END is asked for: what is behind them is checked by guarded_free. Exits the
 * program when there is no memory. */
guarded guarded_allocate(size_t bytes, size_t alignment, side where);
/* False: something was written beside the data, but not far enough to fault. */
bool guarded_free(guarded *memory);

/* ---- weights ------------------------------------------------------------------------------------------------------ */

/* rows x columns, each block of `height` rows non-zero with this probability; height 1 is unstructured. */
void make_blocks(random_state *r, float *weights, size_t rows, size_t columns, size_t height, double density);
/* At most two of each four. */
void make_two_of_four(random_state *r, float *weights, size_t rows, size_t columns, double density);
/* What suits the format. */
void make_weights(random_state *r, es_format format, float *weights, size_t rows, size_t columns, double density);

/* ---- the reference ------------------------------------------------------------------------------------------------ */

typedef struct expected {
    double value;
    double size;                /* sum of the products' sizes: what a tolerance is relative to */
    bool nan;                   /* a non-zero weight meets a NaN */
    bool nan_allowed;           /* a zero weight does: a dense kernel would give NaN as well */
} expected;

/* Output pixel by pixel, straight from the definition. */
void reference_conv(const es_conv *conv, const float *weights, const float *bias, const float *input, expected *output);
/* True if `value` is what was expected, up to float rounding. */
bool as_expected(float value, const expected *e);
/* Index of the first value that is not; `count` if all are. */
size_t first_difference(const float *values, const expected *e, size_t count);

size_t conv_inputs(const es_conv *conv);
size_t conv_outputs(const es_conv *conv);
size_t conv_weights(const es_conv *conv);
/* Into a buffer of its own, one at a time. */
const char *conv_text(const es_conv *conv);

#endif
