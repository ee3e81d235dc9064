/* Found before the compiler's own: AVX-512 intrinsics come from SIMDe, which does them with what this CPU has. SIMDe itself
 * includes this file by the same name and gets the compiler's. */
#ifndef SIMDE_IMMINTRIN_H
#define SIMDE_IMMINTRIN_H
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#include <math.h>

/* Older versions of SIMDe lack these: written here from the instructions' description. */
#undef _mm512_mask_storeu_ps
#undef _mm512_permutevar_ps
#undef _mm512_permute_ps
#define _mm512_mask_storeu_ps(memory, mask, vector) shim_masked_store(memory, mask, vector)
#define _mm512_permutevar_ps(vector, control) shim_permute(vector, control)
#define _mm512_permute_ps(vector, control) shim_permute(vector, shim_control(control))
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_ps(vector) shim_to_floats(vector)
#define _mm512_cvtps_epi32(vector) shim_round(vector)
#define _mm512_cvtepi32_epi8(vector) shim_to_bytes(vector)

static inline void shim_masked_store(void *memory, simde__mmask16 mask, simde__m512 vector)
{
    const simde__m512_private lanes = simde__m512_to_private(vector);
    for (int i = 0; i < 16; ++i)
        if (mask >> i & 1)
            ((float *)memory)[i] = lanes.f32[i];
}

static inline simde__m512 shim_permute(simde__m512 vector, simde__m512i control)
{
    const simde__m512_private from = simde__m512_to_private(vector);
    const simde__m512i_private at = simde__m512i_to_private(control);
    simde__m512_private to;
    for (int i = 0; i < 16; ++i)
        to.f32[i] = from.f32[i / 4 * 4 + (at.i32[i] & 3)];
    return simde__m512_from_private(to);
}

static inline simde__m512 shim_to_floats(simde__m512i vector)
{
    const simde__m512i_private from = simde__m512i_to_private(vector);
    simde__m512_private to;
    for (int i = 0; i < 16; ++i)
        to.f32[i] = (float)from.i32[i];
    return simde__m512_from_private(to);
}

static inline simde__m512i shim_round(simde__m512 vector)
{
    const simde__m512_private from = simde__m512_to_private(vector);
    simde__m512i_private to;
    for (int i = 0; i < 16; ++i)
        to.i32[i] = (int32_t)rintf(from.f32[i]);
    return simde__m512i_from_private(to);
}

static inline simde__m128i shim_to_bytes(simde__m512i vector)
{
    const simde__m512i_private from = simde__m512i_to_private(vector);
    simde__m128i_private to;
    for (int i = 0; i < 16; ++i)
        to.i8[i] = (int8_t)from.i32[i];
    return simde__m128i_from_private(to);
}

static inline simde__m512i shim_control(int immediate)
{
    simde__m512i_private at;
    for (int i = 0; i < 16; ++i)
        at.i32[i] = immediate >> 2 * (i % 4) & 3;
    return simde__m512i_from_private(at);
}
#endif
#include_next <immintrin.h>
