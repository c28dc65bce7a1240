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

const Kernels* choose() {
  if (const Kernels* found = neon()) return found;
  const char* wanted = std::getenv("SUPERFINE_INSTRUCTIONS");
  const bool narrow = wanted && !std::strcmp(wanted, "AVX2");
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (avx512() && !narrow && __builtin_cpu_supports("avx512f")) return avx512();
  if (avx2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2();
#elif defined(_M_X64)
  int leaf[4], more[4];
  __cpuid(leaf, 1);
  if (!(leaf[2] >> 27 & 1)) return nullptr;  // the system saves no wide registers
  __cpuidex(more, 7, 0);
  unsigned long long saved = _xgetbv(0);
  if (!narrow && (more[1] >> 16 & 1) && (saved & 0xe6) == 0xe6) return avx512();
  if ((more[1] >> 5 & 1) && (leaf[2] >> 12 & 1) && (saved & 6) == 6) return avx2();
#endif
  return nullptr;
}

}  // namespace

const Kernels* kernels() {
  static const Kernels* chosen = choose();
  return chosen;
}

}  // namespace superfine

using namespace superfine;

// The instructions in use; null: this processor has none of those there are kernels for.
EXPORTED const char* native_instructions() { return kernels() ? kernels()->name : nullptr; }

// Whether the processor multiplies matrices of bfloat16 (AMX).
EXPORTED int native_matrix_units() {
#if defined(__x86_64__) && defined(__GNUC__)
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1);
#elif defined(_M_X64)
  int leaf[4];
  __cpuidex(leaf, 7, 0);
  return leaf[3] >> 22 & 1;
#else
  return 0;
#endif
}

// Python's build wants an extension module; this one is opened as the plain library it is.
EXPORTED void* PyInit__native() { return nullptr; }
