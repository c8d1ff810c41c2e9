// Reading maps in several arenas instead of moving them: where the value of each position lies, and bringing it here.
#include "../program.h"

using namespace fluxshard;

namespace {

// Positions that lie one after another, here and where they come from.
struct Run {
  const float* from;
  float* to;
  int64_t length;
};

// Copies the positions whose arena is wanted, to the same positions of `out`. Runs are short and lie far apart, which
// defeats the hardware's prefetcher: each is asked for some runs before it is copied.
template <typename Wanted>
void copy_positions(const int32_t* origins, int64_t positions, const float* const* arenas, int64_t offset,
                    int64_t from_pixel, int64_t channels, float* out, int64_t out_pixel, Wanted wanted) {
  constexpr int64_t kAhead = 8, kMostLines = 16;
  const bool whole = from_pixel == channels && out_pixel == channels;
  Run runs[kAhead];
  int64_t found = 0, copied = 0, index = 0;
  auto copy = [&]() {
    const Run& run = runs[copied++ % kAhead];
    if (whole) {
      copy_past(run.to, run.from, run.length * channels);
    } else {
      for (int64_t i = 0; i < run.length; ++i) copy_past(run.to + i * out_pixel, run.from + i * from_pixel, channels);
    }
  };
  while (index < positions) {
    const int32_t first = origins[index];
    if (!wanted(arena_of(first))) {
      ++index;
      continue;
    }
    int64_t length = 1;
    while (index + length < positions && origins[index + length] == first + length) ++length;
    if (found - copied == kAhead) copy();
    const float* from = arenas[arena_of(first)] + offset + position_of(first) * from_pixel;
    runs[found++ % kAhead] = {from, out + index * out_pixel, length};
    const int64_t lines = length * from_pixel / 16 < kMostLines ? length * from_pixel / 16 + 1 : kMostLines;
    for (int64_t line = 0; line < lines; ++line) __builtin_prefetch(from + line * 16, 0, 2);
    index += length;
  }
  while (copied < found) copy();
  finish_streaming();
}

inline bool same(const int16_t* displacement, int64_t one, int64_t other) {
  return displacement[2 * one] == displacement[2 * other] && displacement[2 * one + 1] == displacement[2 * other + 1];
}

}  // namespace

// origins[p]: p itself where it is fresh; else where the position that its displacement leads to lay `before`, in
// arenas that are now one further back; without `before`, all lay in one. `fresh` and `displacement` are by cell, of
// `columns` cells a row and tile_height × tile_width positions each; the last ones may reach beyond the map.
extern "C" void fluxshard_follow(const uint8_t* fresh, const int16_t* displacement, int64_t columns,
                                 int64_t tile_height, int64_t tile_width, int64_t height, int64_t width,
                                 const int32_t* before, int32_t* origins) {
  const int32_t further = 1 << kPositionBits;
  for (int64_t y = 0; y < height; ++y) {
    const int64_t cells = y / tile_height * columns;
    for (int64_t x = 0, cell = cells; x < width;) {
      const int64_t first = cell++;  // and those after it that do alike
      int64_t end = x + tile_width;
      for (; end < width && fresh[cell] == fresh[first] && (fresh[first] || same(displacement, cell, first)); ++cell)
        end += tile_width;
      end = end < width ? end : width;
      int32_t* to = origins + y * width;
      if (fresh[first]) {
        for (; x < end; ++x) to[x] = static_cast<int32_t>(y * width + x);
        continue;
      }
      const int64_t shift = displacement[2 * first];
      const int64_t row = clamp(y + displacement[2 * first + 1], height - 1) * width;
      if (x + shift >= 0 && end + shift <= width) {
        const int64_t from = row + shift;
        if (before == nullptr)
          for (; x < end; ++x) to[x] = static_cast<int32_t>(from + x) + further;
        else
          for (; x < end; ++x) to[x] = before[from + x] + further;
      } else {
        for (; x < end; ++x) {
          const int64_t from = row + clamp(x + shift, width - 1);
          to[x] = (before == nullptr ? static_cast<int32_t>(from) : before[from]) + further;
        }
      }
    }
  }
}

// Brings what lies in arena `from` (0: in any other) to arena 0, for each step's output map.
extern "C" void fluxshard_collect(const Step* steps, int64_t count, const ActiveSet* sets, const float* const* arenas,
                                  float* own, int64_t from) {
  for (const Step* step = steps; step < steps + count; ++step) {
    const ActiveSet& set = sets[step->set_index];
    if (set.origins == nullptr) continue;
    const MapAddress& map = step->out;
    copy_positions(set.origins, set.height * set.width, arenas, map.offset, map.pixel_stride, step->channels,
                   own + map.offset, map.pixel_stride,
                   [&](int64_t arena) { return from == 0 ? arena != 0 : arena == from; });
  }
}

// A whole map of `channels` at `offset`, each position from where it lies.
extern "C" void fluxshard_collect_map(const int32_t* origins, int64_t positions, const float* const* arenas,
                                      int64_t offset, int64_t pixel, int64_t channels, float* out) {
  copy_positions(origins, positions, arenas, offset, pixel, channels, out, channels, [](int64_t) { return true; });
}

// What was brought from arena `from` lies in arena 0 now.
extern "C" void fluxshard_bring(int32_t* origins, int64_t positions, int64_t from) {
  for (int64_t index = 0; index < positions; ++index)
    if (arena_of(origins[index]) == from) origins[index] = static_cast<int32_t>(index);
}
