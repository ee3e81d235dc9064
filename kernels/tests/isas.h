/* The tables under test: those of the library that this CPU can run, and those that only the tests have. */
#ifndef ISAS_H
#define ISAS_H

#include "kernels.h"

enum { MOST_ISAS = 10 };

/* Fills `isas` with what can run here; returns how many. Says on stdout what cannot, the first time. */
size_t usable_isas(const es_isa *isas[MOST_ISAS]);

/* The AVX-512 files themselves, their intrinsics done in AVX2 by SIMDe; where that is installed. */
extern const es_f32_kernels es_f32_simde;
extern const es_s8_kernels es_s8_vnni_simde, es_s8_avxvnni_simde;

#endif
