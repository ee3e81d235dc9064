/* The core's peak: multiply-adds on registers alone, as many sums as hide their latency. One file per instruction set. */
#ifndef ES_PEAK_H
#define ES_PEAK_H

#include <stddef.h>

/* Runs `iterations` rounds; returns the floating-point operations done. */
typedef double es_peak_loop(size_t iterations);

#if defined(__x86_64__)
es_peak_loop es_peak_avx512, es_peak_avx2;
#elif defined(__aarch64__) || defined(__arm__)
es_peak_loop es_peak_neon;
#endif
es_peak_loop es_peak_scalar;

/* SUMS sums of VECTOR; `multiply_add(sum, a, b)`. The empty assembler statements keep each sum in its register (CONSTRAINT)
 * and stop a compiler from merging rounds or dropping them. */
#define ES_PEAK_DEFINE(name, VECTOR, LANES, SUMS, CONSTRAINT, set1, multiply_add)                                      \
    double name(size_t iterations)                                                                                     \
    {                                                                                                                  \
        VECTOR sum[SUMS], a = set1(0.5f), b = set1(0.5f);                                                              \
        ES_UNROLL for (int i = 0; i < (SUMS); ++i)                                                                     \
            sum[i] = set1((float)i);                                                                                   \
        for (size_t n = 0; n < iterations; ++n) {                                                                      \
            __asm__ volatile("" : "+" CONSTRAINT(a), "+" CONSTRAINT(b));                                               \
            ES_UNROLL for (int i = 0; i < (SUMS); ++i)                                                                 \
            {                                                                                                          \
                sum[i] = multiply_add(sum[i], a, b);                                                                   \
                __asm__ volatile("" : "+" CONSTRAINT(sum[i]));                                                         \
            }                                                                                                          \
        }                                                                                                              \
        return 2.0 * (LANES) * (SUMS) * (double)iterations;                                                            \
    }

#endif
