/* Sums of two int8 tensors: a loop that compilers turn into the vectors of the including file's instruction set. */

static void plain_add(const es_sum_s8 *sum, const int8_t *restrict a, const int8_t *restrict b, int8_t *restrict y,
                      size_t count)
{
    const es_sum_s8 s = *sum;
    for (size_t i = 0; i < count; ++i) {
        const int32_t scaled = (s.bias + a[i] * s.a_multiplier + b[i] * s.b_multiplier) >> s.shift;
        const int32_t raised = scaled < s.low ? s.low : scaled;
        y[i] = (int8_t)((raised > s.high ? s.high : raised) + s.zero_point);
    }
}
