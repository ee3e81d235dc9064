/* Sums and means. Defined by the including file: PLAIN_NAME, PLAIN_V, PLAIN_VW. */

#define V_(op) ES_JOIN(ES_JOIN(PLAIN_V, _), op)
#define N_(suffix) ES_JOIN(PLAIN_NAME, suffix)

static void N_(_add)(const float *a, const float *b, float *y, size_t count, float low, float high)
{
    const V_(t) vlow = V_(set1)(low), vhigh = V_(set1)(high);
    const size_t whole = count - count % PLAIN_VW;
    for (size_t i = 0; i < whole; i += PLAIN_VW)
        V_(store)(y + i, V_(min)(vhigh, V_(max)(vlow, V_(add)(V_(load)(a + i), V_(load)(b + i)))));
    for (size_t i = whole; i < count; ++i) {
        float sum = a[i] + b[i];
        sum = sum < low ? low : sum;
        y[i] = sum > high ? high : sum;
    }
}

/* y[c] = the mean of x[p][c] over the pixels. */
static void N_(_mean)(const float *x, float *y, size_t pixels, size_t channels)
{
    const float share = 1.0f / (float)pixels;
    const size_t whole = channels - channels % PLAIN_VW;
    for (size_t c = 0; c < whole; c += PLAIN_VW) {
        V_(t) sum = V_(zero)();
        for (size_t p = 0; p < pixels; ++p)
            sum = V_(add)(sum, V_(load)(x + p * channels + c));
        V_(store)(y + c, V_(fma)(V_(zero)(), sum, V_(set1)(share)));
    }
    for (size_t c = whole; c < channels; ++c) {
        float sum = 0;
        for (size_t p = 0; p < pixels; ++p)
            sum += x[p * channels + c];
        y[c] = sum * share;
    }
}

#undef V_
#undef N_
#undef PLAIN_NAME
#undef PLAIN_V
#undef PLAIN_VW
