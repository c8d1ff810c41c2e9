// Convolution at a list of positions, without a gather: for each kernel tap a pointer to the channels it reads,
// in this frame's map, in the reference along the motion vector, or in a row of zeros. Sums stay in registers;
// bias, activation, residual and the write in place follow before they leave.
#include <type_traits>
#include <vector>

#include "program.h"

using namespace fluxshard;

namespace {

constexpr int kChunk = 192;  // positions whose pointers are kept at once; a multiple of every row count below
constexpr int kSpan = kChunk + 4;  // from one tap's pointers to the next: `ramp` writes up to three too many

#if defined(__AVX512F__)
constexpr int kRows[5] = {0, 12, 12, 8, 6};  // 32 registers: rows × vectors sums, the factors and one value
constexpr int kPairRows = 12;
#else
constexpr int kRows[5] = {0, 8, 6, 4, 3};
constexpr int kPairRows = 8;
#endif
constexpr int64_t kMostRows = 12;

struct Shape {
  int64_t in_channels, out_channels;  // of one group
  int64_t kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int64_t groups;
  int64_t skips;  // whether taps that read nothing but padding are left out: their products are all 0
};

struct Target {
  float* out;
  int64_t pixel;
  const float* residual;
  int64_t residual_pixel;
};

template <int rows>
inline bool all_are(const float* const* pointers, const float* one) {
  if (pointers[0] != one) return false;
  bool all = true;
  for (int r = 1; r < rows; ++r) all &= pointers[r] == one;
  return all;
}

// sums[r][v] = bias[v] + Σ_taps Σ_i pointers[tap][r][i] · weight[tap][i][v]. The order of the sum does not depend on
// which positions are computed together, so a position's value is the same bits in any active set. Taps of all whose
// rows point to `padding` are left out, if `skipping`.
template <int rows, int vectors, bool skipping>
__attribute__((noinline)) void multiply(const float* const* pointers, int64_t taps, int64_t channels,
                                        const float* weight, const float* bias, Vector* sums,
                                        const float* padding = nullptr) {
  Vector sum[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = load(bias + v * kLanes);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const float* from[rows];
    for (int r = 0; r < rows; ++r) from[r] = pointers[tap * kSpan + r];
    if (skipping && all_are<rows>(from, padding)) {
      weight += channels * vectors * kLanes;
      continue;
    }
    auto add = [&](int64_t i, auto several) __attribute__((always_inline)) {
      constexpr int count = decltype(several)::value;
      Vector factor[count][vectors];
      for (int c = 0; c < count; ++c)
        for (int v = 0; v < vectors; ++v) factor[c][v] = load(weight + ((i + c) * vectors + v) * kLanes);
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < count; ++c) {
          Vector value = splat(from[r][i + c]);
          for (int v = 0; v < vectors; ++v) sum[r][v] += value * factor[c][v];
        }
    };
    constexpr int many = vectors == 1 ? 4 : 1;
    int64_t i = 0;
    for (; i + 4 <= channels; i += 4)
      for (int c = 0; c < 4; c += many) add(i + c, std::integral_constant<int, many>{});
    for (; i < channels; ++i) add(i, std::integral_constant<int, 1>{});
    weight += channels * vectors * kLanes;
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sums[r * vectors + v] = sum[r][v];
}

// At most half a vector of outputs: lanes 2j and 2j + 1 hold the sums of output j over the even and over the odd
// input channels, so that one multiplication takes two channels.
template <int rows, bool skipping>
__attribute__((noinline)) void multiply_pairs(const float* const* pointers, int64_t taps, int64_t channels,
                                              const float* weight, const float* bias, Vector* sums,
                                              const float* padding = nullptr) {
  Vector sum[rows];
  for (int r = 0; r < rows; ++r) sum[r] = load(bias);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const float* from[rows];
    for (int r = 0; r < rows; ++r) from[r] = pointers[tap * kSpan + r];
    if (skipping && all_are<rows>(from, padding)) {
      weight += channels * (kLanes / 2);
      continue;
    }
    auto add = [&](int64_t i) __attribute__((always_inline)) {
      Vector factor = load(weight + i * (kLanes / 2));
      for (int r = 0; r < rows; ++r) sum[r] += splat_pair(from[r] + i) * factor;
    };
    int64_t i = 0;
    for (; i + 8 <= channels; i += 8) add(i), add(i + 2), add(i + 4), add(i + 6);
    for (; i < channels; i += 2) add(i);
    weight += channels * (kLanes / 2);
  }
  for (int r = 0; r < rows; ++r) sums[r] = sum[r];
}

// Activation, residual and the write of `valid` rows.
template <int vectors, int activation>
void finish(const Vector* sums, float slope, const Target& target, const int64_t* index, int valid, int64_t column,
            int64_t columns) {
  if (columns == vectors * kLanes && target.residual == nullptr) {  // without a question per vector
    for (int r = 0; r < valid; ++r)
      for (int v = 0; v < vectors; ++v)
        store(target.out + index[r] * target.pixel + column + v * kLanes,
              activate<activation>(sums[r * vectors + v], slope));
    return;
  }
  for (int r = 0; r < valid; ++r) {
    float* to = target.out + index[r] * target.pixel + column;
    const float* add = target.residual ? target.residual + index[r] * target.residual_pixel + column : nullptr;
    for (int v = 0; v < vectors; ++v) {
      int64_t left = columns - v * kLanes;
      if (left <= 0) break;
      int count = left < kLanes ? static_cast<int>(left) : kLanes;
      Vector value = activate<activation>(sums[r * vectors + v], slope);
      if (add) value += load_some(add + v * kLanes, count);
      store_some(to + v * kLanes, value, count);
    }
  }
}

// Two rows of pairs make one vector of outputs.
template <int activation>
void finish_pairs(const Vector* sums, float slope, const Target& target, const int64_t* index, int valid,
                  int64_t column, int64_t columns) {
  for (int r = 0; r < valid; r += 2) {
    float values[kLanes];
    store(values, activate<activation>(even_lanes(sums[r], sums[r + 1]) + odd_lanes(sums[r], sums[r + 1]), slope));
    for (int half = 0; half < 2 && r + half < valid; ++half) {
      float* from = values + half * (kLanes / 2);
      float* to = target.out + index[r + half] * target.pixel + column;
      if (target.residual != nullptr) {
        const float* add = target.residual + index[r + half] * target.residual_pixel + column;
        for (int64_t i = 0; i < columns; ++i) from[i] += add[i];
      }
      if (columns == kLanes / 2) {
        std::memcpy(to, from, sizeof(float) * (kLanes / 2));
      } else {
        for (int64_t i = 0; i < columns; ++i) to[i] = from[i];
      }
    }
  }
}

template <int vectors, int activation>
void sweep(const float* const* pointers, int64_t taps, int64_t channels, const float* weight,
           const float* bias, const float* padding, float slope, const Target& target, const int64_t* index,
           int64_t count, int64_t column, int64_t columns) {
  constexpr int rows = kRows[vectors];
  Vector sums[rows * vectors];
  for (int64_t r = 0; r < count; r += rows) {
    int valid = count - r < rows ? static_cast<int>(count - r) : rows;
    if (padding)
      multiply<rows, vectors, true>(pointers + r, taps, channels, weight, bias, sums, padding);
    else
      multiply<rows, vectors, false>(pointers + r, taps, channels, weight, bias, sums);
    finish<vectors, activation>(sums, slope, target, index + r, valid, column, columns);
  }
}

template <int activation>
void sweep_pairs(const float* const* pointers, int64_t taps, int64_t channels, const float* weight,
                 const float* bias, const float* padding, float slope, const Target& target, const int64_t* index,
                 int64_t count, int64_t column, int64_t columns) {
  Vector sums[kPairRows];
  for (int64_t r = 0; r < count; r += kPairRows) {
    int valid = count - r < kPairRows ? static_cast<int>(count - r) : kPairRows;
    if (padding)
      multiply_pairs<kPairRows, true>(pointers + r, taps, channels, weight, bias, sums, padding);
    else
      multiply_pairs<kPairRows, false>(pointers + r, taps, channels, weight, bias, sums);
    finish_pairs<activation>(sums, slope, target, index + r, valid, column, columns);
  }
}

// How many vectors of outputs the next panel takes: as in panel_vectors of the Python side.
inline int panel(int64_t left) { return left >= 4 ? (left == 5 ? 3 : 4) : static_cast<int>(left); }

typedef int64_t Four __attribute__((vector_size(4 * sizeof(int64_t)), aligned(8)));

// to[i] = start + i · step for the first `count` and up to three more: runs are short, and four at once are as
// cheap as one.
inline void ramp(int64_t* to, int64_t start, int64_t step, int64_t count) {
  Four some = Four{0, step, 2 * step, 3 * step} + start;
  for (int64_t i = 0; i < count; i += 4, some += 4 * step) std::memcpy(to + i, &some, sizeof some);
}

inline void ramp(const float** to, const float* start, int64_t step, int64_t count) {
  static_assert(sizeof(float*) == sizeof(int64_t), "a 64-bit machine");
  ramp(reinterpret_cast<int64_t*>(to), reinterpret_cast<int64_t>(start), step * int64_t{sizeof(float)}, count);
}

// Whether weights are packed for `multiply_pairs`: as `in_pairs` of the Python side.
inline bool paired(const Shape& shape) {
  return shape.out_channels * 2 <= kLanes && shape.in_channels % 2 == 0;
}

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
    // Few input channels: a row of taps is read as one long tap, so that the inner loop is long.
    const bool lines = !depthwise && shape->groups == 1 && shape->in_channels < 8;
    const int64_t taps = lines ? shape->kernel_y : shape->kernel_y * shape->kernel_x;
    const int64_t line = shape->kernel_x * shape->in_channels;
    std::vector<const float*> pointers(static_cast<size_t>(taps * kSpan), zeros);
    std::vector<float> unrolled(lines ? static_cast<size_t>(taps * line * kChunk) : 0);
    std::vector<int64_t> steps;  // from the window's first position to each tap, in floats
    for (int64_t ky = 0; ky < shape->kernel_y; ++ky)
      for (int64_t kx = 0; kx < shape->kernel_x; ++kx)
        steps.push_back((ky * shape->dilation_y * source->width + kx * shape->dilation_x) * source->pixel);
    std::vector<const float*> row(
        static_cast<size_t>(kSpan * shape->stride_x + shape->kernel_x * shape->dilation_x), zeros);
    int64_t index[kSpan];
    const int64_t outputs = shape->out_channels * shape->groups;
    int64_t count = 0;
    auto flush = [&]() {
      if (count == 0) return;
      // The last rows of the last sweep are computed from zeros and written nowhere.
      const int64_t end = count + kMostRows < kChunk ? count + kMostRows : kChunk;
      if (lines) {
        for (int64_t tap = 0; tap < taps; ++tap)
          for (int64_t r = count; r < end; ++r) pointers[tap * kSpan + r] = unrolled.data();
        group<activation>(pointers.data(), taps, line, 0, index, count);
        count = 0;
        return;
      }
      for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t r = count; r < end; ++r) pointers[tap * kSpan + r] = zeros;
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
    each_run(tiles, tile_count, tile_height, tile_width, out_height, out_width,
             [&](int64_t y, int64_t x, int64_t length) {
               while (length > 0) {
                 const int64_t some = length < kChunk - count ? length : kChunk - count;
                 ramp(index + count, y * out_row + x, 1, some);
                 if (lines)
                   point_lines(y, x, some, unrolled.data() + count * taps * line, pointers.data() + count);
                 else
                   point(y, x, some, steps.data(), row.data(), pointers.data() + count);
                 for (int64_t r = count; r < count + some; ++r) {
                   for (int64_t i = 0; i < outputs; i += 16)
                     __builtin_prefetch(target.out + index[r] * target.pixel + i, 1, 3);
                   if (lines)
                     for (int64_t tap = 0; tap < taps; ++tap) __builtin_prefetch(pointers[tap * kSpan + r], 0, 2);
                 }
                 count += some;
                 x += some;
                 length -= some;
                 if (count == kChunk) flush();
               }
             });
    flush();
  }

  // Of the run of positions from (y, x), those whose windows lie inside the map: [first, end).
  void interior(int64_t y, int64_t x, int64_t length, int64_t* first, int64_t* end) const {
    const int64_t top = y * shape->stride_y - shape->padding_y;
    const int64_t reach = (shape->kernel_x - 1) * shape->dilation_x - shape->padding_x;
    *first = x, *end = x + length;
    if (top < 0 || top + (shape->kernel_y - 1) * shape->dilation_y >= source->height) *end = x;
    while (*first < *end && *first * shape->stride_x < shape->padding_x) ++*first;
    while (*first < *end && (*end - 1) * shape->stride_x + reach >= source->width) --*end;
  }

  // The pointers of the taps of `length` positions from (y, x): those of one tap side by side, taps kSpan apart.
  // `steps`: floats from a window's first tap to each; `line`: room for the positions that a row of taps reads.
  void point(int64_t y, int64_t x, int64_t length, const int64_t* steps, const float** line,
             const float** to) const {
    int64_t first, end;
    interior(y, x, length, &first, &end);
    const int64_t top = y * shape->stride_y - shape->padding_y, left = first * shape->stride_x - shape->padding_x;
    const int64_t taps = shape->kernel_y * shape->kernel_x, step = shape->stride_x * source->pixel;
    const float* here = source->map + (top * source->width + left) * source->pixel;
    const float** tap = to + (first - x);
    if (source->whole()) {
      for (int64_t i = 0; i < taps; ++i, tap += kSpan) ramp(tap, here + steps[i], step, end - first);
    } else if (first < end) {
      // Each position that a row of taps reads is looked up once, and then pointed to by all of them.
      const int64_t reach = (end - 1 - first) * shape->stride_x + (shape->kernel_x - 1) * shape->dilation_x + 1;
      for (int64_t ky = 0; ky < shape->kernel_y; ++ky) {
        look_up(top + ky * shape->dilation_y, left, reach, line);
        for (int64_t kx = 0; kx < shape->kernel_x; ++kx, tap += kSpan) {
          const float* const* from = line + kx * shape->dilation_x;
          if (shape->stride_x == 1)
            for (int64_t i = 0; i < end - first; i += 4) std::memcpy(tap + i, from + i, 4 * sizeof *tap);
          else
            for (int64_t i = 0; i < end - first; ++i) tap[i] = from[i * shape->stride_x];
        }
      }
    }
    for (int64_t at = x; at < x + length; ++at) {
      if (at >= first && at < end) continue;
      tap = to + (at - x);
      for (int64_t ky = 0; ky < shape->kernel_y; ++ky)
        for (int64_t kx = 0; kx < shape->kernel_x; ++kx, tap += kSpan) *tap = tap_at(y, at, ky, kx);
    }
  }

  // The channels of `count` positions from (row, column), in this frame's map or in the reference.
  void look_up(int64_t row, int64_t column, int64_t count, const float** to) const {
    const int64_t first = row * source->width + column, channels = shape->in_channels * shape->groups;
    const float* here = source->map + first * source->pixel;
    for (int64_t i = 0; i < count; ++i, here += source->pixel) {
      to[i] = here;
      if (source->here(first + i)) continue;
      to[i] = source->at(row, column + i);
      // Scattered tiles defeat the hardware's prefetcher; what a chunk reads is known before it starts.
      for (int64_t c = 0; c < channels; c += 16) __builtin_prefetch(to[i] + c, 0, 2);
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
    // Worth asking for where windows are wide for the map, as dilated ones can be.
    const bool wide = 4 * (shape->kernel_y - 1) * shape->dilation_y >= source->height ||
                      4 * (shape->kernel_x - 1) * shape->dilation_x >= source->width;
    const float* padding = shape->skips && wide ? zeros : nullptr;
    if (paired(*shape)) {
      sweep_pairs<activation>(pointers, taps, channels, weight + g * taps * channels * (kLanes / 2), bias + g * kLanes,
                              padding, slope, target, index, count, g * shape->out_channels, shape->out_channels);
      return;
    }
    int64_t vectors = (shape->out_channels + kLanes - 1) / kLanes;
    const float* factors = weight + g * vectors * kLanes * taps * channels;
    const float* offsets = bias + g * vectors * kLanes;
    for (int64_t done = 0; done < vectors;) {
      int wide = panel(vectors - done);
      int64_t column = g * shape->out_channels + done * kLanes;
      int64_t columns = shape->out_channels - done * kLanes;
      if (columns > wide * kLanes) columns = wide * kLanes;
#define FLUXSHARD_SWEEP(n) \
  sweep<n, activation>(pointers, taps, channels, factors, offsets, padding, slope, target, index, count, column, columns)
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
      int64_t c = 0;
      for (; c + kLanes <= channels && add == nullptr; c += kLanes) {  // without a question per tap
        Vector sum = load(bias + c);
        for (int64_t tap = 0; tap < taps; ++tap)
          sum += load(pointers[tap * kSpan + r] + c) * load(weight + tap * padded + c);
        store(to + c, activate<activation>(sum, slope));
      }
      for (; c < channels; c += kLanes) {
        int some = channels - c < kLanes ? static_cast<int>(channels - c) : kLanes;
        Vector sum = load(bias + c);
        for (int64_t tap = 0; tap < taps; ++tap)
          sum += load_some(pointers[tap * kSpan + r] + c, some) * load(weight + tap * padded + c);
        Vector value = activate<activation>(sum, slope);
        if (add) value += load_some(add + c, some);
        store_some(to + c, value, some);
      }
    }
  }

  // As `point` for rows of taps: in place where they lie side by side in this frame's map, else copied to `room`.
  void point_lines(int64_t y, int64_t x, int64_t length, float* room, const float** to) const {
    const int64_t channels = shape->in_channels;
    int64_t first = x, end = x;
    if (source->whole() && source->pixel == channels && shape->dilation_x == 1)
      interior(y, x, length, &first, &end);
    const int64_t top = y * shape->stride_y - shape->padding_y;
    for (int64_t ky = 0; ky < shape->kernel_y; ++ky, to += kSpan) {
      auto copied = [&](int64_t at) {
        to[at - x] = room;
        for (int64_t kx = 0; kx < shape->kernel_x; ++kx, room += channels) {
          const float* from = tap_at(y, at, ky, kx);
          for (int64_t i = 0; i < channels; ++i) room[i] = from[i];
        }
      };
      const int64_t start = (top + ky * shape->dilation_y) * source->width + first * shape->stride_x;
      ramp(to + (first - x), source->map + (start - shape->padding_x) * channels, shape->stride_x * channels,
           end - first);
      for (int64_t at = x; at < first; ++at) copied(at);
      for (int64_t at = end; at < x + length; ++at) copied(at);
    }
  }
};

}  // namespace

extern "C" int fluxshard_lanes() { return kLanes; }

// geometry: in_channels and out_channels of one group, kernel y x, stride y x, padding y x, dilation y x, groups, and
// whether products with padding may be left out.
// zeros: at least in_channels · groups floats of 0. fresh may be null (no halo), and so may residual.
// out_row: positions from one row of the output to the next, out_width unless the rows lie apart.
void fluxshard::convolve(const Source& source, const int32_t* tiles, int64_t tile_count, int64_t tile_height,
                         int64_t tile_width, float* out, int64_t out_height, int64_t out_width, int64_t out_pixel,
                         int64_t out_row, const float* residual, int64_t residual_pixel, const int64_t* geometry,
                         const float* weight, const float* bias, const float* zeros, int activation, float slope) {
  Shape shape{geometry[0], geometry[1], geometry[2], geometry[3], geometry[4], geometry[5],
              geometry[6], geometry[7], geometry[8], geometry[9], geometry[10], geometry[11]};
  Job job{&source,   &shape,    tiles,   tile_count, tile_height, tile_width, out_height,
          out_width, out_row,   weight,  bias,       zeros,       slope,      {out, out_pixel, residual, residual_pixel}};
  with_activation(activation, job);
}

extern "C" void fluxshard_convolve(const float* map, int64_t height, int64_t width, int64_t pixel,
                                   const float* reference, int64_t reference_pixel, const uint8_t* fresh,
                                   const int16_t* displacement, const int32_t* tiles, int64_t tile_count,
                                   int64_t tile_height, int64_t tile_width, float* out, int64_t out_height,
                                   int64_t out_width, int64_t out_pixel, int64_t out_row, const float* residual,
                                   int64_t residual_pixel, const int64_t* geometry, const float* weight,
                                   const float* bias, const float* zeros, int activation, float slope) {
  convolve({map, height, width, pixel, reference, reference_pixel, fresh, displacement}, tiles, tile_count, tile_height,
           tile_width, out, out_height, out_width, out_pixel, out_row, residual, residual_pixel, geometry, weight, bias,
           zeros, activation, slope);
}
