/* The table of AVX-512, of the same templates and tiles, for CPUs that lack it: their logic at 16 floats is what runs, the
 * intrinsics are not. */
#include "isas.h"
#include "tile_names.h"
#include "vector_portable16.h"

#define BSR_NAME bsr16
#define BSR_V v16
#define BSR_NV 1
#define BSR_VW 16
#define BSR_MS(F) ES_UP_TO_14(F, 1) ES_UP_TO_14(F, 2)
#define BSR_WIDE_MS(F) ES_UP_TO_12(F, 1)
#include "bsr.inc.h"

#define BSR_NAME bsr8
#define BSR_V v4
#define BSR_NV 2
#define BSR_VW 4
#define BSR_MS(F) ES_UP_TO_3(F, 1) ES_UP_TO_2(F, 2)
#define BSR_WIDE_MS(F) ES_UP_TO_2(F, 1)
#include "bsr.inc.h"

#define BSR_NAME bsr4
#define BSR_V v4
#define BSR_NV 1
#define BSR_VW 4
#define BSR_MS(F) ES_UP_TO_3(F, 1) ES_UP_TO_2(F, 2)
#define BSR_WIDE_MS(F) ES_UP_TO_2(F, 1)
#include "bsr.inc.h"

#define NM_NAME nm
#define NM_V v16
#define NM_VW 16
#define NM_MS(F) ES_UP_TO_10(F, 1) ES_UP_TO_10(F, 2)
#include "nm.inc.h"

#define CSR_NAME csr
#define CSR_V v16
#define CSR_VW 16
#define CSR_VECTORS(F) F(1) F(2) F(3) F(4)
#include "csr.inc.h"

ES_INLINE v4_t pick4(const float *x, size_t a, size_t b, size_t c, size_t d)
{
    return (v4_t){{x[a], x[b], x[c], x[d]}};
}
#define CSRV_NAME csr_vector
#define CSRV_V v4
#define CSRV_PICK pick4
#include "csr_vector.inc.h"

static bool usable(void)
{
    return true;
}

const struct es_isa es_isa_test16 = {
    .name = "test16",
    .target = "x86_64-avx512",
    .usable = usable,
    .bsr16 = {&bsr16_narrow, &bsr16_wide},
    .bsr8 = {&bsr8_narrow, &bsr8_wide},
    .bsr4 = {&bsr4_narrow, &bsr4_wide},
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
};
