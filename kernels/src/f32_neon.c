/* NEON: 4 floats; 32 registers on AArch64, 16 on ARMv7. */
#include "vector_neon.h"
#include "tile_names.h"

#if defined(__aarch64__)
#define MS_16(F) ES_UP_TO_6(F, 1)
#define MS_8(F) ES_UP_TO_6(F, 1) ES_4_TO_6(F, 2)
#define MS_4(F) ES_UP_TO_12(F, 1) ES_7_TO_12(F, 2)
#else
#define MS_16(F) ES_UP_TO_2(F, 1)
#define MS_8(F) ES_UP_TO_5(F, 1)
#define MS_4(F) ES_UP_TO_5(F, 1) ES_UP_TO_5(F, 2)
#endif

#define BSR_NAME bsr16
#define BSR_V v4
#define BSR_NV 4
#define BSR_VW 4
#define BSR_MS MS_16
#define BSR_WIDE_MS(F) ES_UP_TO_2(F, 1)
#include "bsr.inc.h"

#define BSR_NAME bsr8
#define BSR_V v4
#define BSR_NV 2
#define BSR_VW 4
#define BSR_MS MS_8
#define BSR_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "bsr.inc.h"

#define BSR_NAME bsr4
#define BSR_V v4
#define BSR_NV 1
#define BSR_VW 4
#define BSR_MS MS_4
#define BSR_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "bsr.inc.h"

#define CSR_NAME csr
#define CSR_V v4
#define CSR_VW 4
#if defined(__aarch64__)
#define CSR_VECTORS(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8)
#else
#define CSR_VECTORS(F) F(1) F(2) F(3) F(4)
#endif
#include "csr.inc.h"

ES_INLINE float32x4_t pick4(const float *x, size_t a, size_t b, size_t c, size_t d)
{
    const float four[4] = {x[a], x[b], x[c], x[d]};
    return vld1q_f32(four);
}
#define CSRV_NAME csr_vector
#define CSRV_V v4
#define CSRV_PICK pick4
#include "csr_vector.inc.h"

#define DW_NAME depthwise
#define DW_V v4
#define DW_VW 4
#include "depthwise.inc.h"

#define PLAIN_NAME plain
#define PLAIN_V v4
#define PLAIN_VW 4
#include "plain.inc.h"

const es_f32_kernels es_f32_neon = {
    .bsr16 = {&bsr16_narrow, &bsr16_wide},
    .bsr8 = {&bsr8_narrow, &bsr8_wide},
    .bsr4 = {&bsr4_narrow, &bsr4_wide},
    .tile_bytes = 24 * 1024,
    .least_pixels = 4,
    .csr_vector = 4,
    .csr_panel = 256,
#if defined(__aarch64__)
    .csr = {csr_1, csr_2, csr_3, csr_4, csr_5, csr_6, csr_7, csr_8},
#else
    .csr = {csr_1, csr_2, csr_3, csr_4},
#endif
    .transpose_in = csr_transpose_in,
    .transpose_out = csr_transpose_out,
    .csr_vector_kernel = {csr_vector_narrow, csr_vector_wide},
    .depthwise = depthwise_taps,
    .depthwise3x3 = {depthwise_3x3, depthwise_3x3s2},
    .add = plain_add,
    .mean = plain_mean,
};
