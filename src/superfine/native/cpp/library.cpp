// Which kernels run here, and the library's own functions.
#include <cstdlib>
#include <cstring>
#if defined(_MSC_VER)
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels.h"

namespace superfine {
namespace {

#if defined(_M_X64)
bool bit(int word, int number) { return word >> number & 1; }
#endif

// Asks the processor first: functions of kernels_*.cpp may themselves use the instructions of their file.
// int16: AVX-512 alone multiplies 16 bits no faster than AVX2 does, which needs half the registers.
const Kernels* choose(bool int16) {
#if defined(__x86_64__) || defined(_M_X64)
  const char* wanted = std::getenv("SUPERFINE_INSTRUCTIONS");
  const bool narrow = wanted && !std::strcmp(wanted, "AVX2");
#if defined(__GNUC__)
  __builtin_cpu_init();
  const bool wide = __builtin_cpu_supports("avx512f") && (!int16 || __builtin_cpu_supports("avx512vnni"));
  if (!narrow && wide) return avx512();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2();
#else
  int most[4], leaf[4], more[4];
  __cpuid(most, 0);
  __cpuid(leaf, 1);
  if (most[0] < 7 || !bit(leaf[2], 27)) return nullptr;  // 27: the system saves wide registers
  __cpuidex(more, 7, 0);
  const unsigned long long saved = _xgetbv(0);
  const bool wide = bit(more[1], 16) && (!int16 || bit(more[2], 11));
  if (!narrow && wide && (saved & 0xe6) == 0xe6) return avx512();
  if (bit(more[1], 5) && bit(leaf[2], 12) && (saved & 6) == 6) return avx2();
#endif
  return nullptr;
#else
  return int16 ? nullptr : neon();
#endif
}

}  // namespace

const Kernels* kernels(bool int16) {
  static const Kernels *float32 = choose(false), *narrow = choose(true);
  return int16 ? narrow : float32;
}

}  // namespace superfine

using namespace superfine;

// The instructions in use, for float32 or for numbers of 16 bits; null: this processor has none there are kernels for.
EXPORTED const char* native_instructions(int int16) {
  const Kernels* found = kernels(int16 != 0);
  return found ? found->name : nullptr;
}

// Whether the processor multiplies matrices of bfloat16 (AMX).
EXPORTED int native_matrix_units() {
#if defined(__x86_64__) && defined(__GNUC__)
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1);
#elif defined(_M_X64)
  int most[4], leaf[4];
  __cpuid(most, 0);
  __cpuidex(leaf, 7, 0);
  return most[0] >= 7 && bit(leaf[3], 22);
#else
  return 0;
#endif
}

// Python's build wants an extension module; this one is opened as the plain library it is.
EXPORTED void* PyInit__native() { return nullptr; }
