// Convolution at a list of positions, without a gather: for each kernel tap a pointer to the channels it reads,
// in this frame's map, in the reference along the motion vector, or in a row of zeros. Sums stay in registers;
// bias, activation, residual and the write in place follow before they leave.
#include <vector>

#include "vectors.h"

using namespace fluxshard;

namespace {

constexpr int kChunk = 192;  // positions whose pointers are kept at once; a multiple of every row count below

struct Shape {
  int64_t in_channels, out_channels;  // of one group
  int64_t kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int64_t groups;
};

struct Target {
  float* out;
  int64_t pixel;
  const float* residual;
  int64_t residual_pixel;
};

// acc[r][v] = Σ_taps Σ_i pointers[tap][r][i] · weight[tap][i][v]. The order of the sum does not depend on which
// positions are computed together, so a position's value is the same bits in any active set.
template <int rows, int vectors, int activation>
void accumulate(const float* const* pointers, int64_t taps, int64_t channels, const float* weight,
                const float* bias, float slope, const Target& target, const int64_t* index, int valid,
                int64_t column, int64_t columns) {
  Vector sum[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = load(bias + v * kLanes);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const float* from[rows];
    for (int r = 0; r < rows; ++r) from[r] = pointers[tap * kChunk + r];
    for (int64_t i = 0; i < channels; ++i) {
      Vector factor[vectors];
      for (int v = 0; v < vectors; ++v) factor[v] = load(weight + v * kLanes);
      weight += vectors * kLanes;
      for (int r = 0; r < rows; ++r) {
        Vector value = splat(from[r][i]);
        for (int v = 0; v < vectors; ++v) sum[r][v] += value * factor[v];
      }
    }
  }
  for (int r = 0; r < valid; ++r) {
    float* to = target.out + index[r] * target.pixel + column;
    const float* add = target.residual ? target.residual + index[r] * target.residual_pixel + column : nullptr;
    for (int v = 0; v < vectors; ++v) {
      int64_t left = columns - v * kLanes;
      if (left <= 0) break;
      int count = left < kLanes ? static_cast<int>(left) : kLanes;
      Vector value = activate<activation>(sum[r][v], slope);
      if (add) value += load_some(add + v * kLanes, count);
      store_some(to + v * kLanes, value, count);
    }
  }
}

#if defined(__AVX512F__)
constexpr int kRows[5] = {0, 12, 12, 8, 6};  // 32 registers: rows × vectors sums, the factors and one value
#else
constexpr int kRows[5] = {0, 8, 6, 4, 3};
#endif
constexpr int64_t kMostRows = 12;

template <int vectors, int activation>
void sweep(const float* const* pointers, int64_t taps, int64_t channels, const float* weight,
           const float* bias, float slope, const Target& target, const int64_t* index, int64_t count,
           int64_t column, int64_t columns) {
  constexpr int rows = kRows[vectors];
  for (int64_t r = 0; r < count; r += rows) {
    int valid = count - r < rows ? static_cast<int>(count - r) : rows;
    accumulate<rows, vectors, activation>(pointers + r, taps, channels, weight, bias, slope, target, index + r,
                                          valid, column, columns);
  }
}

// How many vectors of outputs the next panel takes: as in panel_vectors of the Python side.
inline int panel(int64_t left) { return left >= 4 ? (left == 5 ? 3 : 4) : static_cast<int>(left); }

struct Job {
  const Source* source;
  const Shape* shape;
  const int32_t* tiles;
  int64_t tile_count, tile_height, tile_width;
  int64_t out_height, out_width, out_row;
  const float *weight, *bias, *zeros;
  float slope;
  Target target;

  template <int activation>
  void run() const {
    const bool depthwise = shape->in_channels == 1 && shape->out_channels == 1 && shape->groups > 1;
    const bool columns = !depthwise && shape->groups == 1 && shape->in_channels < 8;
    const int64_t taps = shape->kernel_y * shape->kernel_x;
    const int64_t line = taps * shape->in_channels;
    std::vector<const float*> pointers(static_cast<size_t>((columns ? 1 : taps) * kChunk), zeros);
    std::vector<float> unrolled(columns ? static_cast<size_t>(line * kChunk) : 0);
    std::vector<int64_t> steps;  // from the window's first position to each tap, in positions
    for (int64_t ky = 0; ky < shape->kernel_y; ++ky)
      for (int64_t kx = 0; kx < shape->kernel_x; ++kx)
        steps.push_back(ky * shape->dilation_y * source->width + kx * shape->dilation_x);
    int64_t index[kChunk];
    const int64_t channels = shape->in_channels * shape->groups;
    // Scattered tiles defeat the hardware's prefetcher; what a chunk reads is known before it starts.
    const bool ahead = source->fresh != nullptr;
    int64_t count = 0;
    auto flush = [&]() {
      if (count == 0) return;
      // The last rows of the last sweep are computed from zeros and written nowhere.
      const int64_t end = count + kMostRows < kChunk ? count + kMostRows : kChunk;
      if (columns) {
        for (int64_t r = 0; r < end; ++r) pointers[r] = unrolled.data() + (r < count ? r : 0) * line;
        group<activation>(pointers.data(), 1, line, 0, index, count);
        count = 0;
        return;
      }
      for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t r = count; r < end; ++r) pointers[tap * kChunk + r] = zeros;
      if (depthwise) {
        deep<activation>(pointers.data(), taps, index, count);
      } else {
        for (int64_t g = 0; g < shape->groups; ++g) {
          if (g > 0)
            for (const float*& pointer : pointers) pointer += pointer == zeros ? 0 : shape->in_channels;
          group<activation>(pointers.data(), taps, shape->in_channels, g, index, count);
        }
        // Advanced pointers of rows that the next chunk may not fill must not advance further.
        if (shape->groups > 1)
          for (const float*& pointer : pointers) pointer = zeros;
      }
      count = 0;
    };
    each_position(tiles, tile_count, tile_height, tile_width, out_height, out_width, [&](int64_t y, int64_t x) {
      index[count] = y * out_row + x;
      if (columns) {
        unroll(y, x, unrolled.data() + count * line);
      } else {
        point(y, x, steps.data(), taps, pointers.data() + count);
        if (ahead)
          for (int64_t tap = 0; tap < taps; ++tap)
            for (int64_t i = 0; i < channels; i += 16)
              __builtin_prefetch(pointers[tap * kChunk + count] + i, 0, 2);
      }
      if (++count == kChunk) flush();
    });
    flush();
  }

  // The pointers of one position's taps, kChunk apart.
  void point(int64_t y, int64_t x, const int64_t* steps, int64_t taps, const float** to) const {
    const int64_t top = y * shape->stride_y - shape->padding_y, left = x * shape->stride_x - shape->padding_x;
    const bool inside = top >= 0 && left >= 0 &&
                        top + (shape->kernel_y - 1) * shape->dilation_y < source->height &&
                        left + (shape->kernel_x - 1) * shape->dilation_x < source->width;
    if (!inside) {
      for (int64_t ky = 0; ky < shape->kernel_y; ++ky)
        for (int64_t kx = 0; kx < shape->kernel_x; ++kx, to += kChunk) *to = tap_at(y, x, ky, kx);
      return;
    }
    const int64_t first = top * source->width + left;
    const float* base = source->map + first * source->pixel;
    if (source->fresh == nullptr) {
      for (int64_t tap = 0; tap < taps; ++tap) to[tap * kChunk] = base + steps[tap] * source->pixel;
      return;
    }
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t here = first + steps[tap];
      to[tap * kChunk] = source->fresh[here] ? source->map + here * source->pixel
                                             : source->at(here / source->width, here % source->width);
    }
  }

  const float* tap_at(int64_t y, int64_t x, int64_t ky, int64_t kx) const {
    int64_t row = y * shape->stride_y - shape->padding_y + ky * shape->dilation_y;
    int64_t column = x * shape->stride_x - shape->padding_x + kx * shape->dilation_x;
    return source->inside(row, column) ? source->at(row, column) : zeros;
  }

  template <int activation>
  void group(const float* const* pointers, int64_t taps, int64_t channels, int64_t g, const int64_t* index,
             int64_t count) const {
    int64_t vectors = (shape->out_channels + kLanes - 1) / kLanes;
    const float* factors = weight + g * vectors * kLanes * taps * channels;
    const float* offsets = bias + g * vectors * kLanes;
    for (int64_t done = 0; done < vectors;) {
      int wide = panel(vectors - done);
      int64_t column = g * shape->out_channels + done * kLanes;
      int64_t columns = shape->out_channels - done * kLanes;
      if (columns > wide * kLanes) columns = wide * kLanes;
#define FLUXSHARD_SWEEP(n) \
  sweep<n, activation>(pointers, taps, channels, factors, offsets, slope, target, index, count, column, columns)
      if (wide == 4) FLUXSHARD_SWEEP(4);
      else if (wide == 3) FLUXSHARD_SWEEP(3);
      else if (wide == 2) FLUXSHARD_SWEEP(2);
      else FLUXSHARD_SWEEP(1);
#undef FLUXSHARD_SWEEP
      factors += wide * kLanes * taps * channels;
      offsets += wide * kLanes;
      done += wide;
    }
  }

  // Depthwise: weight[tap][channel], one vector of channels at a time.
  template <int activation>
  void deep(const float* const* pointers, int64_t taps, const int64_t* index, int64_t count) const {
    int64_t channels = shape->groups;
    int64_t padded = (channels + kLanes - 1) / kLanes * kLanes;
    for (int64_t r = 0; r < count; ++r) {
      float* to = target.out + index[r] * target.pixel;
      const float* add = target.residual ? target.residual + index[r] * target.residual_pixel : nullptr;
      for (int64_t c = 0; c < channels; c += kLanes) {
        int some = channels - c < kLanes ? static_cast<int>(channels - c) : kLanes;
        Vector sum = load(bias + c);
        for (int64_t tap = 0; tap < taps; ++tap)
          sum += load_some(pointers[tap * kChunk + r] + c, some) * load(weight + tap * padded + c);
        Vector value = activate<activation>(sum, slope);
        if (add) value += load_some(add + c, some);
        store_some(to + c, value, some);
      }
    }
  }

  // Few input channels: the taps of a position side by side, so that the inner loop is long.
  void unroll(int64_t y, int64_t x, float* to) const {
    const int64_t channels = shape->in_channels, row = shape->kernel_x * channels;
    const int64_t top = y * shape->stride_y - shape->padding_y, left = x * shape->stride_x - shape->padding_x;
    const bool inside = top >= 0 && left >= 0 && top + shape->kernel_y <= source->height &&
                        left + shape->kernel_x <= source->width;
    if (inside && source->fresh == nullptr && source->pixel == channels && shape->dilation_x == 1 &&
        shape->dilation_y == 1) {
      const float* from = source->map + (top * source->width + left) * channels;
      for (int64_t ky = 0; ky < shape->kernel_y; ++ky, to += row, from += source->width * channels)
        for (int64_t i = 0; i < row; ++i) to[i] = from[i];
      return;
    }
    for (int64_t ky = 0; ky < shape->kernel_y; ++ky)
      for (int64_t kx = 0; kx < shape->kernel_x; ++kx, to += channels) {
        const float* from = tap_at(y, x, ky, kx);
        for (int64_t i = 0; i < channels; ++i) to[i] = from[i];
      }
  }
};

}  // namespace

extern "C" int fluxshard_lanes() { return kLanes; }

// geometry: in_channels and out_channels of one group, kernel y x, stride y x, padding y x, dilation y x, groups.
// zeros: at least in_channels · groups floats of 0. fresh may be null (no halo), and so may residual.
// out_row: positions from one row of the output to the next, out_width unless the rows lie apart.
extern "C" void fluxshard_convolve(const float* map, int64_t height, int64_t width, int64_t pixel,
                                   const float* reference, int64_t reference_pixel, const uint8_t* fresh,
                                   const int16_t* displacement, const int32_t* tiles, int64_t tile_count,
                                   int64_t tile_height, int64_t tile_width, float* out, int64_t out_height,
                                   int64_t out_width, int64_t out_pixel, int64_t out_row, const float* residual,
                                   int64_t residual_pixel, const int64_t* geometry, const float* weight,
                                   const float* bias, const float* zeros, int activation, float slope) {
  Source source{map, height, width, pixel, reference, reference_pixel, fresh, displacement};
  Shape shape{geometry[0], geometry[1], geometry[2], geometry[3], geometry[4], geometry[5],
              geometry[6], geometry[7], geometry[8], geometry[9], geometry[10]};
  Job job{&source,   &shape,    tiles,   tile_count, tile_height, tile_width, out_height,
          out_width, out_row,   weight,  bias,       zeros,       slope,      {out, out_pixel, residual, residual_pixel}};
  with_activation(activation, job);
}
