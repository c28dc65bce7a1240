// Runs the compiled kernels on a processor, or a system, that has no Python: `cross_check.py` writes what is to be
// computed into a file, and compares what this program writes into another.
//
//     driver                  prints the instructions in use and the panel of their kernels, for float32 and then for
//                             16-bit integers; "none 0": it has none
//     driver CASES RESULTS    does the work in CASES; numbers lie in RESULTS one after the other
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

extern "C" {
const char* native_instructions(int int16);
int native_panel(int int16);
void* native_network(const void* maps, int map_count, const void* layers, int layer_count, const float* mean, int scale,
                     int halo, int int16);
int64_t native_column_bytes(void* network);
int native_run(void* network, const void* in, void* out, int uint8, int height, int width, int down, int across,
               int threads, int64_t budget);
void native_release(void* network);
void native_free(void* network);
void winograd_kernels(const float* w, int inputs, int outputs, float* u, int threads);
int winograd_conv(int n, int h, int w, const float* x, int64_t x_pixel, int inputs, const float* u, int outputs,
                  const float* bias, const float* plus, int64_t plus_pixel, const float* mask, int64_t mask_pixel,
                  int relu_from, float* out, int64_t out_pixel, int threads);
int winograd_to_kernels(int n, int h, int w, const float* x, int64_t x_pixel, int inputs, const float* g,
                        int64_t g_pixel, int outputs, float* to_w, int threads);
}

namespace {

std::ifstream cases;
std::ofstream results;

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "driver: %s\n", why);
  std::exit(3);
}

template <class T> std::vector<T> read(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  cases.read(reinterpret_cast<char*>(values.data()), std::streamsize(values.size() * sizeof(T)));
  if (!cases) fail("the file of cases ends early");
  return values;
}

int32_t number() { return read<int32_t>(1)[0]; }

template <class T> void write(const std::vector<T>& values) {
  results.write(reinterpret_cast<const char*>(values.data()), std::streamsize(values.size() * sizeof(T)));
}

// A network: its maps and layers as Python lays them out, but for the pointers in a layer, whose numbers follow.
struct Network {
  std::vector<char> maps, layers;
  std::vector<std::vector<char>> numbers;
  void* made = nullptr;
  int scale = 0;

  ~Network() { if (made) native_free(made); }

  void build() {
    scale = number();
    const int halo = number(), map_count = number(), map_bytes = number(), layer_count = number();
    const int int16 = number(), layer_bytes = number();
    const int places[3] = {number(), number(), number()};  // of the pointers to weights, scales and bias
    const std::vector<float> mean = read<float>(3);
    maps = read<char>(int64_t(map_count) * map_bytes);
    layers = read<char>(int64_t(layer_count) * layer_bytes);
    for (int layer = 0; layer < layer_count; ++layer)
      for (int place : places) {
        const int bytes = number();
        numbers.push_back(read<char>(bytes));
        const char* at = bytes ? numbers.back().data() : nullptr;
        std::memcpy(layers.data() + int64_t(layer) * layer_bytes + place, &at, sizeof at);
      }
    made = native_network(maps.data(), map_count, layers.data(), layer_count, mean.data(), scale, halo, int16);
    if (!made) fail("no memory for a network");
  }

  template <class T> void run() {
    const int height = number(), width = number(), down = number(), across = number(), threads = number();
    const int columns = number();  // that the memory is enough for
    const std::vector<T> in = read<T>(int64_t(3) * height * width);
    std::vector<T> out(in.size() * scale * scale);
    const int64_t budget = native_column_bytes(made) * columns;
    const int failure = native_run(made, in.data(), out.data(), sizeof(T) == 1, height, width, down, across, threads, budget);
    if (failure) fail(failure == 1 ? "no memory for a picture" : "a picture got stuck");
    native_release(made);
    write(out);
  }
};

// A convolution with all that may follow it, and the gradient of its kernels by one of its result.
void train() {
  const int n = number(), h = number(), w = number(), inputs = number(), outputs = number();
  const int relu_from = number(), threads = number();
  const int64_t pixels = int64_t(n) * h * w;
  const auto x = read<float>(pixels * inputs), weights = read<float>(int64_t(9) * inputs * outputs);
  const auto bias = read<float>(outputs), plus = read<float>(pixels * outputs), mask = read<float>(pixels * outputs);
  const auto gradient = read<float>(pixels * outputs);
  std::vector<float> points(size_t(36) * inputs * outputs), out(plus.size()), to_weights(weights.size());
  winograd_kernels(weights.data(), inputs, outputs, points.data(), threads);
  int failure = winograd_conv(n, h, w, x.data(), inputs, inputs, points.data(), outputs, bias.data(), plus.data(),
                              outputs, mask.data(), outputs, relu_from, out.data(), outputs, threads);
  failure |= winograd_to_kernels(n, h, w, x.data(), inputs, inputs, gradient.data(), outputs, outputs,
                                 to_weights.data(), threads);
  if (failure) fail("no memory for a convolution");
  write(out);
  write(to_weights);
}

enum Work : int32_t { END, NETWORK, RUN_FLOAT, RUN_UINT8, TRAIN };

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    for (int int16 : {0, 1}) {
      const char* name = native_instructions(int16);
      std::printf("%s %d\n", name ? name : "none", name ? native_panel(int16) : 0);
    }
    return 0;
  }
  cases.open(arguments[1], std::ios::binary);
  results.open(arguments[2], std::ios::binary);
  if (!cases || !results) fail("cannot open the files");
  std::vector<Network> networks(1);
  for (;;) switch (number()) {
      case NETWORK: networks = std::vector<Network>(1); networks[0].build(); break;
      case RUN_FLOAT: networks[0].run<float>(); break;
      case RUN_UINT8: networks[0].run<uint8_t>(); break;
      case TRAIN: train(); break;
      case END: results.close(); return results ? 0 : (fail("cannot write the results"), 3);
      default: fail("unknown work");
    }
}
