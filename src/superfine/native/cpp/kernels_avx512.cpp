// Sixteen floats at once: x86 servers since 2017, desktops since Zen 4.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels.h"
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC target("avx512f,avx2,fma")
#endif

namespace superfine {
namespace {

typedef __m512 vec;
constexpr int LANES = 16, VECTORS = 2, ROWS = 12;  // 24 sums, 2 weights, inputs read by the multiplication: of 32

inline vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, vec v) { _mm512_storeu_ps(p, v); }
inline vec all(float v) { return _mm512_set1_ps(v); }
inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
inline vec fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); }
inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
inline vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
inline vec where_positive(vec sign, vec v) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(sign, all(0), _CMP_GT_OQ), v);
}
inline float total(vec v) { return _mm512_reduce_add_ps(v); }

#include "kernels.inc"
#include "kernels_ends.inc"

typedef __m512i ivec;
#if defined(__GNUC__) || defined(__clang__)
#define WIDENED __attribute__((target("avx512f,avx512vnni,avx2,fma")))
#else
#define WIDENED
#endif

inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline ivec nothing() { return _mm512_setzero_si512(); }
inline ivec load_pairs(const int16_t* p) { return _mm512_loadu_si512(p); }
inline ivec all_pairs(const int16_t* p) {
  int pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}
WIDENED inline void add_dot(ivec& sum, ivec a, ivec b) {
#if defined(__GNUC__)  // which would store the sum in every step
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#else
  sum = _mm512_dpwssd_epi32(sum, a, b);
#endif
}
inline vec widen(ivec v) { return _mm512_cvtepi32_ps(v); }
inline void round_group(int16_t* to, const float* from, vec factor) {
  __m256i rounded = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(mul(load(from), factor)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
}
inline vec larger_magnitude(vec a, vec b) { return larger(a, _mm512_abs_ps(b)); }
inline float largest(vec v) { return _mm512_reduce_max_ps(v); }

#include "kernels_int16.inc"
#include "training.inc"

}  // namespace

const Kernels* avx512() {
  static const Kernels kernels{"AVX-512", PANEL, TILES, scratch_floats, winograd, winograd_int16, pointwise, pointwise_int16, head, tail,
                               TRAINING_SCRATCH, tensor, gradient};
  return &kernels;
}

}  // namespace superfine
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace superfine {
const Kernels* avx512() { return nullptr; }
}  // namespace superfine
#endif
