// Convolution on tiles in one kernel: gather along the halo, product, bias, activation, residual, write.
//
// An implicit matrix product. Its rows are the output positions of all tiles, one after another, so that tiles
// of one position (deep maps) fill a thread block as well as large ones; its columns are output channels; its
// depth runs over taps, then input channels, which is the order of the packed weights. Every output sums in
// that order, whatever is computed beside it: sparse and dense runs of one configuration's arithmetic agree to
// the last bit.
//
// Where each tap of each row is read (this frame, the reference along the vector, or padding) is decided once
// a block and kept in shared memory: the loop over the depth then costs one shared load a pack.
#pragma once

#include "common.cuh"
#include "elementwise.cuh"

#ifndef FLUXSHARD_SHIM
#include <mma.h>
#endif

namespace fluxshard {

template <typename T>
struct ConvolveArguments {
  Source<T> source;
  Tiles tiles;
  Target<T> out;
  const T* residual;
  int residual_pixel;
  Window window;
  int inputs, outputs;  // of one group
  int columns;          // outputs padded to a multiple of 8, as the packed weights are
  const T* weight;      // [group][tap][input][column]
  const float* bias;    // [group][output]
  int activation;
  float slope;
  bool packed_writes;  // whether rows of `out` and `residual` are aligned for packs
};

constexpr int kPadding = -1;  // in the table of places: outside the map
// A table entry e >= 0 is a position of this frame's map; e <= -2 stands for position -2 - e, read from the
// reference: already moved for the nearest position, not yet for bilinear sampling.

template <typename T>
__device__ __forceinline__ int place_of(const Source<T>& source, int y, int x) {
  if (!is_inside(source, y, x)) return kPadding;
  const int index = y * source.width + x;
  if (source.sampling == kNoHalo || source.fresh[index]) return index;
  if (source.sampling == kBilinear) return -2 - index;
  const short2 move = static_cast<const short2*>(source.displacement)[index];
  return -2 - (clamp(y + move.y, source.height - 1) * source.width + clamp(x + move.x, source.width - 1));
}

template <typename T, int V, bool Bilinear>
__device__ __forceinline__ Pack<T, V> read_place(const Source<T>& source, int place, int channel) {
  if (place >= 0) return load<T, V>(source.map + static_cast<long long>(place) * source.pixel + channel);
  if (place == kPadding) return splat<T, V>(0.0f);
  const int index = -2 - place;
  if (Bilinear && source.sampling == kBilinear) {
    const int y = index / source.width;
    return sample_bilinear<T, V>(source, index, y, index - y * source.width, channel);
  }
  return load<T, V>(source.reference + static_cast<long long>(index) * source.reference_pixel + channel);
}

// Fills places[tap][row] and targets[row] (output position, or -1) for a block of BM rows, then synchronises.
// False, for every thread, where there is nothing to compute: tiles that only fill up a list lie beyond the map.
template <typename T, int BM, int Threads>
__device__ __forceinline__ bool find_places(const ConvolveArguments<T>& a, int* places, int* targets) {
  const int taps = a.window.kernel_y * a.window.kernel_x;
  const int total = a.tiles.positions();
  bool any = false;
  for (int entry = threadIdx.x; entry < taps * BM; entry += Threads) {
    const int tap = entry / BM, row = entry - tap * BM;
    const int number = blockIdx.x * BM + row;
    Position p = {0, 0};
    bool valid = number < total;
    if (valid) {
      p = position_of(a.tiles, number);
      valid = a.out.holds(p);
    }
    any |= valid;
    if (tap == 0) targets[row] = valid ? p.y * a.out.width + p.x : -1;
    const int tap_y = tap / a.window.kernel_x, tap_x = tap - tap_y * a.window.kernel_x;
    const int y = p.y * a.window.stride_y - a.window.padding_y + tap_y * a.window.dilation_y;
    const int x = p.x * a.window.stride_x - a.window.padding_x + tap_x * a.window.dilation_x;
    places[entry] = valid ? place_of(a.source, y, x) : kPadding;
  }
  return __syncthreads_or(any) != 0;
}

// One thread's share of loading a BM × BK piece of the rows: `kRows` packs at one depth of several rows.
template <typename T, int BM, int BK, int V, bool Bilinear, int Threads>
struct RowLoader {
  static constexpr int kLanes = BK / V;
  static constexpr int kStep = Threads / kLanes;
  static constexpr int kRows = BM / kStep;
  static_assert(Threads % kLanes == 0 && BM % kStep == 0, "rows must divide evenly among the threads");

  int lane, row, tap, channel;
  Pack<T, V> taken[kRows];

  __device__ __forceinline__ RowLoader(int inputs)
      : lane((threadIdx.x % kLanes) * V), row(threadIdx.x / kLanes), tap(0), channel(lane) {
    wrap(inputs);
  }

  __device__ __forceinline__ void wrap(int inputs) {
    while (channel >= inputs) {
      channel -= inputs;
      ++tap;
    }
  }

  // Packs never straddle two taps: V divides `inputs` or is 1.
  __device__ __forceinline__ void fetch(const ConvolveArguments<T>& a, const int* places, int taps,
                                        int first_channel) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (tap < taps)
        taken[i] = read_place<T, V, Bilinear>(a.source, places[tap * BM + row + i * kStep],
                                              first_channel + channel);
      else
        taken[i] = splat<T, V>(0.0f);
    }
    channel += BK;
    wrap(a.inputs);
  }
};

// One thread's share of loading a BK × BN piece of the weights.
template <typename T, int BN, int BK, int V, int Threads>
struct ColumnLoader {
  static constexpr int kLanes = BN / V;
  static constexpr int kStep = Threads / kLanes;
  static constexpr int kRows = BK / kStep;
  static_assert(Threads % kLanes == 0 && BK % kStep == 0, "columns must divide evenly among the threads");

  int lane, row, depth;
  Pack<T, V> taken[kRows];

  __device__ __forceinline__ ColumnLoader()
      : lane((threadIdx.x % kLanes) * V), row(threadIdx.x / kLanes), depth(0) {}

  __device__ __forceinline__ void fetch(const T* weight, int columns, int depth_end, int first_column) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int k = depth + row + i * kStep, n = first_column + lane;
      if (k < depth_end && n < columns)
        taken[i] = load<T, V>(weight + static_cast<long long>(k) * columns + n);
      else
        taken[i] = splat<T, V>(0.0f);
    }
    depth += BK;
  }
};

// Writes `Count` neighbouring output channels of one position, the first of them `column` of its group.
template <typename T, int Count>
__device__ __forceinline__ void finish(const ConvolveArguments<T>& a, int target, int group, int column,
                                       const float* sums) {
  const long long first = group * a.outputs + column;
  T* to = a.out.map + static_cast<long long>(target) * a.out.pixel + first;
  const T* added = a.residual + static_cast<long long>(target) * a.residual_pixel + first;
  if (a.packed_writes && column + Count <= a.outputs) {
    Pack<T, Count> residual = splat<T, Count>(0.0f);
    if (a.residual != nullptr) residual = load<T, Count>(added);
    Pack<T, Count> written;
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      float value = activate(sums[i] + a.bias[first + i], a.activation, a.slope);
      if (a.residual != nullptr) value += widen(residual.v[i]);
      written.v[i] = narrow<T>(value);
    }
    store<T, Count>(to, written);
    return;
  }
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    if (column + i >= a.outputs) break;
    float value = activate(sums[i] + a.bias[first + i], a.activation, a.slope);
    if (a.residual != nullptr) value += widen(added[i]);
    to[i] = narrow<T>(value);
  }
}

// Bytes of shared memory of `convolve_single`: two stages of rows (by depth) and weights, and the two tables.
template <int BM, int BN, int BK>
__host__ __device__ constexpr int single_bytes(int taps) {
  return (2 * BK * (BM + 4) + 2 * BK * BN + (taps + 1) * BM) * static_cast<int>(sizeof(float));
}

// float32 on the ordinary cores: each thread sums TM rows × TN columns in registers, BK deep at a time, while
// the next piece is on its way from memory.
template <int BM, int BN, int BK, int TM, int TN, int V, bool Bilinear>
__global__ void __launch_bounds__((BM / TM) * (BN / TN)) convolve_single(ConvolveArguments<float> a) {
  constexpr int Threads = (BM / TM) * (BN / TN);
  constexpr int Pitch = BM + 4;  // keeps packs of four rows aligned and spreads the transposing stores
  FLUXSHARD_SHARED(memory);
  float* rows = reinterpret_cast<float*>(memory);
  float* weights = rows + 2 * BK * Pitch;
  int* places = reinterpret_cast<int*>(weights + 2 * BK * BN);
  const int taps = a.window.kernel_y * a.window.kernel_x;
  int* targets = places + taps * BM;
  if (!find_places<float, BM, Threads>(a, places, targets)) return;

  const int group = blockIdx.z, first_column = blockIdx.y * BN;
  const int depth = taps * a.inputs, pieces = (depth + BK - 1) / BK;
  const float* weight = a.weight + static_cast<long long>(group) * depth * a.columns;
  RowLoader<float, BM, BK, V, Bilinear, Threads> row_loader(a.inputs);
  ColumnLoader<float, BN, BK, 4, Threads> column_loader;
  const int my_row = (threadIdx.x / (BN / TN)) * TM, my_column = (threadIdx.x % (BN / TN)) * TN;
  float sums[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; ++i) {
#pragma unroll
    for (int j = 0; j < TN; ++j) sums[i][j] = 0.0f;
  }

  for (int piece = 0; piece <= pieces; ++piece) {
    // Fetch piece p into registers, multiply piece p - 1, then store p into the other stage: the one barrier
    // separates every store from the reads before and after it.
    if (piece < pieces) {
      row_loader.fetch(a, places, taps, group * a.inputs);
      column_loader.fetch(weight, a.columns, depth, first_column);
    }
    if (piece > 0) {
      const float* from_rows = rows + ((piece - 1) & 1) * BK * Pitch + my_row;
      const float* from_weights = weights + ((piece - 1) & 1) * BK * BN + my_column;
#pragma unroll
      for (int k = 0; k < BK; ++k) {
        Pack<float, 4> left[TM / 4];
#pragma unroll
        for (int i = 0; i < TM / 4; ++i) left[i] = load<float, 4>(from_rows + k * Pitch + i * 4);
        const Pack<float, TN> right = load<float, TN>(from_weights + k * BN);
#pragma unroll
        for (int i = 0; i < TM; ++i) {
#pragma unroll
          for (int j = 0; j < TN; ++j) sums[i][j] = fmaf(left[i / 4].v[i % 4], right.v[j], sums[i][j]);
        }
      }
    }
    if (piece < pieces) {
      float* to_rows = rows + (piece & 1) * BK * Pitch;
#pragma unroll
      for (int i = 0; i < row_loader.kRows; ++i) {
#pragma unroll
        for (int v = 0; v < V; ++v)
          to_rows[(row_loader.lane + v) * Pitch + row_loader.row + i * row_loader.kStep] =
              row_loader.taken[i].v[v];
      }
      float* to_weights = weights + (piece & 1) * BK * BN;
#pragma unroll
      for (int i = 0; i < column_loader.kRows; ++i)
        store<float, 4>(to_weights + (column_loader.row + i * column_loader.kStep) * BN + column_loader.lane,
                        column_loader.taken[i]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < TM; ++i) {
    const int target = targets[my_row + i];
    if (target >= 0 && first_column + my_column < a.outputs)
      finish<float, TN>(a, target, group, first_column + my_column, sums[i]);
  }
}

__host__ __device__ constexpr int larger(int a, int b) { return a > b ? a : b; }

// Bytes of the two stages of `convolve_half`, which the sums overwrite in the end.
template <int BM, int BN, int BK>
__host__ __device__ constexpr int half_work_bytes() {
  return larger(2 * (BM * (BK + 8) + BK * (BN + 8)) * static_cast<int>(sizeof(half_t)),
                BM * (BN + 4) * static_cast<int>(sizeof(float)));
}

// Bytes of shared memory of `convolve_half`: the above and the two tables.
template <int BM, int BN, int BK>
__host__ __device__ constexpr int half_bytes(int taps) {
  return half_work_bytes<BM, BN, BK>() + (taps + 1) * BM * static_cast<int>(sizeof(int));
}

// float16 on the tensor cores (16×16×16 products, float32 sums): each warp sums WM rows × WN columns.
template <int BM, int BN, int BK, int WM, int WN, int V, bool Bilinear>
__global__ void __launch_bounds__((BM / WM) * (BN / WN) * 32) convolve_half(ConvolveArguments<half_t> a) {
  namespace wmma = nvcuda::wmma;
  constexpr int Threads = (BM / WM) * (BN / WN) * 32;
  constexpr int RowPitch = BK + 8, ColumnPitch = BN + 8, SumPitch = BN + 4;  // no two rows on one bank
  FLUXSHARD_SHARED(memory);
  half_t* rows = reinterpret_cast<half_t*>(memory);
  half_t* weights = rows + 2 * BM * RowPitch;
  float* all_sums = reinterpret_cast<float*>(memory);
  const int taps = a.window.kernel_y * a.window.kernel_x;
  int* places = reinterpret_cast<int*>(memory + half_work_bytes<BM, BN, BK>());
  int* targets = places + taps * BM;
  if (!find_places<half_t, BM, Threads>(a, places, targets)) return;

  const int group = blockIdx.z, first_column = blockIdx.y * BN;
  const int depth = taps * a.inputs, pieces = (depth + BK - 1) / BK;
  const half_t* weight = a.weight + static_cast<long long>(group) * depth * a.columns;
  RowLoader<half_t, BM, BK, V, Bilinear, Threads> row_loader(a.inputs);
  ColumnLoader<half_t, BN, BK, 8, Threads> column_loader;
  const int warp = threadIdx.x / 32;
  const int my_row = (warp / (BN / WN)) * WM, my_column = (warp % (BN / WN)) * WN;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[WM / 16][WN / 16];
#pragma unroll
  for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
    for (int j = 0; j < WN / 16; ++j) wmma::fill_fragment(sums[i][j], 0.0f);
  }

  for (int piece = 0; piece <= pieces; ++piece) {
    if (piece < pieces) {
      row_loader.fetch(a, places, taps, group * a.inputs);
      column_loader.fetch(weight, a.columns, depth, first_column);
    }
    if (piece > 0) {
      const half_t* from_rows = rows + ((piece - 1) & 1) * BM * RowPitch + my_row * RowPitch;
      const half_t* from_weights = weights + ((piece - 1) & 1) * BK * ColumnPitch + my_column;
#pragma unroll
      for (int k = 0; k < BK; k += 16) {
        wmma::fragment<wmma::matrix_a, 16, 16, 16, half_t, wmma::row_major> left[WM / 16];
        wmma::fragment<wmma::matrix_b, 16, 16, 16, half_t, wmma::row_major> right[WN / 16];
#pragma unroll
        for (int i = 0; i < WM / 16; ++i)
          wmma::load_matrix_sync(left[i], from_rows + i * 16 * RowPitch + k, RowPitch);
#pragma unroll
        for (int j = 0; j < WN / 16; ++j)
          wmma::load_matrix_sync(right[j], from_weights + k * ColumnPitch + j * 16, ColumnPitch);
#pragma unroll
        for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
          for (int j = 0; j < WN / 16; ++j) wmma::mma_sync(sums[i][j], left[i], right[j], sums[i][j]);
        }
      }
    }
    if (piece < pieces) {
      half_t* to_rows = rows + (piece & 1) * BM * RowPitch;
#pragma unroll
      for (int i = 0; i < row_loader.kRows; ++i)
        store<half_t, V>(to_rows + (row_loader.row + i * row_loader.kStep) * RowPitch + row_loader.lane,
                         row_loader.taken[i]);
      half_t* to_weights = weights + (piece & 1) * BK * ColumnPitch;
#pragma unroll
      for (int i = 0; i < column_loader.kRows; ++i)
        store<half_t, 8>(
            to_weights + (column_loader.row + i * column_loader.kStep) * ColumnPitch + column_loader.lane,
            column_loader.taken[i]);
    }
    __syncthreads();
  }
  // The last barrier above also ends every read of the stages, which the sums now overwrite.
#pragma unroll
  for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
    for (int j = 0; j < WN / 16; ++j)
      wmma::store_matrix_sync(all_sums + (my_row + i * 16) * SumPitch + my_column + j * 16, sums[i][j],
                              SumPitch, wmma::mem_row_major);
  }
  __syncthreads();
  for (int pack = threadIdx.x; pack < BM * BN / 8; pack += Threads) {
    const int row = pack / (BN / 8), column = (pack % (BN / 8)) * 8;
    const int target = targets[row];
    if (target < 0 || first_column + column >= a.outputs) continue;
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; i += 4) {
      const Pack<float, 4> part = load<float, 4>(all_sums + row * SumPitch + column + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) values[i + j] = part.v[j];
    }
    finish<half_t, 8>(a, target, group, first_column + column, values);
  }
}

// Depthwise: one thread a pack of channels of one position. Bound by memory: no product to share.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads) convolve_depthwise(ConvolveArguments<T> a, unsigned total,
                                                               int channels) {
  const unsigned number = blockIdx.x * kThreads + threadIdx.x;
  if (number >= total) return;
  const unsigned packs = channels / V;
  const unsigned position = number / packs;
  const int channel = (number - position * packs) * V;
  const Position p = position_of(a.tiles, position);
  if (!a.out.holds(p)) return;
  float sums[V];
#pragma unroll
  for (int i = 0; i < V; ++i) sums[i] = 0.0f;
  const T* weight = a.weight + channel;
  for (int row = 0; row < a.window.kernel_y; ++row) {
    const int y = p.y * a.window.stride_y - a.window.padding_y + row * a.window.dilation_y;
    for (int column = 0; column < a.window.kernel_x; ++column, weight += a.columns) {
      const int x = p.x * a.window.stride_x - a.window.padding_x + column * a.window.dilation_x;
      if (!is_inside(a.source, y, x)) continue;
      const Pack<T, V> taken = read<T, V>(a.source, y, x, channel, 0.0f), factor = load<T, V>(weight);
#pragma unroll
      for (int i = 0; i < V; ++i) sums[i] = fmaf(widen(taken.v[i]), widen(factor.v[i]), sums[i]);
    }
  }
  finish<T, V>(a, p.y * a.out.width + p.x, 0, channel, sums);
}

}  // namespace fluxshard
