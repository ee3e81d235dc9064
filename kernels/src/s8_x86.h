/* What the int8 kernels of x86-64 share: from sums to stored outputs, and the input as unsigned bytes. */
#ifndef ES_S8_X86_H
#define ES_S8_X86_H

#include <immintrin.h>

#include "kernels.h"

ES_INLINE void s8_x86_store8(int8_t *y, __m256i sum, const float *scale, float low, float high, int32_t zero_point)
{
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
    const __m256 clamped = _mm256_min_ps(_mm256_set1_ps(high), _mm256_max_ps(_mm256_set1_ps(low), scaled));
    const __m256i outputs = _mm256_add_epi32(_mm256_cvtps_epi32(clamped), _mm256_set1_epi32(zero_point));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(outputs), _mm256_extracti128_si256(outputs, 1));
    _mm_storel_epi64((__m128i *)(void *)y, _mm_packs_epi16(words, words));
}

/* Four bytes in every lane. */
ES_INLINE int32_t s8_x86_four(const void *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return four;
}

/* int8 plus 128, as uint8_t. */
ES_INLINE void s8_x86_to_unsigned(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    (void)zero_point;
    uint8_t *y = to;
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m256i values = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        _mm256_storeu_si256((__m256i *)(void *)(y + i), _mm256_xor_si256(values, _mm256_set1_epi8((char)0x80)));
    }
    for (; i < count; ++i)
        y[i] = (uint8_t)(x[i] ^ 0x80);
}

/* int8 less its zero point, as int16_t. */
ES_INLINE void s8_x86_to_wide(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    int16_t *y = to;
    size_t i = 0;
    const __m256i zero = _mm256_set1_epi16((int16_t)zero_point);
    for (; i + 16 <= count; i += 16) {
        const __m256i values = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x + i)));
        _mm256_storeu_si256((__m256i *)(void *)(y + i), _mm256_sub_epi16(values, zero));
    }
    for (; i < count; ++i)
        y[i] = (int16_t)(x[i] - zero_point);
}

#endif
