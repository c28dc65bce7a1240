// Memory for numbers.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace superfine {

// Floats at a multiple of 64 bytes; in large pages, where the system has them.
class Floats {
 public:
  Floats() = default;
  explicit Floats(int64_t count) {
    // A large page, even where it is not filled: small ones would cost the processor more to find than to read.
    const size_t page = 1 << 21, least = page / 8;
    size_t bytes = size_t(count) * sizeof(float);
    const size_t align = bytes < least ? 64 : page;
    bytes = (bytes + align - 1) / align * align;
    raw_ = std::malloc(bytes + align);
    if (!raw_) throw std::bad_alloc();
    data_ = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(raw_) + align - 1) / align * align);
#if defined(__linux__)
    if (align == page) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
  }
  Floats(Floats&& other) noexcept { swap(other); }
  Floats& operator=(Floats&& other) noexcept { swap(other); return *this; }
  ~Floats() { std::free(raw_); }
  float* data() const { return data_; }

 private:
  void swap(Floats& other) noexcept { std::swap(raw_, other.raw_); std::swap(data_, other.data_); }
  void* raw_ = nullptr;
  float* data_ = nullptr;
};

}  // namespace superfine
