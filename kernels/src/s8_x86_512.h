/* Sixteen sums to stored outputs. */
#ifndef ES_S8_X86_512_H
#define ES_S8_X86_512_H

#include "s8_x86.h"

ES_INLINE void s8_x86_store16(int8_t *y, __m512i sum, const float *scale, float low, float high, int32_t zero_point)
{
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scale));
    const __m512 clamped = _mm512_min_ps(_mm512_set1_ps(high), _mm512_max_ps(_mm512_set1_ps(low), scaled));
    const __m512i outputs = _mm512_add_epi32(_mm512_cvtps_epi32(clamped), _mm512_set1_epi32(zero_point));
    _mm_storeu_si128((__m128i *)(void *)y, _mm512_cvtepi32_epi8(outputs));
}

#endif
