// Motion search on a processor, as kernels/motion/search.py says it: the same candidates, the same ties, the same
// vectors to the last pixel. For places without numba. One thread, C++14, no library.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

constexpr int kCoarse = 4, kFine = 2;
constexpr int64_t kNever = int64_t(1) << 60;

struct Window {
  int64_t low_x, high_x, low_y, high_y;
};

struct Best {
  int64_t sad, x, y;
};

struct Place {
  int64_t x, y, at;  // of a block's corner, and where that is in memory
  Window inside;     // the vectors that do not lead out of the reference
  int64_t cx, cy;    // the one that its window is centred at
};

// Fixed widths, so that the compiler makes one instruction of a row (psadbw, uabal).
template <int Rows, int Width>
inline int64_t sad_fixed(const uint8_t* a, int64_t stride_a, const uint8_t* b, int64_t stride_b) {
  int total = 0;
  for (int row = 0; row < Rows; ++row, a += stride_a, b += stride_b)
    for (int i = 0; i < Width; ++i) total += std::abs(int(a[i]) - int(b[i]));
  return total;
}

// Sum over rows × width bytes (multiples of 8); gives up, with a partial sum, once above `limit`.
int64_t block_sad(const uint8_t* a, const uint8_t* b, int64_t stride, int rows, int width, int64_t limit) {
  if (rows == 16 && width == 16) return sad_fixed<16, 16>(a, stride, b, stride);
  int64_t total = 0;
  const int side = rows % 16 == 0 ? 16 : 8;
  for (int row = 0; row < rows; row += side) {
    for (int i = 0; i < width; i += side) {
      const int64_t at = row * stride + i;
      total += side == 16 ? sad_fixed<16, 16>(a + at, stride, b + at, stride)
                          : sad_fixed<8, 8>(a + at, stride, b + at, stride);
    }
    if (total > limit) return total;
  }
  return total;
}

int64_t coarse_sad(const uint8_t* a, const uint8_t* b, int64_t stride, int side) {
  if (side == 4) return sad_fixed<4, 4>(a, stride, b, stride);
  int64_t total = 0;
  for (int row = 0; row < side; ++row)
    for (int i = 0; i < side; ++i) total += std::abs(int(a[row * stride + i]) - int(b[row * stride + i]));
  return total;
}

// Whether a candidate comes before the best: smaller difference, shorter vector, smaller (dy, dx).
inline bool before(int64_t sad, int64_t dx, int64_t dy, const Best& best) {
  if (sad != best.sad) return sad < best.sad;
  const int64_t length = dx * dx + dy * dy, best_length = best.x * best.x + best.y * best.y;
  if (length != best_length) return length < best_length;
  return dy < best.y || (dy == best.y && dx < best.x);
}

struct Search {
  const uint8_t *grey, *ref_grey, *quarter, *ref_quarter;
  int64_t width, height;
  int block, radius;

  Place place(int row, int column, const int16_t* centres, int index) const {
    const int64_t x = std::min<int64_t>(column * block, width - block);
    const int64_t y = std::min<int64_t>(row * block, height - block);
    Place found = {x, y, y * width + x, {-x, width - block - x, -y, height - block - y}, 0, 0};
    if (centres != nullptr) {
      found.cx = std::min(std::max<int64_t>(centres[2 * index], found.inside.low_x), found.inside.high_x);
      found.cy = std::min(std::max<int64_t>(centres[2 * index + 1], found.inside.low_y), found.inside.high_y);
    }
    return found;
  }

  // The best of `best` and the places within `reach` of (x, y).
  Best refine(int64_t here, const Window& window, int64_t x, int64_t y, int reach, Best best) const {
    for (int64_t dy = std::max(y - reach, window.low_y); dy <= std::min(y + reach, window.high_y); ++dy)
      for (int64_t dx = std::max(x - reach, window.low_x); dx <= std::min(x + reach, window.high_x); ++dx) {
        const int64_t sad =
            block_sad(grey + here, ref_grey + here + dy * width + dx, width, block, block, best.sad);
        if (before(sad, dx, dy, best)) best = Best{sad, dx, dy};
      }
    return best;
  }

  // The best two places of the window at a quarter of the resolution, as keys: see `place`.
  std::pair<int64_t, int64_t> coarse_places(int64_t x, int64_t y, const Window& window) const {
    const int side = block / kCoarse, half = kCoarse / 2;
    const int64_t stride = width / kCoarse, rows = height / kCoarse, at = y * stride + x;
    // An arithmetic shift rounds down, as Python's // does: vectors are negative, too.
    const int64_t low_x = std::max((window.low_x + half) >> 2, -x), low_y = std::max((window.low_y + half) >> 2, -y);
    const int64_t high_x = std::min((window.high_x + half) >> 2, stride - side - x);
    const int64_t high_y = std::min((window.high_y + half) >> 2, rows - side - y);
    int64_t first = int64_t(1) << 62, second = first;
    for (int64_t j = low_y; j <= high_y; ++j)
      for (int64_t i = low_x; i <= high_x; ++i) {
        const int64_t sad = coarse_sad(quarter + at, ref_quarter + at + j * stride + i, stride, side);
        const int64_t key = sad * (int64_t(1) << 32) + ((j + 32768) << 16) + (i + 32768);
        second = std::min(second, std::max(first, key));
        first = std::min(first, key);
      }
    return {first, second};
  }
};

inline Window around(int64_t x, int64_t y, int radius, const Window& inside) {
  return {std::max(inside.low_x, x - radius), std::min(inside.high_x, x + radius),
          std::max(inside.low_y, y - radius), std::min(inside.high_y, y + radius)};
}

}  // namespace

extern "C" {

// Grey (R + 2G + B) / 4 of three channels, then means of 4 × 4; one channel is its own grey.
void fluxshard_levels(const uint8_t* pixels, int height, int width, int channels, uint8_t* grey, uint8_t* quarter) {
  const int64_t total = int64_t(height) * width;
  if (channels == 3) {
    for (int64_t i = 0; i < total; ++i)
      grey[i] = uint8_t((pixels[3 * i] + 2 * pixels[3 * i + 1] + pixels[3 * i + 2] + 2) >> 2);
  }
  const uint8_t* source = channels == 3 ? grey : pixels;
  const int rows = height / kCoarse, columns = width / kCoarse;
  std::vector<uint16_t> sums(size_t(kCoarse) * columns);
  for (int row = 0; row < rows; ++row) {
    const uint8_t* at = source + int64_t(kCoarse) * row * width;
    for (int i = 0; i < kCoarse * columns; ++i)
      sums[i] = uint16_t(at[i] + at[width + i] + at[2 * width + i] + at[3 * width + i]);
    for (int i = 0; i < columns; ++i)
      quarter[int64_t(row) * columns + i] =
          uint8_t((sums[4 * i] + sums[4 * i + 1] + sums[4 * i + 2] + sums[4 * i + 3] + 8) >> 4);
  }
}

// `centres`: (rows, columns, 2) vectors, or null for zero. Writes vectors (rows, columns, 2) and differences.
void fluxshard_search(const uint8_t* frame, const uint8_t* reference, const uint8_t* grey, const uint8_t* ref_grey,
                      const uint8_t* quarter, const uint8_t* ref_quarter, int height, int width, int channels,
                      int block, int radius, const int16_t* centres, int16_t* vectors, float* difference) {
  const Search search = {grey, ref_grey, quarter, ref_quarter, width, height, block, radius};
  const int rows = (height + block - 1) / block, columns = (width + block - 1) / block;
  std::vector<int64_t> sads(size_t(rows) * columns);
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
      const int index = row * columns + column;
      const auto [x0, y0, here, inside, cx, cy] = search.place(row, column, centres, index);
      const Window window = around(cx, cy, radius, inside);
      Best best = {block_sad(grey + here, ref_grey + here, width, block, block, kNever), 0, 0};
      if (best.sad > 0) {
        best = search.refine(here, window, cx, cy, 1, best);
        const Window& reachable = centres != nullptr ? inside : window;
        if (column > 0)
          best = search.refine(here, reachable, vectors[2 * (index - 1)], vectors[2 * (index - 1) + 1], 1, best);
        if (row > 0) {
          const int above = index - columns;
          best = search.refine(here, reachable, vectors[2 * above], vectors[2 * above + 1], 1, best);
        }
        const auto places = search.coarse_places(x0 / kCoarse, y0 / kCoarse, window);
        for (const int64_t key : {places.first, places.second}) {
          const int64_t x = ((key & 0xFFFF) - 32768) * kCoarse, y = (((key >> 16) & 0xFFFF) - 32768) * kCoarse;
          best = search.refine(here, window, x, y, kFine, best);
        }
      }
      sads[index] = best.sad;
      vectors[2 * index] = int16_t(best.x);
      vectors[2 * index + 1] = int16_t(best.y);
    }

  // Back again, so that a vector found late reaches the blocks before it, too.
  for (int row = rows - 1; row >= 0; --row)
    for (int column = columns - 1; column >= 0; --column) {
      const int index = row * columns + column;
      const auto [x0, y0, here, inside, cx, cy] = search.place(row, column, centres, index);
      Best best = {sads[index], vectors[2 * index], vectors[2 * index + 1]};
      if (best.sad > 0) {
        const Window reachable = centres != nullptr ? inside : around(cx, cy, radius, inside);
        if (column + 1 < columns)
          best = search.refine(here, reachable, vectors[2 * (index + 1)], vectors[2 * (index + 1) + 1], 0, best);
        if (row + 1 < rows) {
          const int below = index + columns;
          best = search.refine(here, reachable, vectors[2 * below], vectors[2 * below + 1], 0, best);
        }
      }
      // Chosen on grey; on all channels it must still beat the zero vector and the prediction.
      if (channels > 1) {
        const Best found = best;
        best = Best{kNever, 0, 0};
        const int64_t tried[3][2] = {{found.x, found.y}, {0, 0}, {cx, cy}};
        for (const auto& one : tried) {
          if (best.sad != kNever && one[0] == found.x && one[1] == found.y) continue;
          const int64_t sad = block_sad(frame + here * channels,
                                        reference + (here + one[1] * width + one[0]) * channels,
                                        int64_t(width) * channels, block, block * channels, best.sad);
          if (before(sad, one[0], one[1], best)) best = Best{sad, one[0], one[1]};
        }
      }
      vectors[2 * index] = int16_t(best.x);
      vectors[2 * index + 1] = int16_t(best.y);
      difference[index] = float(double(best.sad) / (255.0 * block * block * channels));
    }
}

}  // extern "C"
