/* Portable C: fills every slot of the table, on every CPU. */
#include "vector_portable.h"
#include "tile_names.h"

#define BSR_NAME bsr4
#define BSR_V v4
#define BSR_NV 1
#define BSR_VW 4
#define BSR_MS(F) ES_UP_TO_4(F, 1)
#define BSR_WIDE_MS(F) ES_UP_TO_1(F, 1)
#include "bsr.inc.h"

#define NM_NAME nm
#define NM_V v4
#define NM_VW 4
#define NM_MS(F) ES_UP_TO_4(F, 1)
#include "nm.inc.h"

#define CSR_NAME csr
#define CSR_V v4
#define CSR_VW 4
#define CSR_VECTORS(F) F(1) F(2)
#include "csr.inc.h"

ES_INLINE v4_t pick4(const float *x, size_t a, size_t b, size_t c, size_t d)
{
    return (v4_t){{x[a], x[b], x[c], x[d]}};
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

const es_f32_kernels es_f32_scalar = {
    .bsr4 = {&bsr4_narrow, &bsr4_wide},
    .nm = &nm_table,
    .nm_rows = 4,
    .tile_bytes = 16 * 1024,
    .least_pixels = 1,
    .csr_vector = 4,
    .csr_panel = 256,
    .csr = {csr_1, csr_2},
    .transpose_in = csr_transpose_in,
    .transpose_out = csr_transpose_out,
    .csr_vector_kernel = {csr_vector_narrow, csr_vector_wide},
    .depthwise = depthwise_taps,
    .depthwise3x3 = {depthwise_3x3, depthwise_3x3s2},
    .add = plain_add,
    .mean = plain_mean,
};
