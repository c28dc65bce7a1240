// 3x3 convolutions of float32 activations, zero padding 1, and their gradients, by Winograd's F(4x4, 3x3): a quarter
// of the multiplications (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016).
//
// A tile is 4x4 pixels of the output; it depends on 6x6 of the input, d. With w a kernel and g the gradient of a tile,
//
//     tile = A' [ (B' d B) * (G w G') ] A        to_w = G' [ sum over tiles of (B' d B) * (A g A') ] G
//
// where * is a product number by number over the 36 points; summed over channels (or tiles) it is a matrix product a
// point. The input's gradient is the first formula again, kernels turned round, inputs and outputs exchanged.
//
// Few tiles are worked on at once, so that their matrices of all points stay in a core's own cache.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <omp.h>
#include <vector>

namespace {

typedef float vec __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int LANES = 8, PANEL = 16;             // floats of a vector, outputs of a step of a matrix product
constexpr int POINTS = 36, TILES = 12, CHUNK = 64;  // tiles and channels at once; outputs are multiples of PANEL
constexpr int STRIDE = TILES * CHUNK + 16;  // between two points' matrices; the 16 keep them out of one cache set

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
inline vec all(float v) { return vec{v, v, v, v, v, v, v, v}; }

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

Plane plane(int n, int h, int w) {
  Plane p{n, h, w, (h + 3) / 4, (w + 3) / 4, 0};
  p.tiles = int64_t(n) * p.rows * p.columns;
  return p;
}

// The picture a tile is of and its first pixel.
struct Place {
  int n, y, x;
};

Place place(const Plane& p, int64_t tile) {
  int x = tile % p.columns; int64_t rest = tile / p.columns;
  return {int(rest / p.rows), int(rest % p.rows) * 4, x * 4};
}

const float ZEROS[CHUNK] = {};  // what lies outside of a picture

const float G[6][3] = {{1 / 4.f, 0, 0}, {-1 / 6.f, -1 / 6.f, -1 / 6.f}, {-1 / 6.f, 1 / 6.f, -1 / 6.f},
                       {1 / 24.f, 1 / 12.f, 1 / 6.f}, {1 / 24.f, -1 / 12.f, 1 / 6.f}, {0, 0, 1}};

// B' d (of 6), A' m and A g (of 4) of one column or row.
template <class T> inline void points_1d(const T (&d)[6], T (&o)[6]) {
  T a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  o[0] = 4 * d[0] - 5 * d[2] + d[4];
  o[1] = a + b; o[2] = a - b; o[3] = c + e; o[4] = c - e;
  o[5] = 4 * d[1] - 5 * d[3] + d[5];
}

template <class T> inline void output_1d(const T (&m)[6], T (&o)[4]) {
  T a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
  o[0] = m[0] + a + c; o[1] = b + 2 * e; o[2] = a + 4 * c; o[3] = b + 8 * e + m[5];
}

template <class T> inline void points_1d(const T (&g)[4], T (&o)[6]) {
  T a = g[0] + g[2], b = g[1] + g[3], c = g[0] + 4 * g[2], e = 2 * g[1] + 8 * g[3];
  o[0] = g[0]; o[1] = a + b; o[2] = a - b; o[3] = c + e; o[4] = c - e; o[5] = g[3];
}

// to[point][tile][channel]: B' d B of an input's tiles (SIDE 6: with the pixels around them), A g A' of a gradient's (4).
template <int SIDE> void tiles_to_points(const Plane& p, View x, int channels, int64_t first, int count, float* to) {
  constexpr int AROUND = (SIDE - 4) / 2;
  for (int t = 0; t < count; ++t) {
    Place at = place(p, first + t);
    const float* from[SIDE][SIDE];
    for (int i = 0; i < SIDE; ++i)
      for (int j = 0; j < SIDE; ++j) {
        int y = at.y + i - AROUND, c = at.x + j - AROUND;
        bool in = y >= 0 && y < p.h && c >= 0 && c < p.w;
        from[i][j] = in ? x.data + ((int64_t(at.n) * p.h + y) * p.w + c) * x.pixel : ZEROS;
      }
    for (int c = 0; c < channels; c += LANES) {
      vec half[6][SIDE];
      for (int j = 0; j < SIDE; ++j) {
        vec d[SIDE], o[6];
        for (int i = 0; i < SIDE; ++i) d[i] = load(from[i][j] + c);
        points_1d(d, o);
        for (int i = 0; i < 6; ++i) half[i][j] = o[i];
      }
      for (int i = 0; i < 6; ++i) {
        vec o[6];
        points_1d(half[i], o);
        for (int j = 0; j < 6; ++j) store(to + (i * 6 + j) * STRIDE + t * channels + c, o[j]);
      }
    }
  }
}

// c[r][0..16] (+)= sum over k of a[r][k] * b[k][0..16]
template <int R> inline void rows_by_panel(const float* a, int lda, const float* b, float* c, int ldc, int k, bool add) {
  vec left[R], right[R];
  for (int r = 0; r < R; ++r) {
    left[r] = add ? load(c + r * ldc) : all(0);
    right[r] = add ? load(c + r * ldc + LANES) : all(0);
  }
  for (int i = 0; i < k; ++i) {
    vec b0 = load(b + i * PANEL), b1 = load(b + i * PANEL + LANES);
    for (int r = 0; r < R; ++r) {
      vec v = all(a[r * lda + i]);
      left[r] += v * b0; right[r] += v * b1;
    }
  }
  for (int r = 0; r < R; ++r) { store(c + r * ldc, left[r]); store(c + r * ldc + LANES, right[r]); }
}

// c[r][0..16] += sum over k of a[k][r] * b[k][0..16]
template <int R> inline void columns_by_panel(const float* a, int lda, const float* b, int ldb, float* c, int ldc, int k) {
  vec left[R], right[R];
  for (int r = 0; r < R; ++r) { left[r] = load(c + r * ldc); right[r] = load(c + r * ldc + LANES); }
  for (int i = 0; i < k; ++i) {
    vec b0 = load(b + i * ldb), b1 = load(b + i * ldb + LANES);
    for (int r = 0; r < R; ++r) {
      vec v = all(a[i * lda + r]);
      left[r] += v * b0; right[r] += v * b1;
    }
  }
  for (int r = 0; r < R; ++r) { store(c + r * ldc, left[r]); store(c + r * ldc + LANES, right[r]); }
}

float* scratch(int64_t floats) {
  return static_cast<float*>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
}

// What becomes of a convolution's sums, and where they go. Absent: null.
struct Ends {
  const float* bias;
  View plus, mask;
  int relu_from;
  float* out;
  int64_t pixel;
};

// out = A' M A + bias + plus, rectified from channel relu_from on, 0 unless mask > 0
void output_tiles(const Plane& p, const float* M, int channels, int offset, int64_t first, int count, const Ends& e) {
  for (int t = 0; t < count; ++t) {
    Place at = place(p, first + t);
    int high = std::min(4, p.h - at.y), wide = std::min(4, p.w - at.x);
    for (int c = 0; c < channels; c += LANES) {
      const float* from = M + t * channels + c;
      vec half[4][6];
      for (int j = 0; j < 6; ++j) {
        vec m[6], o[4];
        for (int i = 0; i < 6; ++i) m[i] = load(from + (i * 6 + j) * STRIDE);
        output_1d(m, o);
        for (int i = 0; i < 4; ++i) half[i][j] = o[i];
      }
      bool relu = offset + c >= e.relu_from;
      vec bias = e.bias ? load(e.bias + offset + c) : all(0);
      for (int i = 0; i < high; ++i) {
        vec o[4];
        output_1d(half[i], o);
        int64_t pixel = (int64_t(at.n) * p.h + at.y + i) * p.w + at.x;
        for (int j = 0; j < wide; ++j, ++pixel) {
          vec v = o[j] + bias;
          if (e.plus.data) v += load(e.plus.data + pixel * e.plus.pixel + offset + c);
          if (relu) v = v > 0 ? v : all(0);
          if (e.mask.data) v = load(e.mask.data + pixel * e.mask.pixel + offset + c) > 0 ? v : all(0);
          store(e.out + pixel * e.pixel + offset + c, v);
        }
      }
    }
  }
}

}  // namespace

extern "C" {

// w: (3, 3, inputs, outputs) -> u: (36, outputs/16, inputs, 16)
void winograd_kernels(const float* w, int inputs, int outputs, float* u) {
#pragma omp parallel for
  for (int c = 0; c < inputs; ++c)
    for (int o = 0; o < outputs; o += LANES) {
      vec half[6][3];
      for (int j = 0; j < 3; ++j)
        for (int i = 0; i < 6; ++i) {
          half[i][j] = all(0);
          for (int k = 0; k < 3; ++k) half[i][j] += G[i][k] * load(w + (int64_t(k * 3 + j) * inputs + c) * outputs + o);
        }
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j) {
          vec v = G[j][0] * half[i][0] + G[j][1] * half[i][1] + G[j][2] * half[i][2];
          store(u + ((int64_t(i * 6 + j) * (outputs / PANEL) + o / PANEL) * inputs + c) * PANEL + o % PANEL, v);
        }
    }
}

// x: NHWC; u: of winograd_kernels; out: NHWC, conv(x) and what Ends says.
void winograd_conv(int n, int h, int w, const float* x, int64_t x_pixel, int inputs, const float* u, int outputs,
                   const float* bias, const float* plus, int64_t plus_pixel, const float* mask, int64_t mask_pixel,
                   int relu_from, float* out, int64_t out_pixel) {
  Plane p = plane(n, h, w);
  Ends ends{bias, {plus, plus_pixel}, {mask, mask_pixel}, relu_from, out, out_pixel};
  int64_t blocks = (p.tiles + TILES - 1) / TILES;
#pragma omp parallel
  {
    float *V = scratch(POINTS * STRIDE), *M = scratch(POINTS * STRIDE);
    std::memset(V, 0, POINTS * STRIDE * sizeof(float));
#pragma omp for
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t first = block * TILES;
      int count = int(std::min<int64_t>(TILES, p.tiles - first)), rows = (count + 5) / 6 * 6;
      for (int o = 0; o < outputs; o += CHUNK) {
        int some = std::min(CHUNK, outputs - o);
        for (int c = 0; c < inputs; c += CHUNK) {
          int depth = std::min(CHUNK, inputs - c);
          if (inputs > CHUNK || o == 0) tiles_to_points<6>(p, {x + c, x_pixel}, depth, first, count, V);
          for (int point = 0; point < POINTS; ++point)
            for (int q = 0; q < some; q += PANEL) {
              const float* panel = u + ((int64_t(point) * (outputs / PANEL) + (o + q) / PANEL) * inputs + c) * PANEL;
              for (int r = 0; r < rows; r += 6)
                rows_by_panel<6>(V + point * STRIDE + r * depth, depth, panel, M + point * STRIDE + r * some + q, some,
                                 depth, c > 0);
            }
        }
        output_tiles(p, M, some, o, first, count, ends);
      }
    }
    std::free(V); std::free(M);
  }
}

// x, g: NHWC, a convolution's input and its output's gradient; to_w: (3, 3, inputs, outputs), the gradient of w
void winograd_to_kernels(int n, int h, int w, const float* x, int64_t x_pixel, int inputs, const float* g,
                         int64_t g_pixel, int outputs, float* to_w) {
  Plane p = plane(n, h, w);
  int64_t blocks = (p.tiles + TILES - 1) / TILES;
  int threads = omp_get_max_threads();
  float* sums = scratch(int64_t(threads) * POINTS * CHUNK * CHUNK);
  for (int o = 0; o < outputs; o += CHUNK)
    for (int c = 0; c < inputs; c += CHUNK) {
      int some = std::min(CHUNK, outputs - o), depth = std::min(CHUNK, inputs - c);
      int size = POINTS * some * depth, used = 1;
#pragma omp parallel
      {
        float *V = scratch(POINTS * STRIDE), *Z = scratch(POINTS * STRIDE);
        float* sum = sums + int64_t(omp_get_thread_num()) * size;
        std::memset(sum, 0, size * sizeof(float));
#pragma omp single
        used = omp_get_num_threads();
#pragma omp for
        for (int64_t block = 0; block < blocks; ++block) {
          int64_t first = block * TILES;
          int count = int(std::min<int64_t>(TILES, p.tiles - first));
          tiles_to_points<6>(p, {x + c, x_pixel}, depth, first, count, V);
          tiles_to_points<4>(p, {g + o, g_pixel}, some, first, count, Z);
          for (int point = 0; point < POINTS; ++point) {
            const float *a = V + point * STRIDE, *b = Z + point * STRIDE;
            float* to = sum + point * some * depth;
            for (int q = 0; q < some; q += PANEL) {
              int r = 0;
              for (; r + 6 <= depth; r += 6) columns_by_panel<6>(a + r, depth, b + q, some, to + r * some + q, some, count);
              for (; r + 2 <= depth; r += 2) columns_by_panel<2>(a + r, depth, b + q, some, to + r * some + q, some, count);
            }
          }
        }
        std::free(V); std::free(Z);
#pragma omp for
        for (int row = 0; row < depth; ++row)
          for (int q = 0; q < some; q += LANES) {
            vec half[3][6];
            for (int j = 0; j < 6; ++j) {
              vec d[6];
              for (int i = 0; i < 6; ++i) {
                d[i] = all(0);
                for (int thread = 0; thread < used; ++thread)
                  d[i] += load(sums + int64_t(thread) * size + ((i * 6 + j) * depth + row) * some + q);
              }
              for (int k = 0; k < 3; ++k) {
                half[k][j] = all(0);
                for (int i = 0; i < 6; ++i) half[k][j] += G[i][k] * d[i];
              }
            }
            for (int k = 0; k < 3; ++k)
              for (int l = 0; l < 3; ++l) {
                vec v = all(0);
                for (int j = 0; j < 6; ++j) v += G[j][l] * half[k][j];
                store(to_w + (int64_t(k * 3 + l) * inputs + c + row) * outputs + o + q, v);
              }
          }
      }
    }
  std::free(sums);
}
}
