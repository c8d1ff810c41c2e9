// Pooling, pointwise operations and upsampling on tiles: one thread a pack of channels of one position.
// Neighbouring positions share what they read through the L1 cache.
#pragma once

#include "common.cuh"

namespace fluxshard {

// kernel, stride, padding, dilation; each (vertical, horizontal).
struct Window {
  int kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
};

enum PointwiseOperation { kCopy, kAdd, kSubtract, kMultiply };

template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(bool maximum, Window window, bool count_padding, Source<T> source, Tiles tiles, unsigned total,
                int channels, Target<T> out) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const unsigned position = number / packs;
  const int channel = (number - position * packs) * V;
  const Position p = position_of(tiles, position);
  if (!out.holds(p)) return;
  const float start = maximum ? __int_as_float(0xff800000) : 0.0f;
  float result[V];
#pragma unroll
  for (int i = 0; i < V; ++i) result[i] = start;
  int count = 0;
  for (int row = 0; row < window.kernel_y; ++row) {
    const int y = p.y * window.stride_y - window.padding_y + row * window.dilation_y;
    for (int column = 0; column < window.kernel_x; ++column) {
      const int x = p.x * window.stride_x - window.padding_x + column * window.dilation_x;
      count += count_padding || is_inside(source, y, x);
      const Pack<T, V> taken = read<T, V>(source, y, x, channel, start);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float value = widen(taken.v[i]);
        if (!maximum)
          result[i] += value;
        else if (value > result[i] || value != value)  // a NaN wins, as in torch
          result[i] = value;
      }
    }
  }
  Pack<T, V> written;
#pragma unroll
  for (int i = 0; i < V; ++i)
    written.v[i] = narrow<T>(maximum ? result[i] : result[i] / (count < 1 ? 1 : count));
  store<T, V>(out.map + out.offset(p) + channel, written);
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    pointwise_kernel(int operation, const T* first, int first_pixel, const T* second, int second_pixel,
                     Tiles tiles, unsigned total, int channels, int activation, float slope, Target<T> out) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const unsigned position = number / packs;
  const int channel = (number - position * packs) * V;
  const Position p = position_of(tiles, position);
  if (!out.holds(p)) return;
  const long long index = p.y * out.width + p.x;
  const Pack<T, V> one = load<T, V>(first + index * first_pixel + channel);
  Pack<T, V> written = one;
  if (operation != kCopy) {
    const Pack<T, V> other = load<T, V>(second + index * second_pixel + channel);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float a = widen(one.v[i]), b = widen(other.v[i]);
      written.v[i] = narrow<T>(operation == kAdd ? a + b : operation == kSubtract ? a - b : a * b);
    }
  }
  if (activation != kNone) {
#pragma unroll
    for (int i = 0; i < V; ++i)
      written.v[i] = narrow<T>(activate(widen(written.v[i]), activation, slope));
  }
  store<T, V>(out.map + out.offset(p) + channel, written);
}

// The two source positions around output position `p` of one axis, and the weight of the second.
struct Taps {
  int first, second;
  float weight;
};

// `step` is (size - 1) / (output size - 1), and `factor` output size / size.
__device__ __forceinline__ Taps linear_taps(int p, int size, int factor, float step, bool align_corners) {
  Taps taps;
  if (align_corners) {
    const float where = __fmul_rn(p, step), first = fminf(floorf(where), size - 1.0f);
    taps.first = static_cast<int>(first);
    taps.weight = fminf(fmaxf(where - first, 0.0f), 1.0f);
  } else {  // in whole numbers, so that the weights repeat to the last bit
    const int where = 2 * p + 1 > factor ? 2 * p + 1 - factor : 0;
    taps.first = where / (2 * factor);
    taps.weight = static_cast<float>(where - taps.first * 2 * factor) / static_cast<float>(2 * factor);
  }
  taps.second = taps.first + 1 < size ? taps.first + 1 : taps.first;
  return taps;
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    upsample_kernel(bool bilinear, bool align_corners, float step_y, float step_x, Source<T> source,
                    Tiles tiles, unsigned total, int channels, Target<T> out) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const unsigned position = number / packs;
  const int channel = (number - position * packs) * V;
  const Position p = position_of(tiles, position);
  if (!out.holds(p)) return;
  Pack<T, V> written;
  if (!bilinear) {
    const int y = p.y / (out.height / source.height), x = p.x / (out.width / source.width);
    written = read<T, V>(source, y, x, channel, 0.0f);
  } else {
    const Taps vertical = linear_taps(p.y, source.height, out.height / source.height, step_y, align_corners);
    const Taps horizontal = linear_taps(p.x, source.width, out.width / source.width, step_x, align_corners);
    const Pack<T, V> a = read<T, V>(source, vertical.first, horizontal.first, channel, 0.0f);
    const Pack<T, V> b = read<T, V>(source, vertical.first, horizontal.second, channel, 0.0f);
    const Pack<T, V> c = read<T, V>(source, vertical.second, horizontal.first, channel, 0.0f);
    const Pack<T, V> d = read<T, V>(source, vertical.second, horizontal.second, channel, 0.0f);
    const float weight_x = horizontal.weight, weight_y = vertical.weight;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const float upper = widen(a.v[i]) * (1.0f - weight_x) + widen(b.v[i]) * weight_x;
      const float lower = widen(c.v[i]) * (1.0f - weight_x) + widen(d.v[i]) * weight_x;
      written.v[i] = narrow<T>(upper * (1.0f - weight_y) + lower * weight_y);
    }
  }
  store<T, V>(out.map + out.offset(p) + channel, written);
}

}  // namespace fluxshard
