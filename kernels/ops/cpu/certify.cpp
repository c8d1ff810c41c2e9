// Which maps of a frame are, provably, moved copies of the reference's: the labels and conditions of
// kernels/executor/certificates/certificate.py, class after class. Oracle: its torch form.
#include <vector>

#include "axis.h"
#include "vectors.h"

namespace {

using fluxshard::Axis;
using fluxshard::clamp;
using fluxshard::join_along;
using fluxshard::spread_row;

constexpr int32_t kMixed = INT32_MAX;    // a changed pixel, or more than one vector
constexpr int32_t kNothing = INT32_MIN;  // nothing but padding

// The structures are mirrored in certify.py.
struct ClassInput {
  int64_t source;  // class
  Axis vertical, horizontal;
};

struct Class {
  int64_t kind;  // 0 the frame, 1 what its inputs are, 2 made from a dense call
  int64_t wanted;  // whether its certificate is; if not, only its labels are made
  int64_t input_count;
  const ClassInput* inputs;
  int64_t offset;  // first position in the memory of all classes
  int64_t height, width, period_y, period_x;
  int64_t numerator_y, denominator_y, numerator_x, denominator_x;  // pixels a position
  const uint8_t *rows, *columns;                                   // which read padding
  int64_t certified;                                               // result: positions
  int64_t alive;                                                   // result: whether labels other than kMixed are left
};

inline int32_t vector_x(int32_t label) { return static_cast<int16_t>(static_cast<uint16_t>(label)); }
inline int32_t vector_y(int32_t label) { return label >> 16; }

// The vector that both hold, whichever is not kNothing, or kMixed. Written so that compilers make vectors of it.
struct Labels {
  static int32_t join(int32_t a, int32_t b) {
    int32_t joined = a == b ? a : kMixed;
    joined = b == kNothing ? a : joined;
    return a == kNothing ? b : joined;
  }
};

// A number's bits: -0 is not 0 (its reciprocal is another), and a NaN is the same NaN.
typedef int32_t Bits __attribute__((may_alias));

void fill(int32_t* to, int64_t count, int32_t value) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

struct Pixels {
  const float *frame, *reference;
  int64_t channels;
  const int32_t* blocks;  // label of each block
  int64_t block_columns, block_px;
};

// One label a pixel; returns whether any is not kMixed. `known` channels, if not 0, let compilers make vectors of it.
template <int64_t known>
bool label_pixels(const Bits* __restrict here, const Bits* __restrict there, int64_t channels, int64_t count,
                  int32_t label, int32_t* __restrict to) {
  const int64_t step = known ? known : channels;
  int32_t alive = 0;
  for (int64_t i = 0; i < count; ++i) {
    int32_t different = 0;
    for (int64_t c = 0; c < step; ++c) different |= here[i * step + c] != there[i * step + c];
    to[i] = different ? kMixed : label;
    alive |= !different;
  }
  return alive != 0;
}

// The labels of a run of count pixels, from (y, x) on, in blocks of one label; returns whether any is not kMixed.
bool label_run(const Pixels& pixels, const Class& frame, int64_t y, int64_t x, int64_t count, int32_t label,
               int32_t* to) {
  if (label == kMixed) {
    fill(to, count, kMixed);
    return false;
  }
  const int64_t dx = vector_x(label), row = y + vector_y(label), channels = pixels.channels;
  if (row < 0 || row >= frame.height) {
    fill(to, count, kMixed);
    return false;
  }
  const int64_t first = clamp(-dx - x, count), end = clamp(frame.width - dx - x, count);
  fill(to, first, kMixed);
  if (end < count) fill(to + end, count - end, kMixed);
  if (end <= first) return false;
  const float* pixel = pixels.frame + (y * frame.width + x + first) * channels;
  const Bits* here = reinterpret_cast<const Bits*>(pixel);
  pixel = pixels.reference + (row * frame.width + x + first + dx) * channels;
  const Bits* there = reinterpret_cast<const Bits*>(pixel);
  int32_t different = 0;
  for (int64_t i = 0; i < (end - first) * channels; ++i) different |= here[i] != there[i];
  if (!different) {
    fill(to + first, end - first, label);
    return true;
  }
  return channels == 3 ? label_pixels<3>(here, there, 3, end - first, label, to + first)
                       : label_pixels<0>(here, there, channels, end - first, label, to + first);
}

bool label_frame(const Pixels& pixels, const Class& frame, int32_t* labels) {
  bool alive = false;
  for (int64_t y = 0; y < frame.height; ++y) {
    const int32_t* blocks = pixels.blocks + y / pixels.block_px * pixels.block_columns;
    for (int64_t x = 0; x < frame.width;) {
      // Blocks side by side that move alike are one run.
      const int32_t label = blocks[x / pixels.block_px];
      int64_t end = x;
      while (end < frame.width && blocks[end / pixels.block_px] == label) end += pixels.block_px;
      if (end > frame.width) end = frame.width;
      alive |= label_run(pixels, frame, y, x, end - x, label, labels + y * frame.width + x);
      x = end;
    }
  }
  return alive;
}

void spread(const ClassInput& read, const Class& source, const Class& here, const int32_t* from, int32_t* to,
            std::vector<int32_t>& scratch) {
  const Axis &vertical = read.vertical, &horizontal = read.horizontal;
  scratch.resize(static_cast<size_t>(source.width));
  for (int64_t y = 0; y < here.height; ++y, to += here.width) {
    const int32_t* row = nullptr;
    for (int64_t tap = 0; tap < vertical.taps; ++tap) {
      const int32_t read = vertical.table[y * vertical.taps + tap];
      if (read < 0) continue;
      const int32_t* other = from + read * source.width;
      if (row == nullptr) {
        row = other;
        continue;
      }
      if (row != scratch.data()) std::memcpy(scratch.data(), row, sizeof(int32_t) * scratch.size());
      row = scratch.data();
      join_along<Labels, 1>(other, 1, source.width, scratch.data());
    }
    if (row != nullptr) spread_row<Labels>(horizontal, row, source.width, here.width, to);
  }
}

// What a label means in a class, worked out once for a run of equal ones.
struct Meaning {
  bool possible;  // one vector, a multiple of the period
  int64_t shift_x, shift_y;
};

inline int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

Meaning meaning(const Class& here, int32_t label) {
  if (label == kMixed || label == kNothing) return {false, 0, 0};
  const int64_t x = vector_x(label), y = vector_y(label);
  return {x % here.period_x == 0 && y % here.period_y == 0,
          floor_divide(x * here.denominator_x, here.numerator_x),
          floor_divide(y * here.denominator_y, here.numerator_y)};
}

struct Results {
  uint8_t *certified, *fresh, *unmoved;
  const uint8_t* up_to_date;  // may be null
  int16_t* displacement;
  int32_t* missing;  // moves on
};

void refuse(int64_t y, int64_t x, Results& to, int64_t index) {
  to.certified[index] = to.unmoved[index] = 0;
  to.fresh[index] = 1;
  *to.missing++ = static_cast<int32_t>(y);
  *to.missing++ = static_cast<int32_t>(x);
}

// count positions from (y, x) on with one label that is possible: condition 4, and inside the map.
int64_t judge_run(const Class& here, int32_t label, const Meaning& known, int64_t y, int64_t x, int64_t count,
                  Results& to) {
  const int64_t index = y * here.width + x, row = y + known.shift_y;
  const int16_t shift[2] = {static_cast<int16_t>(known.shift_x), static_cast<int16_t>(known.shift_y)};
  for (int64_t i = index; i < index + count; ++i) std::memcpy(to.displacement + 2 * i, shift, sizeof shift);
  if (label == 0) {
    std::memset(to.certified + index, 1, static_cast<size_t>(count));
    std::memset(to.unmoved + index, 1, static_cast<size_t>(count));
    if (to.up_to_date) std::memcpy(to.fresh + index, to.up_to_date + index, static_cast<size_t>(count));
    else std::memset(to.fresh + index, 0, static_cast<size_t>(count));
    return count;
  }
  const bool row_holds = row >= 0 && row < here.height && (vector_y(label) == 0 || !(here.rows[y] | here.rows[row]));
  int64_t certified = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t column = x + i + known.shift_x;
    if (row_holds && column >= 0 && column < here.width &&
        (vector_x(label) == 0 || !(here.columns[x + i] | here.columns[column]))) {
      to.certified[index + i] = 1;
      to.fresh[index + i] = to.unmoved[index + i] = 0;
      ++certified;
    } else {
      refuse(y, x + i, to, index + i);
    }
  }
  return certified;
}

// Conditions 2 and 4 at every position; labels that fail for good become kMixed.
void judge(Class& here, int32_t* labels, Results to) {
  int32_t last = kMixed;
  Meaning known = meaning(here, last);
  here.certified = here.alive = 0;
  for (int64_t y = 0; y < here.height; ++y, labels += here.width)
    for (int64_t x = 0; x < here.width;) {
      int64_t end = x + 1;
      while (end < here.width && labels[end] == labels[x]) ++end;
      if (labels[x] != last) known = meaning(here, last = labels[x]);
      if (known.possible) {
        here.certified += judge_run(here, last, known, y, x, end - x, to);
        here.alive = 1;
      } else {
        for (int64_t i = x; i < end; ++i) refuse(y, i, to, y * here.width + i);
        if (last != kNothing) fill(labels + x, end - x, kMixed);
      }
      x = end;
    }
}

}  // namespace

// All classes in order. labels, certified, fresh, unmoved, up_to_date: a value a position of all classes; displacement,
// missing: two. unmoved: certified without motion. up_to_date: where the new maps' memory has the reference's values
// already, or null;
// fresh: where nothing has to be moved, because it is not certified, or unmoved and up_to_date.
// missing: from each class's offset on, its positions (y, x) that are not certified. Only `certified` and
// `unmoved` are written for a class of which nothing is.
extern "C" void fluxshard_certify(Class* classes, int64_t count, const float* frame, const float* reference,
                                  int64_t channels, const int32_t* blocks, int64_t block_columns,
                                  int64_t block_px, int32_t* labels, uint8_t* certified, uint8_t* fresh,
                                  uint8_t* unmoved, const uint8_t* up_to_date,
                                  int16_t* displacement, int32_t* missing) {
  const Pixels pixels{frame, reference, channels, blocks, block_columns, block_px};
  std::vector<int32_t> scratch;
  bool unchanged = false;
  for (Class* here = classes; here < classes + count; ++here) {
    const int64_t positions = here->height * here->width;
    int32_t* mine = labels + here->offset;
    here->certified = here->alive = 0;
    if (here->kind == 0) {
      here->alive = label_frame(pixels, *here, mine);
      unchanged = here->alive;
      for (int64_t i = 0; unchanged && i < positions; ++i) unchanged = mine[i] == 0;
      if (!here->wanted) continue;
    } else {
      // Maps made from a dense call depend on the whole frame: it holds if nothing has changed or moved.
      bool alive = here->kind == 1 || unchanged;
      for (int64_t i = 0; i < here->input_count; ++i) alive = alive && classes[here->inputs[i].source].alive;
      if (!alive) {
        std::memset(certified + here->offset, 0, static_cast<size_t>(positions));
        std::memset(unmoved + here->offset, 0, static_cast<size_t>(positions));
        continue;
      }
      fill(mine, positions, here->kind == 1 ? kNothing : 0);
      for (int64_t i = 0; i < here->input_count; ++i) {
        const ClassInput& read = here->inputs[i];
        const Class& source = classes[read.source];
        spread(read, source, *here, labels + source.offset, mine, scratch);
      }
    }
    judge(*here, mine, {certified + here->offset, fresh + here->offset, unmoved + here->offset,
                        up_to_date ? up_to_date + here->offset : nullptr, displacement + 2 * here->offset,
                        missing + 2 * here->offset});
  }
}
