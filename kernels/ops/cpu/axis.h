// What outputs read along one axis, and the join of what they read.
#pragma once

#include <cstdint>

namespace fluxshard {

// Mirrored by the ctypes structure in axis.py.
struct Axis {
  const int32_t* table;  // (outputs, taps) inputs; negative: padding
  int64_t taps;
  int64_t stride;  // 0: only the table knows. Otherwise output o reads o · stride + start + k · dilation
  int64_t start, dilation;
};

template <typename Rule, int64_t stride, typename Value>
void join_along(const Value* __restrict from, int64_t step, int64_t count, Value* __restrict to) {
  for (int64_t o = 0; o < count; ++o) to[o] = Rule::join(to[o], from[o * (stride ? stride : step)]);
}

// What one row of outputs reads along its columns, joined to `to` by Rule::join.
template <typename Rule, typename Value>
void spread_row(const Axis& axis, const Value* row, int64_t width, int64_t outputs, Value* to) {
  if (axis.stride == 0) {
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t tap = 0; tap < axis.taps; ++tap) {
        const int32_t column = axis.table[o * axis.taps + tap];
        if (column >= 0) to[o] = Rule::join(to[o], row[column]);
      }
    return;
  }
  const int64_t stride = axis.stride;
  for (int64_t tap = 0; tap < axis.taps; ++tap) {
    const int64_t start = axis.start + tap * axis.dilation;
    const int64_t first = start >= 0 ? 0 : (-start + stride - 1) / stride;  // outputs whose tap lies inside
    int64_t end = width <= start ? 0 : (width - 1 - start) / stride + 1;
    if (end > outputs) end = outputs;
    if (end <= first) continue;
    const Value* from = row + first * stride + start;
    if (stride == 1) join_along<Rule, 1>(from, 1, end - first, to + first);
    else if (stride == 2) join_along<Rule, 2>(from, 2, end - first, to + first);
    else join_along<Rule, 0>(from, stride, end - first, to + first);
  }
}

}  // namespace fluxshard
