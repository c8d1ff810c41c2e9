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
extern "C" void fluxshard_move(const float*, int64_t, const int16_t*, const uint8_t*, float*, int64_t, int64_t,
                                int64_t, int64_t);
extern "C" void fluxshard_keep(const float*, int64_t, const uint8_t*, float*, int64_t, int64_t);

namespace {

// The structures are mirrored in truncate.py.
struct Input {
  const uint8_t* changed;
  const int64_t* found;  // how many of them are set
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
  int64_t reads;  // how its candidates follow from its inputs
  int64_t input_count;
  const Input* inputs;
  int64_t height, width;
  uint8_t* changed;  // result: a byte a position
  int64_t* found;    // result: how many of them are set
  const void* steps;
  int64_t step_count;
  Tiling* tiling;      // of the active set that the steps run at
  int64_t resolution;  // of the displacements
  int64_t offset, pixel_stride, channels;  // of its map in a cache
  int64_t mask;        // first position in the masks of all maps
  int64_t notes;       // whether it writes there; otherwise another node does, whose map is moved at the same
  const double* epsilon;     // of this frame
  const double* break_even;  // share of positions from which all are computed
  int64_t* computed;         // result: positions
};

// What all nodes of a frame share.
struct Frame {
  const void* sets;
  int32_t* list;  // room for (y, x) of the largest map's positions; the sets' tiles
  const int16_t* const* displacements;  // of each resolution
  const uint8_t* still;                 // whether all of these are 0
  float* cache;
  const float* reference;
  const uint8_t* up_to_date;  // where the new maps' memory has the reference's values already, or null
  uint8_t* unmoved;           // result: where it then has the reference's values, of the same position
};

constexpr int64_t kRows = 192;            // positions that a convolution takes at a time
constexpr int64_t kPieceFloats = 49152;  // half of a small second-level cache
// SAMPLED and MOST_OF of the policy's Python form. Not a divisor of block sizes: the sample must not be one column.
constexpr int64_t kSampled = 13, kMostOf = 20;
constexpr int32_t kOrigin[2] = {0, 0};

enum Kind {
  kUnion,   // no work of its own: what changed in any of its inputs
  kCopy,    // the same, and inputs to copy, which are complete
  kPrune,   // a layer whose result is compared
  kPass,    // a layer that is read only where it changed: neither moved nor compared
  kFollow,  // a layer whose result counts as changed wherever it is computed; without steps, by the caller
  kTransposed,  // the same, computed patch by patch, at the positions of its input that changed
};

enum Reads {
  kAround,  // what its taps say
  kSame,    // each position that of one input
  kShared,  // the same, and never pruned: the input's bytes are its own
};

struct Either {
  static uint8_t join(uint8_t a, uint8_t b) { return a | b; }
};

// The first byte from `from` on that is `value`; `end` if there is none.
inline const uint8_t* find(const uint8_t* from, const uint8_t* end, int value) {
  const void* found = std::memchr(from, value, static_cast<size_t>(end - from));
  return found == nullptr ? end : static_cast<const uint8_t*>(found);
}

// Outputs that read anything that changed in an input, joined to `to`.
void spread(const Input& input, int64_t height, int64_t width, uint8_t* to, std::vector<uint8_t>& scratch) {
  const Axis& vertical = input.vertical;
  scratch.assign(static_cast<size_t>(input.width + input.height), 0);
  uint8_t* reached = scratch.data() + input.width;  // rows of the input that hold anything
  const uint8_t* const end = input.changed + input.height * input.width;
  for (const uint8_t* at = input.changed; (at = find(at, end, 1)) < end;) {
    const int64_t row = (at - input.changed) / input.width;
    reached[row] = 1;
    at = input.changed + (row + 1) * input.width;
  }
  for (int64_t y = 0; y < height; ++y, to += width) {
    bool filled = false;
    for (int64_t tap = 0; tap < vertical.taps; ++tap) {
      const int32_t read = vertical.table[y * vertical.taps + tap];
      if (read < 0 || !reached[read]) continue;
      if (!filled) std::memset(scratch.data(), 0, static_cast<size_t>(input.width));
      filled = true;
      join_along<Either, 1>(input.changed + read * input.width, 1, input.width, scratch.data());
    }
    if (filled) spread_row<Either>(input.horizontal, scratch.data(), input.width, width, to);
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

// (y, x) of every position that is set, run by run; returns how many.
int64_t list_positions(const uint8_t* mask, int64_t height, int64_t width, int32_t* list) {
  const int32_t* begin = list;
  const uint8_t* const end = mask + height * width;
  for (const uint8_t* at = mask; (at = find(at, end, 1)) < end;) {
    const int64_t y = (at - mask) / width;
    const uint8_t* const row = mask + y * width;
    const uint8_t* const last = find(at, row + width, 0);
    for (int64_t x = at - row; x < last - row; ++x, list += 2) {
      list[0] = static_cast<int32_t>(y);
      list[1] = static_cast<int32_t>(x);
    }
    at = last;
  }
  return (list - begin) / 2;
}

// Loops over bytes that nothing else overlaps: compilers make vectors of them only if they are told so.
void negate(const uint8_t* __restrict changed, int64_t positions, uint8_t* __restrict to) {
  for (int64_t i = 0; i < positions; ++i) to[i] = changed[i] ^ 1;
}

void negate_still(const uint8_t* __restrict changed, const int16_t* __restrict move, int64_t positions,
                  uint8_t* __restrict to) {
  for (int64_t i = 0; i < positions; ++i) to[i] = !(changed[i] | move[2 * i] | move[2 * i + 1]);
}

void join(const uint8_t* __restrict fresh, const uint8_t* __restrict known, int64_t positions,
          uint8_t* __restrict to) {
  for (int64_t i = 0; i < positions; ++i) to[i] = fresh[i] | known[i];
}

void join_still(const uint8_t* __restrict fresh, const uint8_t* __restrict known, const int16_t* __restrict move,
                int64_t positions, uint8_t* __restrict to) {
  for (int64_t i = 0; i < positions; ++i) to[i] = fresh[i] | (known[i] & !(move[2 * i] | move[2 * i + 1]));
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

// One node in a frame.
class Run {
 public:
  Run(const Frame& frame, const Node& node)
      : frame_(frame),
        node_(node),
        positions_(node.height * node.width),
        displacement_(frame.displacements[node.resolution]),
        before_(frame.reference + node.offset),
        out_(frame.cache + node.offset) {}

  // Sets `changed` to the candidates: the positions that read anything that changed.
  void mark(std::vector<uint8_t>& scratch) const {
    if (node_.reads == kShared) return;
    if (node_.reads == kSame) {
      std::memcpy(node_.changed, node_.inputs[0].changed, static_cast<size_t>(positions_));
      *node_.found = *node_.inputs[0].found;
      return;
    }
    std::memset(node_.changed, 0, static_cast<size_t>(positions_));
    int64_t reached = 0;
    for (int64_t i = 0; i < node_.input_count; ++i) {
      if (*node_.inputs[i].found == 0) continue;
      spread(node_.inputs[i], node_.height, node_.width, node_.changed, scratch);
      reached = 1;
    }
    *node_.found = reached ? count_positions(node_.changed, positions_) : 0;
  }

  // Moves the reference's map to where nothing is `fresh`, and where the memory does not have its values already.
  void move(const uint8_t* fresh, std::vector<uint8_t>& there) const {
    const bool still = frame_.still[node_.resolution];
    if (frame_.up_to_date != nullptr) {
      there.resize(static_cast<size_t>(positions_));
      const uint8_t* known = frame_.up_to_date + node_.mask;
      if (still) join(fresh, known, positions_, there.data());
      else join_still(fresh, known, displacement_, positions_, there.data());
      fresh = there.data();
    }
    if (still)
      fluxshard_keep(before_, node_.pixel_stride, fresh, out_, positions_, node_.channels);
    else
      fluxshard_move(before_, node_.pixel_stride, displacement_, fresh, out_, node_.height, node_.width,
                      node_.pixel_stride, node_.channels);
  }

  // Notes where the map has the reference's values of the same position.
  void note() const {
    if (!node_.notes) return;
    uint8_t* to = frame_.unmoved + node_.mask;
    if (frame_.still[node_.resolution]) negate(node_.changed, positions_, to);
    else negate_still(node_.changed, displacement_, positions_, to);
  }

  void compute() const {
    if (node_.step_count > 0)
      fluxshard_program(node_.steps, node_.step_count, frame_.sets, frame_.cache, frame_.cache, frame_.reference);
  }

  // Computes the listed candidates and takes those from `changed`, and from the list, that came out as they were.
  void compute_and_prune(int32_t* list) const {
    const int64_t found = *node_.found, most = piece();
    int64_t kept = 0;
    for (int64_t done = 0; done < found; done += most) {  // a piece is compared while it is still in the caches
      const int64_t some = found - done < most ? found - done : most;
      const int32_t* part = list + 2 * done;
      auto index = [&](int64_t i) { return part[2 * i] * node_.width + part[2 * i + 1]; };
      for (int64_t i = 0; i < some; i += kSampled) __builtin_prefetch(before_ + behind(index(i)) * node_.pixel_stride);
      *node_.tiling = {part, some, 1, 1};
      compute();
      if (!hardly_any_stayed(some, index, out_, node_.pixel_stride)) {
        kept += prune(part, some, list + 2 * kept);
        continue;
      }
      if (kept < done) std::memmove(list + 2 * kept, part, 2 * sizeof(int32_t) * static_cast<size_t>(some));
      kept += some;
    }
    *node_.found = kept;
  }

  // The same of a map that is computed everywhere; `list` is room for a piece.
  void compute_all_and_prune(int32_t* list) const {
    *node_.tiling = {kOrigin, 1, node_.height, node_.width};
    compute();
    const int64_t most = piece();
    for (int64_t done = 0; done < positions_; done += most) {
      const int64_t some = positions_ - done < most ? positions_ - done : most;
      if (hardly_any_stayed(some, [&](int64_t i) { return done + i; }, out_, node_.pixel_stride)) continue;
      for (int64_t i = 0; i < some; ++i) {
        list[2 * i] = static_cast<int32_t>((done + i) / node_.width);
        list[2 * i + 1] = static_cast<int32_t>((done + i) % node_.width);
      }
      *node_.found -= some - prune(list, some, list);
    }
  }

  // Takes over what differs of `values`, a whole map without gaps between its positions.
  void enter(const float* values, std::vector<uint8_t>& there) const {
    const int64_t most = piece(), channels = node_.channels;
    const size_t bytes = sizeof(float) * static_cast<size_t>(channels);
    std::memset(node_.changed, 0, static_cast<size_t>(positions_));
    for (int64_t done = 0; values != nullptr && done < positions_; done += most) {
      const int64_t some = positions_ - done < most ? positions_ - done : most;
      if (hardly_any_stayed(some, [&](int64_t i) { return done + i; }, values, channels))
        std::memset(node_.changed + done, 1, static_cast<size_t>(some));
    }
    move(node_.changed, there);
    const float epsilon = static_cast<float>(*node_.epsilon);
    for (int64_t index = 0; values != nullptr && index < positions_; ++index) {
      const float* now = values + index * channels;
      if (!node_.changed[index] && !differs(now, before_ + behind(index) * node_.pixel_stride, channels, epsilon))
        continue;
      node_.changed[index] = 1;
      std::memcpy(out_ + index * node_.pixel_stride, now, bytes);
    }
    *node_.found = values == nullptr ? 0 : count_positions(node_.changed, positions_);
    *node_.computed = values == nullptr ? 0 : positions_;
  }

 private:
  // Positions that are compared in one piece.
  int64_t piece() const {
    const int64_t rounds = kPieceFloats / kRows / node_.channels;
    return kRows * (rounds > 0 ? rounds : 1);
  }

  // The position of the reference that one of this map comes from.
  int64_t behind(int64_t index) const {
    if (frame_.still[node_.resolution]) return index;
    const int16_t* move = displacement_ + 2 * index;
    const int64_t y = index / node_.width, x = index % node_.width;
    return clamp(y + move[1], node_.height - 1) * node_.width + clamp(x + move[0], node_.width - 1);
  }

  // Whether a sample of a piece says that comparing all of it would find next to nothing to take from `changed`.
  template <typename Index>
  bool hardly_any_stayed(int64_t count, Index index, const float* values, int64_t pixel) const {
    const float epsilon = static_cast<float>(*node_.epsilon);
    int64_t far = 0, samples = 0;
    for (int64_t i = 0; i < count; i += kSampled, ++samples) {
      const int64_t at = index(i);
      far += differs(values + at * pixel, before_ + behind(at) * node_.pixel_stride, node_.channels, epsilon);
    }
    return far * kMostOf >= samples * (kMostOf - 1);
  }

  // Takes from `changed` the listed positions that came out as they were, and gives these the reference's values
  // back, which is what the layers behind them were computed from. Lists the others in `kept`; returns how many.
  int64_t prune(const int32_t* list, int64_t count, int32_t* kept) const {
    constexpr int64_t kAhead = 16;  // the reference is far away in memory: most positions read one line of it
    const size_t bytes = sizeof(float) * static_cast<size_t>(node_.channels);
    const float epsilon = static_cast<float>(*node_.epsilon);
    const float* before[kAhead];
    auto find = [&](int64_t i) {
      before[i % kAhead] = before_ + behind(list[2 * i] * node_.width + list[2 * i + 1]) * node_.pixel_stride;
      __builtin_prefetch(before[i % kAhead], 0, 3);
    };
    int64_t stay = 0;
    for (int64_t i = 0; i < count && i < kAhead; ++i) find(i);
    for (int64_t i = 0; i < count; ++i) {
      const int32_t y = list[2 * i], x = list[2 * i + 1];
      const int64_t index = y * node_.width + x;
      const float* was = before[i % kAhead];
      float* here = out_ + index * node_.pixel_stride;
      if (i + kAhead < count) find(i + kAhead);
      if (differs(here, was, node_.channels, epsilon)) {
        kept[2 * stay] = y;
        kept[2 * stay + 1] = x;
        ++stay;
      } else {
        std::memcpy(here, was, bytes);
        node_.changed[index] = 0;
      }
    }
    return stay;
  }

  const Frame& frame_;
  const Node& node_;
  const int64_t positions_;
  const int16_t* const displacement_;
  const float* const before_;
  float* const out_;
};

}  // namespace

extern "C" void fluxshard_truncate(const Frame* frame, const Node* nodes, int64_t count) {
  std::vector<uint8_t> scratch, there;
  const uint8_t* listed = nullptr;  // the mask whose positions the list holds
  auto list = [&](const uint8_t* mask, int64_t height, int64_t width) {
    if (listed != mask) list_positions(mask, height, width, frame->list);
    listed = mask;
  };
  for (const Node* node = nodes; node < nodes + count; ++node) {
    const Run run(*frame, *node);
    const int64_t positions = node->height * node->width;
    run.mark(scratch);
    if (node->reads == kSame && listed == node->inputs[0].changed) listed = node->changed;
    if (node->kind == kUnion) continue;
    if (node->kind == kCopy) {
      *node->tiling = {kOrigin, 1, node->height, node->width};
      run.compute();
      run.note();
      continue;
    }
    const double most = *node->break_even * static_cast<double>(positions);
    if (node->kind <= kPass && *node->found > 0 && static_cast<double>(*node->found) >= most &&
        *node->found < positions) {
      std::memset(node->changed, 1, static_cast<size_t>(positions));
      *node->found = positions;
      listed = nullptr;
    }
    const int64_t found = *node->computed = *node->found;
    if (found < positions && node->kind != kPass) run.move(node->changed, there);
    if (node->kind == kTransposed) {
      const Input& source = node->inputs[0];
      list(source.changed, source.height, source.width);
      *node->tiling = {frame->list, *source.found, 1, 1};
      run.compute();
    } else if (found == positions && node->kind == kPrune) {
      run.compute_all_and_prune(frame->list);
      listed = nullptr;
    } else if (found == positions) {
      *node->tiling = {kOrigin, 1, node->height, node->width};
      run.compute();
    } else {
      list(node->changed, node->height, node->width);
      *node->tiling = {frame->list, found, 1, 1};
      if (node->kind == kPrune) run.compute_and_prune(frame->list);
      else run.compute();
    }
    run.note();
  }
}

// Marks and counts the pixels of active blocks, of which a row has `columns`, on a frame of height × width.
extern "C" void fluxshard_truncate_blocks(const uint8_t* active, int64_t columns, int64_t block, int64_t height,
                                          int64_t width, uint8_t* changed, int64_t* found) {
  for (int64_t y = 0; y < height; ++y, changed += width) {
    if (y % block != 0) {
      std::memcpy(changed, changed - width, static_cast<size_t>(width));
      continue;
    }
    for (int64_t x = 0; x < width; ++x) changed[x] = active[y / block * columns + x / block];
  }
  *found = count_positions(changed - height * width, height * width);
}

// A map made from a tensor: `values`, or null where nothing that it depends on changed.
extern "C" void fluxshard_truncate_enter(const Frame* frame, const Node* node, const float* values) {
  std::vector<uint8_t> there;
  const Run run(*frame, *node);
  run.enter(values, there);
  run.note();
}

// Writes the candidates of a map, the list's first, from a whole one: `values` has any strides, in floats.
extern "C" void fluxshard_truncate_put(const Frame* frame, const Node* node, const float* values, int64_t down,
                                       int64_t across, int64_t deep) {
  for (int64_t i = 0; i < *node->found; ++i) {
    const int64_t y = frame->list[2 * i], x = frame->list[2 * i + 1];
    const float* from = values + y * down + x * across;
    float* to = frame->cache + node->offset + (y * node->width + x) * node->pixel_stride;
    for (int64_t c = 0; c < node->channels; ++c) to[c] = from[c * deep];
  }
}
