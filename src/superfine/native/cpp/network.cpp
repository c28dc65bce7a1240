// A whole network, run row by row: a step makes four rows of one layer's maps, for as soon as it has the rows it reads
// the next layer can go on. No map is ever held whole, only the rows between the layers; threads take steps of any
// layer, a run of tiles at a time.
//
// Rings hold the rows. Their sizes come from a rehearsal: which step of every layer the last one's step waits for.
#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace superfine {
namespace {

enum Kind : int32_t { HEAD, WINOGRAD, POINTWISE, TAIL };
constexpr int ROWS = 4;    // of a step, where its convolution reads
constexpr int SLACK = 1;   // steps a layer may be ahead of what those after it need
constexpr int NONE = -1;

// As `native_program.py` hands them in.
struct MapSpec {
  int32_t channels, scale;
};

struct LayerSpec {
  int32_t kind, outputs, relu_from, step;
  int32_t in[2], offset[2], inputs[2];  // maps, first channel, channels
  int32_t plus, after, sum_with, sum, out;
  int32_t shift;  // pixels that its first tiles begin above and left of the picture
  const void* weights;
  const float *scales, *bias;  // scales: of weights of 16 bits
};

struct Map {
  int channels, scale, needed;  // needed: rows a ring has at least
  int producer;
  std::vector<std::pair<int, int>> readers;  // layer, rows it reads above its own
  // of a run:
  int height, width, rows;
  float* data;
  float* row(int y) const { return data + int64_t(y % rows) * width * channels; }
  int64_t floats() const { return int64_t(rows) * width * channels; }
};

struct Layer {
  LayerSpec spec;
  const float *weights, *scales, *bias;
  int scale, reach;  // of its input; rows it reads above and below
  int up;            // rows that its first tiles begin above the picture
  int left;          // and columns left of the strip
  // of a run:
  int steps, chunks, done, claimed, undone;  // steps done; chunks of the next one that are claimed, and not done
};

// The part of a picture that a run computes: columns x0 to x1, of which it hands on keep0 to keep1.
struct Strip {
  int x0, x1, keep0, keep1;
};

struct Picture {
  const void* in;
  void* out;
  bool uint8;
  int height, width;
  int down, across;  // where its first pixel lies between two lines of the grid, 0..3
};

class Network {
 public:
  Network(const MapSpec* maps, int map_count, const LayerSpec* layers, int layer_count, const float* mean, int scale,
          int halo, const Kernels* kernels)
      : kernels_(kernels), scale_(scale), halo_(halo) {
    std::copy(mean, mean + 3, mean_);
    for (int value = 0; value < 256; ++value) widened_[value] = float(value) * (1 / 255.f);
    for (int i = 0; i < map_count; ++i) maps_.push_back({maps[i].channels, maps[i].scale, 0, 0, {}, 0, 0, 0, nullptr});
    int64_t floats = 0;
    for (int i = 0; i < layer_count; ++i) floats += floats_of(layers[i]);
    weights_ = Floats(floats);
    float* next = weights_.data();
    for (int i = 0; i < layer_count; ++i) layers_.push_back(layer(layers[i], i, next));
    rehearse(0);
  }

  // Bytes of rings for each column of a picture that is high enough.
  int64_t column_bytes() const {
    int64_t floats = 0;
    for (const Map& map : maps_) floats += int64_t(map.needed) * map.scale * map.channels;
    return floats * int64_t(sizeof(float));
  }

  int run(const Picture& picture, int threads, int64_t budget) {
    std::lock_guard<std::mutex> one_at_a_time(busy_);
    const int width = picture.width;
    if (picture.down != down_) rehearse(picture.down);
    int widest = int(std::min<int64_t>(width, budget / column_bytes()));
    if (widest < width) widest = std::min(width, std::max(widest / ROWS, 2 * halo_ / ROWS + 16) * ROWS);
    for (int keep = 0; keep < width;) {
      Strip strip{std::max(0, keep - halo_), 0, keep, 0};
      strip.x1 = std::min(width, strip.x0 + widest);
      if (strip.x1 < width) strip.x1 -= (strip.x1 + picture.across) % ROWS;
      strip.keep1 = strip.x1 == width ? width : strip.x1 - halo_;
      if (int failure = run_strip(picture, strip, threads)) return failure;
      keep = strip.keep1;
    }
    return 0;
  }

  void release() {
    std::lock_guard<std::mutex> one_at_a_time(busy_);
    rings_ = Floats();
    ring_floats_ = 0;
  }

 private:
  static int64_t padded(int64_t floats) { return (floats + 15) / 16 * 16; }

  // Floats that a layer's weights take: two of 16 bits lie in one.
  static int64_t weight_count(const LayerSpec& spec) {
    int64_t inputs = spec.inputs[0] + spec.inputs[1];
    if (spec.kind == WINOGRAD) return POINTS * inputs * spec.outputs / (spec.scales ? 2 : 1);
    if (spec.kind == POINTWISE) return inputs * spec.outputs / (spec.scales ? 2 : 1);
    return 27 * std::max<int64_t>(inputs, spec.outputs);
  }

  static int64_t scale_count(const LayerSpec& spec) {
    if (!spec.scales) return 0;
    return spec.kind == WINOGRAD ? POINTS * spec.outputs : spec.outputs;
  }

  static int64_t floats_of(const LayerSpec& spec) {
    return padded(weight_count(spec)) + padded(scale_count(spec)) + padded(spec.outputs);
  }

  // The layer, its weights copied to `next`, which moves on.
  Layer layer(const LayerSpec& spec, int number, float*& next) {
    Layer layer{spec, nullptr, nullptr, nullptr, 1, spec.kind == POINTWISE ? 0 : 1, 0, 0, 0, 0, 0, 0, 0};
    layer.weights = copy(spec.weights, weight_count(spec), next);
    if (spec.scales) layer.scales = copy(spec.scales, scale_count(spec), next);
    if (spec.bias) layer.bias = copy(spec.bias, spec.outputs, next);
    for (int i = 0; i < 2; ++i)
      if (spec.kind != HEAD && spec.inputs[i]) {
        maps_[spec.in[i]].readers.push_back({number, layer.reach});
        layer.scale = maps_[spec.in[i]].scale;
      }
    for (int map : {spec.plus, spec.after, spec.sum_with})
      if (map != NONE) maps_[map].readers.push_back({number, 0});
    for (int map : {spec.out, spec.sum})
      if (map != NONE) maps_[map].producer = number;
    most_inputs_ = std::max(most_inputs_, spec.inputs[0] + spec.inputs[1]);
    return layer;
  }

  static const float* copy(const void* from, int64_t count, float*& next) {
    float* to = next;
    std::memcpy(to, from, size_t(count) * sizeof(float));
    next += padded(count);
    return to;
  }

  // Pixels of the layer's first tile outside of a picture whose first pixel lies so far from a line of the grid.
  static int shift(const Layer& layer, int from_line) {
    return layer.spec.kind == WINOGRAD ? (layer.spec.shift + from_line * layer.scale) % ROWS : 0;
  }

  // Where the rows end that so many steps of a layer compute, in rows that its convolution reads.
  static int end(const Layer& layer, int steps) { return std::max(0, steps * ROWS - layer.up); }

  // Steps of every layer that the last one's first `steps` wait for, in a picture without end.
  std::vector<int> waits_for(int steps) const {
    std::vector<int> wanted(layers_.size(), 0);
    wanted.back() = steps;
    for (int i = int(layers_.size()) - 1; i >= 0; --i)
      for (const Map& map : maps_)
        for (const auto& reader : map.readers)
          if (reader.first == i) {
            const Layer& producer = layers_[map.producer];
            const int step = producer.spec.step, made = ROWS * step;
            int rows = end(layers_[i], wanted[i]) + reader.second + producer.up * step;
            wanted[map.producer] = std::max(wanted[map.producer], (rows + made - 1) / made);
          }
    return wanted;
  }

  // down: where pictures begin between two lines of the grid.
  void rehearse(int down) {
    constexpr int FAR = 4000, PERIOD = 48;  // past all beginnings; every meeting of steps of different scales
    down_ = down;
    for (Layer& layer : layers_) layer.up = shift(layer, down);
    for (Map& map : maps_) map.needed = 0;
    std::vector<int> before = waits_for(FAR);
    for (int step = 1; step <= PERIOD; ++step) {
      std::vector<int> now = waits_for(FAR + step);
      for (Map& map : maps_) {
        const Layer& producer = layers_[map.producer];
        int ready = end(producer, now[map.producer] + SLACK) * producer.spec.step, oldest = ready;
        for (const auto& reader : map.readers)
          oldest = std::min(oldest, end(layers_[reader.first], before[reader.first]) - reader.second);
        map.needed = std::max(map.needed, ready - oldest);
      }
      before = now;
    }
  }

  int run_strip(const Picture& picture, const Strip& strip, int threads) {
    int64_t floats = 0;
    for (Map& map : maps_) {
      map.height = picture.height * map.scale;
      map.width = (strip.x1 - strip.x0) * map.scale;
      map.rows = std::min(map.needed, map.height);
      floats += map.floats();
    }
    if (floats > ring_floats_) {
      rings_ = Floats();
      ring_floats_ = 0;
      rings_ = Floats(floats);
      ring_floats_ = floats;
    }
    float* next = rings_.data();
    for (Map& map : maps_) {
      map.data = next;
      next += map.floats();
    }
    for (Layer& layer : layers_) {
      layer.left = shift(layer, picture.across + strip.x0);
      int tiles = ((strip.x1 - strip.x0) * layer.scale + layer.left + 3) / 4;
      layer.steps = (picture.height * layer.scale + layer.up + ROWS - 1) / ROWS;
      layer.chunks = (tiles + kernels_->most_tiles - 1) / kernels_->most_tiles;
      layer.done = layer.claimed = 0;
      layer.undone = layer.chunks;
    }
    picture_ = &picture;
    strip_ = &strip;
    running_ = 0;
    failure_ = 0;
    std::vector<std::thread> others;
    try {
      for (int i = 1; i < threads; ++i) others.emplace_back([this] { work(); });
    } catch (const std::exception&) {
      // Fewer threads do the same work.
    }
    work();
    for (std::thread& other : others) other.join();
    return failure_;
  }

  void work() {
    try {
      Floats scratch(kernels_->scratch(most_inputs_));
      std::memset(scratch.data(), 0, size_t(kernels_->scratch(most_inputs_)) * sizeof(float));
      std::vector<float> pixels(size_t(kernels_->most_tiles) * 4 * 3 + 6);
      std::unique_lock<std::mutex> lock(mutex_);
      int last = NONE;
      while (!failure_ && layers_.back().done < layers_.back().steps) {
        int number = next(last);
        if (number == NONE) {
          if (!running_) failure_ = 2;
          else changed_.wait(lock);
          continue;
        }
        last = number;
        Layer& layer = layers_[number];
        int step = layer.done, chunk = layer.claimed++;
        ++running_;
        lock.unlock();
        compute(layer, step, chunk, scratch.data(), pixels.data());
        lock.lock();
        --running_;
        if (--layer.undone == 0) {
          ++layer.done;
          layer.claimed = 0;
          layer.undone = layer.chunks;
          changed_.notify_all();
        }
      }
    } catch (const std::bad_alloc&) {
      std::lock_guard<std::mutex> lock(mutex_);
      failure_ = 1;
    }
    changed_.notify_all();
  }

  // A layer with a chunk to compute: the one the thread was at, or the furthest.
  int next(int last) const {
    if (last != NONE && ready(layers_[last])) return last;
    for (int i = int(layers_.size()) - 1; i >= 0; --i)
      if (ready(layers_[i])) return i;
    return NONE;
  }

  bool ready(const Layer& layer) const {
    if (layer.done >= layer.steps || layer.claimed >= layer.chunks) return false;
    if (layer.claimed) return true;
    int rows = end(layer, layer.done + 1);
    for (int i = 0; i < 2; ++i)
      if (layer.spec.kind != HEAD && layer.spec.inputs[i] && !has(layer.spec.in[i], rows + layer.reach)) return false;
    for (int map : {layer.spec.plus, layer.spec.after, layer.spec.sum_with})
      if (map != NONE && !has(map, rows)) return false;
    for (int map : {layer.spec.out, layer.spec.sum})
      if (map != NONE && !takes(maps_[map], rows * layer.spec.step)) return false;
    return true;
  }

  bool has(int map, int rows) const {
    const Layer& producer = layers_[maps_[map].producer];
    return end(producer, producer.done) * producer.spec.step >= std::min(rows, maps_[map].height);
  }

  // Whether `rows` rows have room: what they overwrite has been read.
  bool takes(const Map& map, int rows) const {
    int oldest = std::min(rows, map.height) - map.rows;
    for (const auto& reader : map.readers)
      if (std::max(0, end(layers_[reader.first], layers_[reader.first].done) - reader.second) < oldest) return false;
    return true;
  }

  void compute(const Layer& layer, int step, int chunk, float* scratch, float* pixels) const {
    // Chunks of about one size: the last is not left with a tile or two.
    int width = (strip_->x1 - strip_->x0) * layer.scale, tiles = (width + layer.left + 3) / 4;
    int first = int(int64_t(tiles) * chunk / layer.chunks), last = int(int64_t(tiles) * (chunk + 1) / layer.chunks);
    int top = step * ROWS - layer.up, high = std::min(ROWS, picture_->height * layer.scale - top);
    int above = std::max(0, -top);
    int left = first * 4, right = std::min(last * 4, width);
    if (layer.spec.kind == HEAD) return compute_head(layer, top, high, left, right, scratch);
    if (layer.spec.kind == TAIL) return compute_tail(layer, top, high, left, right, pixels);
    Convolution job{};
    for (int i = 0; i < 2; ++i) job.in[i] = source(layer, i, top);
    job.width = width;
    job.shift = layer.left;
    job.above = above;
    job.high = high;
    job.weights = layer.weights;
    job.scales = layer.scales;
    job.bias = layer.bias;
    job.outputs = layer.spec.outputs;
    job.relu_from = layer.spec.relu_from;
    job.step = layer.spec.step;
    job.plus = beside(layer.spec.plus, top, above, high);
    job.after = beside(layer.spec.after, top, above, high);
    job.sum_with = beside(layer.spec.sum_with, top, above, high);
    job.sum = beside(layer.spec.sum, top, above, high);
    const Map& out = maps_[layer.spec.out];
    for (int i = above * job.step; i < high * job.step; ++i) job.out[i] = out.row(top * job.step + i);
    job.out_pixel = out.channels;
    if (layer.spec.kind == WINOGRAD) {
      job.first = first;
      job.count = last - first;
      (layer.scales ? kernels_->winograd_int16 : kernels_->winograd)(job, scratch);
    } else {
      job.first = left;
      job.count = right - left;
      (layer.scales ? kernels_->pointwise_int16 : kernels_->pointwise)(job, scratch);
    }
  }

  Source source(const Layer& layer, int i, int top) const {
    Source source{};
    source.channels = layer.spec.inputs[i];
    if (!source.channels) return source;
    const Map& map = maps_[layer.spec.in[i]];
    // A row outside of the picture is one of nothing but zeros, all at one place.
    source.pixel = map.channels;
    for (int k = 0; k < 6; ++k) {
      int y = top + k - layer.reach;
      source.rows[k] = y >= 0 && y < map.height ? map.row(y) + layer.spec.offset[i] : nullptr;
    }
    return source;
  }

  Beside beside(int number, int top, int above, int high) const {
    Beside beside{};
    if (number == NONE) return beside;
    const Map& map = maps_[number];
    beside.pixel = map.channels;
    for (int i = above; i < high; ++i) beside.rows[i] = map.row(top + i);
    return beside;
  }

  // The picture's rows and columns, less its mean; outside zeros, as the convolution wants them.
  void compute_head(const Layer& layer, int top, int high, int left, int right, float* scratch) const {
    int count = right - left;
    const size_t apart = size_t(count + 2) * 3;
    std::vector<float> rows(apart * 3);
    const Map& out = maps_[layer.spec.out];
    for (int y = top; y < top + high; ++y) {
      for (int k = 0; k < 3; ++k) read_row(y + k - 1, strip_->x0 + left - 1, count + 2, rows.data() + k * apart);
      Ends job{{rows.data(), rows.data() + apart, rows.data() + 2 * apart}, out.channels, out.width, left, count,
               layer.spec.outputs, layer.weights, layer.spec.relu_from == 0, out.row(y)};
      kernels_->head(job, scratch);
    }
  }

  void read_row(int y, int x, int count, float* to) const {
    const Picture& p = *picture_;
    for (int i = 0; i < count; ++i, ++x, to += 3) {
      if (y < 0 || y >= p.height || x < 0 || x >= p.width) {
        to[0] = to[1] = to[2] = 0;
        continue;
      }
      for (int c = 0; c < 3; ++c) {
        float value = p.uint8 ? widened_[static_cast<const uint8_t*>(p.in)[(int64_t(y) * p.width + x) * 3 + c]]
                              : static_cast<const float*>(p.in)[(int64_t(c) * p.height + y) * p.width + x];
        to[c] = value - mean_[c];
      }
    }
  }

  void compute_tail(const Layer& layer, int top, int high, int left, int right, float* pixels) const {
    left = std::max(left, (strip_->keep0 - strip_->x0) * scale_);
    right = std::min(right, (strip_->keep1 - strip_->x0) * scale_);
    if (left >= right) return;
    const Map& map = maps_[layer.spec.in[0]];
    for (int y = top; y < top + high; ++y) {
      Ends job{{}, map.channels, map.width, left, right - left, layer.spec.inputs[0], layer.weights, false, pixels};
      for (int k = 0; k < 3; ++k) {
        int from = y + k - 1;
        job.rows[k] = from >= 0 && from < map.height ? map.row(from) : nullptr;
      }
      kernels_->tail(job);
      write_row(y, strip_->x0 * scale_ + left, right - left, pixels);
    }
  }

  void write_row(int y, int x, int count, const float* from) const {
    const Picture& p = *picture_;
    const int64_t width = int64_t(p.width) * scale_, height = int64_t(p.height) * scale_;
    for (int i = 0; i < count; ++i, ++x)
      for (int c = 0; c < 3; ++c) {
        float value = from[i * 3 + c] + mean_[c];
        if (p.uint8)
          static_cast<uint8_t*>(p.out)[(y * width + x) * 3 + c] = level(value);
        else
          static_cast<float*>(p.out)[(c * height + y) * width + x] = value;
      }
  }

  // Clamped to 0..1, times 255, rounded half to even: so the processor rounds where a float has no bits for fractions.
  static uint8_t level(float value) {
    float levels = std::min(std::max(value, 0.f), 1.f) * 255.f + 12582912.f;
    uint32_t bits;
    std::memcpy(&bits, &levels, sizeof bits);
    return uint8_t(bits);
  }

  const Kernels* kernels_;
  int scale_, halo_, most_inputs_ = 0, down_ = 0;
  float mean_[3], widened_[256];
  std::vector<Map> maps_;
  std::vector<Layer> layers_;
  Floats weights_, rings_;
  int64_t ring_floats_ = 0;
  std::mutex busy_;
  // of a run:
  const Picture* picture_ = nullptr;
  const Strip* strip_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  int running_ = 0, failure_ = 0;
};

}  // namespace
}  // namespace superfine

using namespace superfine;

EXPORTED int native_panel(int int16) { return kernels(int16 != 0)->panel; }

// Null: out of memory.
EXPORTED void* native_network(const MapSpec* maps, int map_count, const LayerSpec* layers, int layer_count,
                              const float* mean, int scale, int halo, int int16) {
  try {
    return new Network(maps, map_count, layers, layer_count, mean, scale, halo, kernels(int16 != 0));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

EXPORTED int64_t native_column_bytes(void* network) { return static_cast<Network*>(network)->column_bytes(); }

// in: HWC uint8 or CHW float; out: the same, `scale` times as large. down, across: where the first pixel lies between
// two lines of the grid, 0..3. 0: done; 1: out of memory; 2: stuck.
EXPORTED int native_run(void* network, const void* in, void* out, int uint8, int height, int width, int down,
                        int across, int threads, int64_t budget) {
  try {
    return static_cast<Network*>(network)->run({in, out, uint8 != 0, height, width, down, across}, threads, budget);
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

EXPORTED void native_release(void* network) { static_cast<Network*>(network)->release(); }

EXPORTED void native_free(void* network) { delete static_cast<Network*>(network); }
