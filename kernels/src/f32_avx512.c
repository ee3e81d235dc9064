/* AVX-512: 16 floats, 32 registers, an input broadcast in the FMA's own operand. */
#include "vector_x86_512.h"
#include "tile_names.h"

#define BSR_NAME bsr16
#define BSR_V v16
#define BSR_NV 1
#define BSR_VW 16
/* More than nine pixels a constant distance apart take more address registers than there are. */
#define BSR_MS(F) ES_UP_TO_9(F, 1) ES_5_TO_9(F, 2) ES_7_TO_9(F, 3)
#define BSR_WIDE_MS(F) ES_UP_TO_4(F, 1)
#include "bsr.inc.h"

#define NM_NAME nm
#define NM_V v16
#define NM_VW 16
#define NM_MS(F) ES_UP_TO_8(F, 1) ES_5_TO_8(F, 2)
#include "nm.inc.h"

#define CSR_NAME csr
#define CSR_V v16
#define CSR_VW 16
#define CSR_VECTORS(F) F(1) F(2) F(3) F(4)
#include "csr.inc.h"

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
#define DW_V v16
#define DW_VW 16
#define DW_REST depthwise4
#include "depthwise.inc.h"

#define PLAIN_NAME plain
#define PLAIN_V v16
#define PLAIN_VW 16
#include "plain.inc.h"

const es_f32_kernels es_f32_avx512 = {
    .bsr16 = {&bsr16_narrow, &bsr16_wide},
    .nm = &nm_table,
    .nm_rows = 16,
    .tile_bytes = 36 * 1024,
    .least_pixels = 8,
    .csr_vector = 16,
    .csr_panel = 96,
    .csr = {csr_1, csr_2, csr_3, csr_4},
    .transpose_in = csr_transpose_in,
    .transpose_out = csr_transpose_out,
    .csr_vector_kernel = {csr_vector_narrow, csr_vector_wide},
    .depthwise = depthwise_taps,
    .depthwise3x3 = {depthwise_3x3, depthwise_3x3s2},
    .add = plain_add,
    .mean = plain_mean,
};
