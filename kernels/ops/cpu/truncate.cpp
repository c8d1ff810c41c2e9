// The policy `truncate` (kernels/executor/policies/truncate.py) over a run of nodes: which positions read
// anything that changed, computing these, moving the rest, and pruning what came out as it was. Each map is
// touched once: what is computed is compared where it lies, with the reference at the displacement.
// Oracle: the policy's form over single operations.
#include <cmath>
#include <vector>

#include "axis.h"
#include "vectors.h"

using namespace fluxshard;

extern "C" void fluxshard_program(const void* steps, int64_t count, const void* sets, float* cache,
                                  float* workspace, const float* reference);
extern "C" void fluxshard_remap(const float*, int64_t, const int16_t*, const uint8_t*, float*, int64_t, int64_t,
                                int64_t, int64_t);

namespace {

// The structures are mirrored in truncate.py.
struct Input {
  const uint8_t* changed;
  int64_t height, width;
  Axis vertical, horizontal;
};

// The first members of an ActiveSet of program.cpp.
struct Tiling {
  const int32_t* tiles;
  int64_t count, tile_height, tile_width;
};

struct Node {
  int64_t kind;
  int64_t input_count;
  const Input* inputs;
  int64_t height, width;
  uint8_t* changed;  // result: a byte a position
  const void* steps;
  int64_t step_count;
  Tiling* tiling;      // of the active set that the steps run at
  int64_t resolution;  // of the displacements
  int64_t offset, pixel_stride, channels;  // of its map in a cache
  int64_t mask;        // first position in the masks of all maps
  const double* epsilon;     // of this frame
  const double* break_even;  // share of positions from which all are computed
  int64_t* computed;         // result: positions
};

constexpr int64_t kRows = 192;            // positions that a convolution takes at a time
constexpr int64_t kPieceFloats = 49152;  // half of a small second-level cache
constexpr int64_t kSampled = 16, kMostOf = 20;  // SAMPLED and MOST_OF of the policy's Python form
constexpr int32_t kOrigin[2] = {0, 0};

enum Kind {
  kUnion,   // no work of its own: what changed in any of its inputs
  kCopy,    // the same, and inputs to copy, which are complete
  kPrune,   // a layer whose result is compared
  kPass,    // a layer that is read only where it changed: neither moved nor compared
  kFollow,  // a layer whose result counts as changed wherever it is computed
  kTransposed,  // the same, computed patch by patch, at the positions of its input that changed
};

struct Either {
  static uint8_t join(uint8_t a, uint8_t b) { return a | b; }
};

// Outputs that read anything that changed in an input, joined to `to`.
void spread(const Input& input, int64_t height, int64_t width, uint8_t* to, std::vector<uint8_t>& scratch) {
  const Axis& vertical = input.vertical;
  scratch.resize(static_cast<size_t>(input.width));
  for (int64_t y = 0; y < height; ++y, to += width) {
    std::memset(scratch.data(), 0, scratch.size());
    for (int64_t tap = 0; tap < vertical.taps; ++tap) {
      const int32_t read = vertical.table[y * vertical.taps + tap];
      if (read >= 0) join_along<Either, 1>(input.changed + read * input.width, 1, input.width, scratch.data());
    }
    spread_row<Either>(input.horizontal, scratch.data(), input.width, width, to);
  }
}

int64_t count_positions(const uint8_t* mask, int64_t positions) {
  int64_t found = 0, index = 0;
  for (; index + 8 <= positions; index += 8) {
    uint64_t eight;  // bytes of 0 and 1: their sum is the product's highest byte
    std::memcpy(&eight, mask + index, 8);
    found += static_cast<int64_t>((eight * 0x0101010101010101u) >> 56);
  }
  for (; index < positions; ++index) found += mask[index];
  return found;
}

// (y, x) of every position that is not 0; returns how many.
int64_t list_positions(const uint8_t* mask, int64_t height, int64_t width, int32_t* list) {
  const int32_t* begin = list;
  for (int64_t y = 0; y < height; ++y, mask += width)
    for (int64_t x = 0; x < width; ++x) {
      uint64_t eight;
      if (x + 8 <= width) {
        std::memcpy(&eight, mask + x, 8);
        if (eight == 0) {
          x += 7;
          continue;
        }
      }
      list[0] = static_cast<int32_t>(y);
      list[1] = static_cast<int32_t>(x);
      list += mask[x] ? 2 : 0;
    }
  return (list - begin) / 2;
}

inline bool any(Integers lanes) {
  int64_t words[kLanes / 2];
  std::memcpy(words, &lanes, sizeof words);
  int64_t found = 0;
  for (int64_t word : words) found |= word;
  return found != 0;
}

// Whether any channel differs by more than ε, or is a NaN.
inline bool differs(const float* a, const float* b, int64_t channels, float epsilon) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    const Vector difference = load(a + c) - load(b + c);
    const Integers far = (difference > epsilon) | (difference < -epsilon) | (difference != difference);
    if (any(far)) return true;
  }
  bool found = false;
  for (; c < channels; ++c) found |= !(std::fabs(a[c] - b[c]) <= epsilon);
  return found;
}

// The position of the reference that (y, x) comes from.
inline int64_t behind(const Node& node, const int16_t* displacement, int64_t y, int64_t x) {
  const int16_t* move = displacement + 2 * (y * node.width + x);
  return clamp(y + move[1], node.height - 1) * node.width + clamp(x + move[0], node.width - 1);
}

// Takes from `changed` the listed positions that came out as they were, and gives these the reference's values
// back, which is what the layers behind them were computed from.
void prune(const Node& node, const int32_t* list, int64_t count, const float* reference,
           const int16_t* displacement, float* out) {
  constexpr int64_t kAhead = 16;  // the reference is far away in memory: most positions read one line of it
  const size_t bytes = sizeof(float) * static_cast<size_t>(node.channels);
  const float epsilon = static_cast<float>(*node.epsilon);
  const float* before[kAhead];
  auto find = [&](int64_t i) {
    before[i % kAhead] = reference + behind(node, displacement, list[2 * i], list[2 * i + 1]) * node.pixel_stride;
    __builtin_prefetch(before[i % kAhead], 0, 3);
  };
  for (int64_t i = 0; i < count && i < kAhead; ++i) find(i);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = list[2 * i] * node.width + list[2 * i + 1];
    const float* was = before[i % kAhead];
    float* here = out + index * node.pixel_stride;
    if (!differs(here, was, node.channels, epsilon)) {
      std::memcpy(here, was, bytes);
      node.changed[index] = 0;
    }
    if (i + kAhead < count) find(i + kAhead);
  }
}

// Whether a sample of a layer that was computed everywhere says that hardly anything stayed as it was.
bool all_changed(const Node& node, const float* reference, const int16_t* displacement, const float* out) {
  const int64_t positions = node.height * node.width;
  int64_t far = 0, samples = 0;
  for (int64_t index = 0; index < positions; index += kSampled, ++samples) {
    const int64_t source = behind(node, displacement, index / node.width, index % node.width);
    const float* was = reference + source * node.pixel_stride;
    far += differs(out + index * node.pixel_stride, was, node.channels, static_cast<float>(*node.epsilon));
  }
  return far * kMostOf >= samples * (kMostOf - 1);
}

}  // namespace

// displacements: of each resolution. still: whether all of these are 0. list: room for (y, x) of the largest map's
// positions; the sets' tiles. up_to_date: where the new maps' memory has the reference's values already, or null;
// unmoved, a result: where it then has the reference's values, of the same position.
extern "C" void fluxshard_truncate(Node* nodes, int64_t count, const void* sets, int32_t* list,
                                   const int16_t* const* displacements, const uint8_t* still, float* cache,
                                   const float* reference, const uint8_t* up_to_date, uint8_t* unmoved) {
  std::vector<uint8_t> scratch, there;
  auto note = [&](const Node& node) {
    uint8_t* to = unmoved + node.mask;
    const int64_t positions = node.height * node.width;
    if (still[node.resolution]) {
      for (int64_t i = 0; i < positions; ++i) to[i] = !node.changed[i];
      return;
    }
    const int16_t* move = displacements[node.resolution];
    for (int64_t i = 0; i < positions; ++i) to[i] = !node.changed[i] & !(move[2 * i] | move[2 * i + 1]);
  };
  for (Node* node = nodes; node < nodes + count; ++node) {
    const int64_t positions = node->height * node->width;
    std::memset(node->changed, 0, static_cast<size_t>(positions));
    for (int64_t i = 0; i < node->input_count; ++i)
      spread(node->inputs[i], node->height, node->width, node->changed, scratch);
    if (node->kind == kUnion) continue;
    float* out = cache + node->offset;
    const float* before = reference + node->offset;
    const int16_t* displacement = displacements[node->resolution];
    int64_t found = positions;
    if (node->kind != kCopy) {
      found = count_positions(node->changed, positions);
      const double most = *node->break_even * static_cast<double>(positions);
      if (node->kind <= kPass && found > 0 && static_cast<double>(found) >= most && found < positions) {
        std::memset(node->changed, 1, static_cast<size_t>(positions));
        found = positions;
      }
      *node->computed = found;
      if (found < positions && node->kind != kPass) {
        const uint8_t* fresh = node->changed;
        if (up_to_date != nullptr) {
          there.resize(static_cast<size_t>(positions));
          const uint8_t* known = up_to_date + node->mask;
          if (still[node->resolution])
            for (int64_t i = 0; i < positions; ++i) there[i] = fresh[i] | known[i];
          else
            for (int64_t i = 0; i < positions; ++i)
              there[i] = fresh[i] | (known[i] & !(displacement[2 * i] | displacement[2 * i + 1]));
          fresh = there.data();
        }
        fluxshard_remap(before, node->pixel_stride, displacement, fresh, out, node->height, node->width,
                        node->pixel_stride, node->channels);
      }
    }
    Tiling& tiling = *node->tiling;
    if (node->kind == kTransposed) {
      const Input& source = node->inputs[0];
      tiling = {list, list_positions(source.changed, source.height, source.width, list), 1, 1};
    } else if (found == positions && node->kind != kPrune) {
      tiling = {kOrigin, 1, node->height, node->width};
    } else if (node->kind != kPrune) {
      tiling = {list, list_positions(node->changed, node->height, node->width, list), 1, 1};
    }
    if (node->kind != kPrune) {
      fluxshard_program(node->steps, node->step_count, sets, cache, cache, reference);
      if (node->kind != kPass) note(*node);
      continue;
    }
    if (found == positions) {
      tiling = {kOrigin, 1, node->height, node->width};
      fluxshard_program(node->steps, node->step_count, sets, cache, cache, reference);
      if (all_changed(*node, before, displacement, out)) continue;
      list_positions(node->changed, node->height, node->width, list);
      prune(*node, list, found, before, displacement, out);
      note(*node);
      continue;
    }
    list_positions(node->changed, node->height, node->width, list);
    // A piece is compared while it is still in the processor's caches.
    const int64_t piece = kRows * (kPieceFloats / kRows / node->channels > 0 ? kPieceFloats / kRows / node->channels : 1);
    for (int64_t done = 0; done < found; done += piece) {
      const int64_t some = found - done < piece ? found - done : piece;
      tiling = {list + 2 * done, some, 1, 1};
      fluxshard_program(node->steps, node->step_count, sets, cache, cache, reference);
      prune(*node, list + 2 * done, some, before, displacement, out);
    }
    note(*node);
  }
}
