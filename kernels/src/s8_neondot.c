/* AArch64 with dot products: SDOT makes four sums of four signed products each. */
#include "s8_neon.h"
#include "tile_names.h"

typedef int8x16_t q4_weights_t, q4_quad_t;

ES_INLINE q4_weights_t q4_load_weights(const int8_t *p) { return vld1q_s8(p); }
ES_INLINE q4_quad_t q4_quad(const int8_t *p) { return vreinterpretq_s8_s32(vdupq_n_s32(s8_neon_four(p))); }
ES_INLINE q4_sum_t q4_dot(q4_sum_t sum, q4_weights_t w, q4_quad_t x) { return vdotq_s32(sum, w, x); }

#define MS_16(F) ES_UP_TO_6(F, 1) ES_UP_TO_3(F, 2)
#define MS_8(F) ES_UP_TO_6(F, 1) ES_UP_TO_6(F, 2)
#define MS_4(F) ES_UP_TO_12(F, 1) ES_UP_TO_12(F, 2)

#define S8_NAME bsr16
#define S8_V q4
#define S8_NV 4
#define S8_VW 4
#define S8_MS MS_16
#define S8_WIDE_MS(F) ES_UP_TO_2(F, 1)
#include "s8_bsr.inc.h"

#define S8_NAME bsr8
#define S8_V q4
#define S8_NV 2
#define S8_VW 4
#define S8_MS MS_8
#define S8_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "s8_bsr.inc.h"

#define S8_NAME bsr4
#define S8_V q4
#define S8_NV 1
#define S8_VW 4
#define S8_MS MS_4
#define S8_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_neondot = {
    .input = ES_S8_PLAIN,
    .convert = convert,
    .bsr16x4 = {&bsr16_narrow, &bsr16_wide},
    .bsr8x4 = {&bsr8_narrow, &bsr8_wide},
    .bsr4x4 = {&bsr4_narrow, &bsr4_wide},
    .vector_rows = 4,
    .tile_bytes = 24 * 1024,
    .least_pixels = 4,
};
