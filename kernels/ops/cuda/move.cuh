// Kernels that move rows of channels: gather, scatter, remap, prune. All are bound by memory: neighbouring
// threads take neighbouring packs of channels of one position, so that a warp reads and writes whole lines.
#pragma once

#include "common.cuh"

namespace fluxshard {

// out[tile, row, column, :] = the source at the window of the tile. One thread a pack.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(Source<T> source, const int* __restrict__ tiles, unsigned total, int window_height,
                  int window_width, int stride_y, int stride_x, int padding_y, int padding_x, int channels,
                  float fill, T* __restrict__ out) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const unsigned position = number / packs;
  const int channel = (number - position * packs) * V;
  const unsigned area = window_height * window_width;
  const unsigned tile = position / area, offset = position - tile * area;
  const int row = offset / window_width, column = offset - row * window_width;
  const int y = tiles[2 * tile] * stride_y - padding_y + row;
  const int x = tiles[2 * tile + 1] * stride_x - padding_x + column;
  store<T, V>(out + static_cast<long long>(position) * channels + channel,
              read<T, V>(source, y, x, channel, fill));
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const T* __restrict__ values, Tiles tiles, unsigned total, int channels, Target<T> out) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const unsigned position = number / packs;
  const int channel = (number - position * packs) * V;
  const Position p = position_of(tiles, position);
  if (!out.holds(p)) return;
  store<T, V>(out.map + out.offset(p) + channel,
              load<T, V>(values + static_cast<long long>(position) * channels + channel));
}

// out = the source's reference along the displacement, wherever `source.fresh` (if any) is not 1.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    remap_kernel(Source<T> source, unsigned total, int channels, Target<T> out) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const int index = number / packs;
  const int channel = (number - index * packs) * V;
  if (source.fresh != nullptr && source.fresh[index]) return;
  const int y = index / out.width, x = index - y * out.width;
  store<T, V>(out.map + static_cast<long long>(index) * out.pixel + channel,
              sample<T, V>(source, index, y, x, channel));
}

// A position is kept if any of its channels differs by more than epsilon. `lanes` threads (a power of two up
// to a warp) share a position: they vote before any of them writes.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    prune_kernel(const T* __restrict__ values, int values_pixel, Tiles tiles, int channels, float epsilon,
                 int lanes, byte_t* __restrict__ changed, Target<T> out) {
  const int position = (blockIdx.x * kThreads + threadIdx.x) / lanes;
  const int lane = threadIdx.x % lanes;
  bool valid = position < tiles.positions();
  Position p = {0, 0};
  if (valid) {
    p = position_of(tiles, position);
    valid = out.holds(p);
  }
  const T* from = values + static_cast<long long>(p.y * out.width + p.x) * values_pixel;
  T* to = out.map + out.offset(p);
  int keep = 0;
  if (valid) {
    for (int channel = lane * V; channel < channels; channel += lanes * V) {
      const Pack<T, V> fresh = load<T, V>(from + channel), cached = load<T, V>(to + channel);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        // Rounded to the map's type as torch rounds the difference; negated so that a NaN counts as changed.
        const float difference = widen(narrow<T>(widen(fresh.v[i]) - widen(cached.v[i])));
        keep |= !(fabsf(difference) <= epsilon);
      }
    }
  }
  for (int offset = lanes / 2; offset > 0; offset /= 2) keep |= __shfl_xor_sync(kAllLanes, keep, offset);
  if (!valid || !keep) return;
  for (int channel = lane * V; channel < channels; channel += lanes * V)
    store<T, V>(to + channel, load<T, V>(from + channel));
  if (lane == 0) changed[p.y * out.width + p.x] = 1;
}

}  // namespace fluxshard
