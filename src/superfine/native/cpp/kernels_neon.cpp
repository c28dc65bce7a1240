// Four floats at once: 64-bit ARM processors, Apple's among them.
#include <cmath>
#include <type_traits>

#include "kernels.h"
#if defined(__aarch64__) || defined(_M_ARM64)
#if defined(__GNUC__) && !defined(__clang__)
// GCC would load all inputs of a product ahead of its multiplications, and then lacks registers for the sums.
#pragma GCC optimize("no-schedule-insns")
#endif
#include <arm_neon.h>

namespace superfine {
namespace {

typedef float32x4_t vec;
constexpr int LANES = 4, VECTORS = 4, ROWS = 6;  // 24 sums, 4 weights and an input: 29 of 32 registers

inline vec load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, vec v) { vst1q_f32(p, v); }
inline vec all(float v) { return vdupq_n_f32(v); }
inline vec fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
inline vec fnma(vec a, vec b, vec c) { return vfmsq_f32(c, a, b); }
inline vec add(vec a, vec b) { return vaddq_f32(a, b); }
inline vec sub(vec a, vec b) { return vsubq_f32(a, b); }
inline vec larger(vec a, vec b) { return vmaxq_f32(a, b); }
inline vec where_positive(vec sign, vec v) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vcgtq_f32(sign, all(0))));
}
inline float total(vec v) { return vaddvq_f32(v); }

#include "kernels.inc"
#include "kernels_ends.inc"
#include "training.inc"

}  // namespace

const Kernels* neon() {
  static const Kernels kernels{"NEON", PANEL, TILES, scratch_floats, winograd, nullptr, pointwise, nullptr, head, tail,
                               TRAINING_SCRATCH, tensor, gradient};
  return &kernels;
}

}  // namespace superfine
#else
namespace superfine {
const Kernels* neon() { return nullptr; }
}  // namespace superfine
#endif
