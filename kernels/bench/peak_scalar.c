/* What a compiler makes of portable C: vectors of four where the architecture's oldest CPU has them. */
#include "peak.h"
#include "kernels.h"

#if defined(__x86_64__) || defined(__aarch64__)
typedef float four __attribute__((vector_size(16)));
#define LANES 4
static inline four set1(float f) { return (four){f, f, f, f}; }
#else
typedef float four;
#define LANES 1
static inline four set1(float f) { return f; }
#endif
/* The sum is multiplied, not added to: a product of two constants would be computed once for all sums. */
static inline four multiply_add(four sum, four a, four b) { return sum * a + b; }

#if defined(__x86_64__)
#define REGISTER "x"
#elif defined(__aarch64__)
#define REGISTER "w"
#else
#define REGISTER "t"
#endif
ES_PEAK_DEFINE(es_peak_scalar, four, LANES, 12, REGISTER, set1, multiply_add)
