/* What the int8 kernels of x86-64 share: from sums to stored outputs, and the input as unsigned bytes. */
#ifndef ES_S8_X86_H
#define ES_S8_X86_H

#include <immintrin.h>

#include "kernels.h"

/* Eight sums to outputs, as 32-bit numbers. */
ES_INLINE __m256i s8_x86_outputs(__m256i sums, __m256 scale, es_s8_output o)
{
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    const __m256 clamped = _mm256_min_ps(_mm256_set1_ps(o.high), _mm256_max_ps(_mm256_set1_ps(o.low), scaled));
    return _mm256_add_epi32(_mm256_cvtps_epi32(clamped), _mm256_set1_epi32(o.zero_point));
}

typedef __m256 q8_scale_t;
ES_INLINE q8_scale_t q8_load_scale(const float *scale) { return _mm256_loadu_ps(scale); }
ES_INLINE void q8_store(int8_t *y, const __m256i *sums, int count, const q8_scale_t *scales, es_s8_output o)
{
    ES_UNROLL for (int i = 0; i < count; ++i) {
        const __m256i outputs = s8_x86_outputs(sums[i], scales[i], o);
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(outputs), _mm256_extracti128_si256(outputs, 1));
        _mm_storel_epi64((__m128i *)(void *)(y + 8 * i), _mm_packs_epi16(words, words));
    }
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
