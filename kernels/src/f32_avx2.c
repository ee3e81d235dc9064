/* AVX2 and FMA: 8 floats, 16 registers. Twelve sums hide the FMA's latency and leave room for the operands. */
#include "vector_x86.h"
#include "tile_names.h"

#define BSR_NAME bsr16
#define BSR_V v8
#define BSR_NV 2
#define BSR_VW 8
#define BSR_MS(F) ES_UP_TO_6(F, 1)
#define BSR_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "bsr.inc.h"

#define BSR_NAME bsr8
#define BSR_V v8
#define BSR_NV 1
#define BSR_VW 8
#define BSR_MS(F) ES_UP_TO_6(F, 1) ES_4_TO_6(F, 2)
#define BSR_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "bsr.inc.h"

#define NM_NAME nm
#define NM_V v8
#define NM_VW 8
#define NM_MS(F) ES_UP_TO_8(F, 1)
#include "nm.inc.h"

#define CSR_NAME csr
#define CSR_V v8
#define CSR_VW 8
#define CSR_VECTORS(F) F(1) F(2) F(3) F(4)
#include "csr.inc.h"

/* Four loads are faster than vgatherdps on the CPUs that have no more than AVX2. */
ES_INLINE __m128 pick4(const float *x, size_t a, size_t b, size_t c, size_t d)
{
    return _mm_setr_ps(x[a], x[b], x[c], x[d]);
}
#define CSRV_NAME csr_vector
#define CSRV_V v4
#define CSRV_PICK pick4
#include "csr_vector.inc.h"

#define DW_NAME depthwise4
#define DW_V v4
#define DW_VW 4
#include "depthwise.inc.h"

#define DW_NAME depthwise
#define DW_V v8
#define DW_VW 8
#define DW_REST depthwise4
#include "depthwise.inc.h"

#define PLAIN_NAME plain
#define PLAIN_V v8
#define PLAIN_VW 8
#include "plain.inc.h"

const es_f32_kernels es_f32_avx2 = {
    .bsr16 = {&bsr16_narrow, &bsr16_wide},
    .bsr8 = {&bsr8_narrow, &bsr8_wide},
    .nm = &nm_table,
    .nm_rows = 8,
    .tile_bytes = 24 * 1024,
    .least_pixels = 6,
    .csr_vector = 8,
    .csr_panel = 160,
    .csr = {csr_1, csr_2, csr_3, csr_4},
    .transpose_in = csr_transpose_in,
    .transpose_out = csr_transpose_out,
    .csr_vector_kernel = {csr_vector_narrow, csr_vector_wide},
    .depthwise = depthwise_taps,
    .depthwise3x3 = {depthwise_3x3, depthwise_3x3s2},
    .add = plain_add,
    .mean = plain_mean,
};
