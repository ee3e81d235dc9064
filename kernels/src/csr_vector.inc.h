/* Single values times one pixel: a dot product per output row, its inputs picked from all over x. Defined by the
 * including file: CSRV_NAME, CSRV_V (a vector of four), CSRV_PICK(x, i0, i1, i2, i3). */

#define V_(op) ES_JOIN(ES_JOIN(CSRV_V, _), op)
#define N_(suffix) ES_JOIN(CSRV_NAME, suffix)

ES_INLINE V_(t) N_(_four)(const void *indices, size_t at, const float *x, const bool wide)
{
    if (wide) {
        const uint32_t *index = (const uint32_t *)indices + at;
        return CSRV_PICK(x, index[0], index[1], index[2], index[3]);
    }
    uint64_t four;
    memcpy(&four, (const uint16_t *)indices + at, sizeof four);
    return CSRV_PICK(x, four & 0xffff, four >> 16 & 0xffff, four >> 32 & 0xffff, (size_t)(four >> 48));
}

ES_INLINE void N_(_body)(const es_csr_rows *rows, const float *x, float *y, const bool wide)
{
    const void *indices = rows->indices;
    const float *values = rows->values;
    for (size_t row = rows->first; row < rows->last; ++row) {
        size_t i = rows->row_start[row];
        const size_t end = rows->row_start[row + 1];
        V_(t) sum[4];
        ES_UNROLL for (int u = 0; u < 4; ++u)
            sum[u] = V_(zero)();
        for (; i + 16 <= end; i += 16)
            ES_UNROLL for (int u = 0; u < 4; ++u) {
                const size_t at = i + 4 * (size_t)u;
                sum[u] = V_(fma)(sum[u], V_(load)(values + at), N_(_four)(indices, at, x, wide));
            }
        for (; i + 4 <= end; i += 4)
            sum[0] = V_(fma)(sum[0], V_(load)(values + i), N_(_four)(indices, i, x, wide));
        float lanes[4];
        V_(store)(lanes, V_(add)(V_(add)(sum[0], sum[1]), V_(add)(sum[2], sum[3])));
        float total = rows->bias[row] + ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
        for (; i < end; ++i)
            total += values[i] * x[wide ? ((const uint32_t *)indices)[i] : ((const uint16_t *)indices)[i]];
        total = total < rows->low ? rows->low : total;
        y[row] = total > rows->high ? rows->high : total;
    }
}

static void N_(_narrow)(const es_csr_rows *rows, const float *x, float *y) { N_(_body)(rows, x, y, false); }
static void N_(_wide)(const es_csr_rows *rows, const float *x, float *y) { N_(_body)(rows, x, y, true); }

#undef V_
#undef N_
#undef CSRV_NAME
#undef CSRV_V
#undef CSRV_PICK
