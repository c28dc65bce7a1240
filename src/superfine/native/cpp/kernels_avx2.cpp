// Eight floats at once: x86 processors since 2013.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels.h"
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC target("avx2,fma")
#endif

namespace superfine {
namespace {

typedef __m256 vec;
constexpr int LANES = 8, VECTORS = 2, ROWS = 6;  // 12 sums, 2 weights and an input: 15 of 16 registers

inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vec v) { _mm256_storeu_ps(p, v); }
inline vec all(float v) { return _mm256_set1_ps(v); }
inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
inline vec fnma(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); }
inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
inline vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
inline vec where_positive(vec sign, vec v) { return _mm256_and_ps(v, _mm256_cmp_ps(sign, all(0), _CMP_GT_OQ)); }

inline float total(vec v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#include "kernels.inc"
#include "kernels_ends.inc"

typedef __m256i ivec;
#define WIDENED

inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
inline ivec nothing() { return _mm256_setzero_si256(); }
inline ivec load_pairs(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline ivec all_pairs(const int16_t* p) {
  int pair;
  std::memcpy(&pair, p, sizeof pair);
  return _mm256_set1_epi32(pair);
}
inline void add_dot(ivec& sum, ivec a, ivec b) {
  const ivec products = _mm256_madd_epi16(a, b);
#if defined(__GNUC__)  // which would copy or store the sum in every step
  asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
#else
  sum = _mm256_add_epi32(sum, products);
#endif
}
inline vec widen(ivec v) { return _mm256_cvtepi32_ps(v); }
inline void round_group(int16_t* to, const float* from, vec factor) {
  __m256i low = _mm256_cvtps_epi32(mul(load(from), factor)), high = _mm256_cvtps_epi32(mul(load(from + LANES), factor));
  __m256i mixed = _mm256_packs_epi32(low, high);  // by halves of the registers
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(mixed, _MM_SHUFFLE(3, 1, 2, 0)));
}
inline vec larger_magnitude(vec a, vec b) { return larger(a, _mm256_andnot_ps(all(-0.f), b)); }
inline float largest(vec v) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#include "kernels_int16.inc"
#include "training.inc"

}  // namespace

const Kernels* avx2() {
  static const Kernels kernels{"AVX2", PANEL, TILES, scratch_floats, winograd, winograd_int16, pointwise, pointwise_int16, head, tail,
                               TRAINING_SCRATCH, tensor, gradient};
  return &kernels;
}

}  // namespace superfine
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace superfine {
const Kernels* avx2() { return nullptr; }
}  // namespace superfine
#endif
