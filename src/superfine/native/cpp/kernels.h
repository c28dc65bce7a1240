// What an instruction set must offer: the inner loops of a network, on numbers that the network places.
#pragma once
#include <cstdint>

#if defined(_MSC_VER) && !defined(__clang__)
#pragma fp_contract(off)  // as the other compilers' options say; on by default before Visual Studio 2022
#endif

namespace superfine {

constexpr int POINTS = 36;  // of a Winograd tile: 6x6
constexpr int MOST_STEP = 4;  // factor of a pixel shuffle, at most

// Feature maps as a step reads them; null: a row outside of the picture, zeros. Channels of a pixel are adjacent,
// `pixel` floats lie between two pixels.
struct Source {
  const float* rows[6];
  int64_t pixel;
  int channels;  // a multiple of 16
};

// 4 rows of maps as a step reads or writes them beside its convolution; absent: pixel is 0. Rows above the picture, which
// `Convolution::above` counts, are never touched.
struct Beside {
  float* rows[4];
  int64_t pixel;
};

// A convolution of a run of tiles (3x3, by Winograd) or of pixels (1x1) of `high` rows.
struct Convolution {
  Source in[2];  // read as one, channels one after the other; the second may have none
  int width;     // pixels of a row
  int first, count;
  int shift;     // pixels of the first tile that lie left of the picture
  int above, high;  // rows of a step that are computed: from `above` up to `high`
  const void* weights;  // as `native_program.py` lays them out: float32, or of 16 bits with their scales
  const float *scales, *bias;   // may be null
  int outputs;                  // a multiple of the panel
  int relu_from;                // rectified from this channel on
  int step;                     // of the pixel shuffle that follows; 1: none
  float* out[4 * MOST_STEP];
  int64_t out_pixel;
  // out = relu(conv + bias + plus) + after; sum = conv + bias + plus + sum_with
  Beside plus, after, sum_with, sum;
};

// A run of pixels of one row, 3x3, from or to three channels.
struct Ends {
  const float* rows[3];
  int64_t pixel;  // of the maps
  int width, first, count, channels;
  const float* weights;
  bool relu;
  float* out;
};

// Channels of one pixel are adjacent, `pixel` floats lie between two pixels, rows and pictures follow without a gap.
struct View {
  const float* data;
  int64_t pixel;
};

// n pictures of h x w pixels, and the tiles they are cut into.
struct Plane {
  int n, h, w, rows, columns;
  int64_t tiles;
};

// A convolution of whole tensors, as training wants it: out = conv(x) + bias + plus, rectified from a channel on, 0
// unless mask > 0. Inputs and outputs are multiples of GROUP; absent: null.
struct TensorConvolution {
  Plane plane;
  View x;
  int inputs;
  const float* points;  // of the kernels, as `to_points` lays them out
  int outputs;
  const float* bias;
  View plus, mask;
  int relu_from;
  float* out;
  int64_t out_pixel;
};

// The sums over tiles that make a gradient by kernels: of `depth` inputs and `some` outputs.
struct KernelGradient {
  Plane plane;
  View x, gradient;
  int depth, some;
};

constexpr int GROUP = 16, BLOCK = 12, CHUNK = 64;  // of channels; tiles, and channels, that training works on at once

struct Kernels {
  const char* name;
  int panel;       // outputs computed at once; the outputs of a convolution are a multiple
  int most_tiles;  // tiles of a call, at most
  int64_t (*scratch)(int inputs);  // floats
  void (*winograd)(const Convolution&, float* scratch);
  void (*winograd_int16)(const Convolution&, float* scratch);  // null: it would not be faster
  void (*pointwise)(const Convolution&, float* scratch);
  void (*pointwise_int16)(const Convolution&, float* scratch);
  // rows: pixels of 3 floats, from one left of `first` on. Writes maps.
  void (*head)(const Ends&, float* scratch);
  // rows: maps. Writes pixels of 3 floats.
  void (*tail)(const Ends&);
  // Training. scratch: `training_scratch` floats, zeros at first. Blocks of BLOCK tiles, from `first` up to `end`.
  int64_t training_scratch;
  void (*tensor)(const TensorConvolution&, int64_t first, int64_t end, float* scratch);
  // Adds to sum[point][input][output].
  void (*gradient)(const KernelGradient&, int64_t first, int64_t end, float* sum, float* scratch);
};

// Null where the processor lacks the instructions, or the compiler did.
const Kernels* avx2();
const Kernels* avx512();
const Kernels* neon();

// Those of the processor the program runs on, for float32 or for numbers of 16 bits; null: it has none of these
// instructions.
const Kernels* kernels(bool int16 = false);

}  // namespace superfine

#if defined(_WIN32)
#define EXPORTED extern "C" __declspec(dllexport)
#else
#define EXPORTED extern "C" __attribute__((visibility("default")))
#endif
