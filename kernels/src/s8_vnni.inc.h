/* What both kinds of VNNI share: inputs plus 128, the first factor of vpdpbusd being unsigned, and depthwise convolutions of 32
 * and 16 channels. Defined by the including file: S8_DPBUSD256 and S8_DPBUSD128, the instruction's intrinsics in its encoding;
 * S8_DW_TILE, outputs of a depthwise tile. */

static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    s8_x86_to_unsigned(x, to, count, zero_point);
}

static const int8_t es_zero_bytes[64];

#define X_V d32
#define X_T __m256i
#define X_F __m256
#define X_(op) ES_JOIN(_mm256_, op)
#define X_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define X_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define X_DPBUSD S8_DPBUSD256
#define X_G 32
#define DW_T S8_DW_TILE
#include "s8_vnni_depthwise.inc.h"

#define X_V d16
#define X_T __m128i
#define X_F __m128
#define X_(op) ES_JOIN(_mm_, op)
#define X_LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define X_STORE(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)
#define X_DPBUSD S8_DPBUSD128
#define X_G 16
#define DW_T S8_DW_TILE
#include "s8_vnni_depthwise.inc.h"

#include "s8_plain.inc.h"
