/* IEEE 754 half precision to single, exact, without the instruction for it. */
#ifndef ES_HALF_H
#define ES_HALF_H

#include <stdint.h>
#include <string.h>

static inline float es_half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t magnitude = half & 0x7fffu;
    uint32_t bits;
    if (magnitude >= 0x7c00u) {                 /* infinity, NaN */
        bits = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
    } else if (magnitude >= 0x0400u) {          /* normal: rebias the exponent */
        bits = sign | ((magnitude << 13) + ((127u - 15u) << 23));
    } else {                                    /* subnormal: a multiple of 2^-24 */
        const float value = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float single;
    memcpy(&single, &bits, sizeof single);
    return single;
}

#endif
