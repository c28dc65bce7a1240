// Which kernels run here, and the library's own functions.
#include <cstdlib>
#include <cstring>
#if defined(__x86_64__) || defined(_M_X64)
#define SUPERFINE_X64
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#include "kernels.h"

namespace superfine {
namespace {

#if defined(SUPERFINE_X64)

// The processor is asked itself, the same way with every compiler: not all bring the functions that GCC has for it.
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;

  explicit Leaf(unsigned number) {
#if defined(_MSC_VER)
    int most[4], values[4];
    __cpuid(most, 0);
    if (unsigned(most[0]) < number) return;
    __cpuidex(values, int(number), 0);
    a = unsigned(values[0]), b = unsigned(values[1]), c = unsigned(values[2]), d = unsigned(values[3]);
#else
    __get_cpuid_count(number, 0, &a, &b, &c, &d);
#endif
  }
};

bool bit(unsigned word, int number) { return word >> number & 1; }

// Registers that the system saves, as bits; 1 and 2: of 128 and 256 bits, 5 to 7: of 512.
unsigned saved_registers() {
#if defined(_MSC_VER)
  return unsigned(_xgetbv(0));
#else
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
#endif
}

// Asks first: functions of kernels_*.cpp may themselves use the instructions of their file. int16: AVX-512 without VNNI
// multiplies 16 bits no faster than AVX2.
const Kernels* choose(bool int16) {
  const char* wanted = std::getenv("SUPERFINE_INSTRUCTIONS");
  const bool narrow = wanted && !std::strcmp(wanted, "AVX2");
  const Leaf old(1), recent(7);
  const bool fma = bit(old.c, 12), saves = bit(old.c, 27);
  if (!fma || !saves || !bit(recent.b, 5)) return nullptr;
  const unsigned saved = saved_registers();
  // F, DQ, CD, BW and VL, which Visual Studio takes for one; all processors with AVX-512 but one series have them.
  const unsigned wide = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
  const bool vnni = bit(recent.c, 11);
  if (!narrow && (recent.b & wide) == wide && (vnni || !int16) && (saved & 0xe6) == 0xe6) return avx512();
  return (saved & 6) == 6 ? avx2() : nullptr;
}

#else

const Kernels* choose(bool int16) { return int16 ? nullptr : neon(); }

#endif

}  // namespace

const Kernels* kernels(bool int16) {
  static const Kernels *float32 = choose(false), *integers = choose(true);
  return int16 ? integers : float32;
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
#if defined(SUPERFINE_X64)
  return bit(Leaf(7).d, 22);
#else
  return 0;
#endif
}

// Changes with every change of an exported function or of what it is handed: library.py refuses any other.
EXPORTED int native_interface() { return 2; }

// Python's build wants an extension module; this one is opened as the plain library it is.
EXPORTED void* PyInit__native() { return nullptr; }
