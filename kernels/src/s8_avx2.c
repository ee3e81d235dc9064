/* AVX2 without dot products of bytes: 16 registers of eight sums. */
#include "s8_x86.h"
#include "tile_names.h"

#include "s8_madd.inc.h"

#define S8_NAME bsr16
#define S8_V q8
#define S8_NV 2
#define S8_VW 8
#define S8_MS(F) ES_UP_TO_5(F, 1) ES_UP_TO_2(F, 2)
#define S8_WIDE_MS(F) ES_UP_TO_5(F, 1)
#include "s8_bsr.inc.h"

#define S8_NAME bsr8
#define S8_V q8
#define S8_NV 1
#define S8_VW 8
#define S8_MS(F) ES_UP_TO_6(F, 1) ES_UP_TO_6(F, 2)
#define S8_WIDE_MS(F) ES_UP_TO_6(F, 1)
#include "s8_bsr.inc.h"

#define S8_NAME bsr4
#define S8_V q4
#define S8_NV 1
#define S8_VW 4
#define S8_MS(F) ES_UP_TO_6(F, 1) ES_UP_TO_6(F, 2)
#define S8_WIDE_MS(F) ES_UP_TO_6(F, 1)
#include "s8_bsr.inc.h"

const es_s8_kernels es_s8_avx2 = {
    .input = ES_S8_WIDE,
    .convert = convert,
    .depthwise = {&depthwise16},
    .add = plain_add,
    .bsr16x4 = {&bsr16_narrow, &bsr16_wide},
    .bsr8x4 = {&bsr8_narrow, &bsr8_wide},
    .bsr4x4 = {&bsr4_narrow, &bsr4_wide},
    .vector_rows = 8,
    .pairs = true,
    .tile_bytes = 24 * 1024,
    .least_pixels = 5,
};
