// 3x3 convolutions of float32 tensors, zero padding 1, and their gradients: the work cut into blocks, for threads.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <dlfcn.h>
#endif

#include "kernels.h"
#include "memory.h"

namespace superfine {
namespace {

const float G[6][3] = {{1 / 4.f, 0, 0}, {-1 / 6.f, -1 / 6.f, -1 / 6.f}, {-1 / 6.f, 1 / 6.f, -1 / 6.f},
                       {1 / 24.f, 1 / 12.f, 1 / 6.f}, {1 / 24.f, -1 / 12.f, 1 / 6.f}, {0, 0, 1}};

Plane plane(int n, int h, int w) {
  Plane p{n, h, w, (h + 3) / 4, (w + 3) / 4, 0};
  p.tiles = int64_t(n) * p.rows * p.columns;
  return p;
}

// Calls work(0) to work(count - 1), on threads of their own or those that PyTorch has: its idle ones wait in a loop, and
// others would share their cores. Which thread does what changes no sum.
template <class Work> void in_parallel(int count, const Work& work) {
  struct Team {
    const Work& work;
    int count;
    std::atomic<int> next{0}, failed{0};
    static void run(void* data) {
      Team& team = *static_cast<Team*>(data);
      try {
        for (int i; (i = team.next++) < team.count;) team.work(i);
      } catch (const std::bad_alloc&) {
        team.failed = 1;
      }
    }
  } team{work, count};
#if defined(__linux__)
  using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
  if (const auto openmp = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"))) {
    openmp(Team::run, &team, unsigned(count), 0);
    if (team.failed) throw std::bad_alloc();
    return;
  }
#endif
  std::vector<std::thread> others;
  try {
    for (int i = 1; i < count; ++i) others.emplace_back([&team] { Team::run(&team); });
  } catch (const std::exception&) {
    // Fewer threads do the same work.
  }
  Team::run(&team);
  for (std::thread& other : others) other.join();
  if (team.failed) throw std::bad_alloc();
}

Floats zeros(int64_t count) {
  Floats floats(count);
  std::memset(floats.data(), 0, size_t(count) * sizeof(float));
  return floats;
}

// to[k][l][input] += G' sum G of one input's row of outputs; sum: [point][input][output]
void from_points(const float* sum, int64_t point, int some, float* to, int64_t tap) {
  for (int o = 0; o < some; ++o) {
    float half[3][6];
    for (int j = 0; j < 6; ++j)
      for (int k = 0; k < 3; ++k) {
        half[k][j] = 0;
        for (int i = 0; i < 6; ++i) half[k][j] += G[i][k] * sum[(i * 6 + j) * point + o];
      }
    for (int k = 0; k < 3; ++k)
      for (int l = 0; l < 3; ++l) {
        float value = 0;
        for (int j = 0; j < 6; ++j) value += G[j][l] * half[k][j];
        to[(k * 3 + l) * tap + o] = value;
      }
  }
}

}  // namespace
}  // namespace superfine

using namespace superfine;

// w: (3, 3, inputs, outputs) -> u: (36, outputs / GROUP, inputs, GROUP)
EXPORTED void winograd_kernels(const float* w, int inputs, int outputs, float* u, int threads) {
  const int parts = std::min(threads, inputs);
  in_parallel(parts, [&](int part) {
    for (int c = int(int64_t(inputs) * part / parts); c < int(int64_t(inputs) * (part + 1) / parts); ++c)
      for (int o = 0; o < outputs; o += GROUP) {
        float half[6][3][GROUP];
        for (int j = 0; j < 3; ++j)
          for (int i = 0; i < 6; ++i)
            for (int v = 0; v < GROUP; ++v) {
              half[i][j][v] = 0;
              for (int k = 0; k < 3; ++k) half[i][j][v] += G[i][k] * w[(int64_t(k * 3 + j) * inputs + c) * outputs + o + v];
            }
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j) {
            float* to = u + ((int64_t(i * 6 + j) * (outputs / GROUP) + o / GROUP) * inputs + c) * GROUP;
            for (int v = 0; v < GROUP; ++v)
              to[v] = G[j][0] * half[i][0][v] + G[j][1] * half[i][1][v] + G[j][2] * half[i][2][v];
          }
      }
  });
}

// x: NHWC; u: of winograd_kernels; out: NHWC, conv(x) and what `TensorConvolution` says. 1: out of memory.
EXPORTED int winograd_conv(int n, int h, int w, const float* x, int64_t x_pixel, int inputs, const float* u, int outputs,
                           const float* bias, const float* plus, int64_t plus_pixel, const float* mask,
                           int64_t mask_pixel, int relu_from, float* out, int64_t out_pixel, int threads) {
  const TensorConvolution job{plane(n, h, w), {x, x_pixel}, inputs, u, outputs, bias, {plus, plus_pixel},
                              {mask, mask_pixel}, relu_from, out, out_pixel};
  const int64_t blocks = (job.plane.tiles + BLOCK - 1) / BLOCK;
  const int parts = int(std::min<int64_t>(threads, blocks));
  try {
    in_parallel(parts, [&](int part) {
      const Floats scratch = zeros(kernels()->training_scratch);
      kernels()->tensor(job, blocks * part / parts, blocks * (part + 1) / parts, scratch.data());
    });
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}

// x, g: NHWC, a convolution's input and its output's gradient; to_w: (3, 3, inputs, outputs), the gradient of w. 1: out of
// memory.
EXPORTED int winograd_to_kernels(int n, int h, int w, const float* x, int64_t x_pixel, int inputs, const float* g,
                                 int64_t g_pixel, int outputs, float* to_w, int threads) {
  const Plane p = plane(n, h, w);
  const int64_t blocks = (p.tiles + BLOCK - 1) / BLOCK;
  const int parts = int(std::min<int64_t>(threads, blocks));
  try {
    const Floats sums(int64_t(parts) * POINTS * CHUNK * CHUNK);
    std::vector<Floats> scratch;
    for (int part = 0; part < parts; ++part) scratch.push_back(zeros(kernels()->training_scratch));
    for (int o = 0; o < outputs; o += CHUNK)
      for (int c = 0; c < inputs; c += CHUNK) {
        const KernelGradient job{p, {x + c, x_pixel}, {g + o, g_pixel}, std::min(CHUNK, inputs - c),
                                 std::min(CHUNK, outputs - o)};
        const int64_t size = int64_t(POINTS) * job.some * job.depth;
        in_parallel(parts, [&](int part) {
          float* sum = sums.data() + part * size;
          std::memset(sum, 0, size_t(size) * sizeof(float));
          kernels()->gradient(job, blocks * part / parts, blocks * (part + 1) / parts, sum, scratch[part].data());
        });
        in_parallel(std::min(parts, job.depth), [&](int part) {
          const int rows = std::min(parts, job.depth);
          const int64_t first = size / rows * part, end = part + 1 == rows ? size : size / rows * (part + 1);
          for (int other = 1; other < parts; ++other)
            for (int64_t i = first; i < end; ++i) sums.data()[i] += sums.data()[other * size + i];
        });
        in_parallel(std::min(parts, job.depth), [&](int part) {
          const int rows = std::min(parts, job.depth);
          for (int row = job.depth * part / rows; row < job.depth * (part + 1) / rows; ++row)
            from_points(sums.data() + int64_t(row) * job.some, int64_t(job.depth) * job.some, job.some,
                        to_w + (int64_t(c) + row) * outputs + o, int64_t(inputs) * outputs);
        });
      }
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}
