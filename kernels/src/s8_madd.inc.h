/* The int8 kernels of eight and four sums without dot products of bytes. vpmaddubsw saturates, so inputs and weights are 16
 * bits wide: two vpmaddwd, which do not, make the dot products of four inputs. */

typedef int16_t q8_input_t, q4_input_t;
typedef struct { __m256i low, high; } q8_weights_t, q8_quad_t;
typedef struct { __m128i low, high; } q4_weights_t, q4_quad_t;
typedef __m256i q8_sum_t;
typedef __m128i q4_sum_t;

ES_INLINE q8_sum_t q8_load_sum(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
ES_INLINE q8_sum_t q8_zero_sum(void) { return _mm256_setzero_si256(); }
ES_INLINE q8_sum_t q8_add_sum(q8_sum_t a, q8_sum_t b) { return _mm256_add_epi32(a, b); }
ES_INLINE q8_weights_t q8_load_weights(const int8_t *p)
{
    return (q8_weights_t){_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p)),
                          _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)))};
}
ES_INLINE q8_quad_t q8_quad(const int16_t *p)
{
    return (q8_quad_t){_mm256_set1_epi32(s8_x86_four(p)), _mm256_set1_epi32(s8_x86_four(p + 2))};
}
ES_INLINE q8_sum_t q8_dot(q8_sum_t sum, q8_weights_t w, q8_quad_t x)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w.low, x.low));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w.high, x.high));
}
ES_INLINE void q8_store(int8_t *y, q8_sum_t sum, const float *scale, float low, float high, int32_t zero_point)
{
    s8_x86_store8(y, sum, scale, low, high, zero_point);
}

ES_INLINE q4_sum_t q4_load_sum(const int32_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
ES_INLINE q4_sum_t q4_zero_sum(void) { return _mm_setzero_si128(); }
ES_INLINE q4_sum_t q4_add_sum(q4_sum_t a, q4_sum_t b) { return _mm_add_epi32(a, b); }
ES_INLINE q4_weights_t q4_load_weights(const int8_t *p)
{
    const __m128i all = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (q4_weights_t){_mm_cvtepi8_epi16(all), _mm_cvtepi8_epi16(_mm_unpackhi_epi64(all, all))};
}
ES_INLINE q4_quad_t q4_quad(const int16_t *p)
{
    return (q4_quad_t){_mm_set1_epi32(s8_x86_four(p)), _mm_set1_epi32(s8_x86_four(p + 2))};
}
ES_INLINE q4_sum_t q4_dot(q4_sum_t sum, q4_weights_t w, q4_quad_t x)
{
    sum = _mm_add_epi32(sum, _mm_madd_epi16(w.low, x.low));
    return _mm_add_epi32(sum, _mm_madd_epi16(w.high, x.high));
}
ES_INLINE void q4_store(int8_t *y, q4_sum_t sum, const float *scale, float low, float high, int32_t zero_point)
{
    s8_x86_store4(y, sum, scale, low, high, zero_point);
}

static void convert(const int8_t *x, void *to, size_t count, int32_t zero_point)
{
    s8_x86_to_wide(x, to, count, zero_point);
}
