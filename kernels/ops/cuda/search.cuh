// Motion search on the device: the same candidates and the same order as kernels/motion/search.py, so the same vectors.
//
// A vector there may depend on what the left and the upper neighbour found. Because "better" is a total order,
// a block's result is the best over a set of candidates, in any order. So one thread block per image block
// first takes all candidates that need no neighbour (`search_blocks`), and `settle_rows` then adds the
// neighbours', row after row in a wavefront, forwards and backwards.
#pragma once

#include "common.cuh"

#ifndef FLUXSHARD_SHIM
#define FLUXSHARD_WAIT()
#endif

namespace fluxshard {

constexpr int kSearchThreads = 128;
constexpr int kSettleThreads = 256;
constexpr int kCoarse = 4;  // the coarse level has a quarter of the resolution
constexpr int kFinePx = 2;
constexpr int kPlaces = 2;  // coarse places that are refined

struct SearchLevels {
  const byte_t* pixels;
  const byte_t* grey;
  const byte_t* quarter;
};

struct SearchArguments {
  SearchLevels frame, reference;
  int height, width, channels, block, radius;
  const short2* predicted;  // or null

  // Blocks cover the image: the last ones end at its edge.
  __host__ __device__ int rows() const { return (height + block - 1) / block; }
  __host__ __device__ int columns() const { return (width + block - 1) / block; }
};

// A candidate vector; `before` is the total order of kernels/motion/search.py.
struct Candidate {
  unsigned sad;
  int dx, dy;
};

__device__ __forceinline__ bool before(const Candidate& a, const Candidate& b) {
  if (a.sad != b.sad) return a.sad < b.sad;
  const long long one = static_cast<long long>(a.dx) * a.dx + static_cast<long long>(a.dy) * a.dy;
  const long long other = static_cast<long long>(b.dx) * b.dx + static_cast<long long>(b.dy) * b.dy;
  if (one != other) return one < other;
  return a.dy < b.dy || (a.dy == b.dy && a.dx < b.dx);
}

struct Range {
  int low_x, high_x, low_y, high_y;

  __device__ __forceinline__ bool holds(int dx, int dy) const {
    return dx >= low_x && dx <= high_x && dy >= low_y && dy <= high_y;
  }
};

struct SearchBlock {
  int x, y, centre_x, centre_y;
  Range image, window;
};

__device__ __forceinline__ SearchBlock block_at(const SearchArguments& a, int row, int column) {
  SearchBlock b;
  b.x = min(column * a.block, a.width - a.block);
  b.y = min(row * a.block, a.height - a.block);
  b.image.low_x = -b.x;
  b.image.high_x = a.width - a.block - b.x;
  b.image.low_y = -b.y;
  b.image.high_y = a.height - a.block - b.y;
  short2 centre = {0, 0};
  if (a.predicted != nullptr) centre = a.predicted[row * a.columns() + column];
  b.centre_x = min(max(static_cast<int>(centre.x), b.image.low_x), b.image.high_x);
  b.centre_y = min(max(static_cast<int>(centre.y), b.image.low_y), b.image.high_y);
  b.window.low_x = max(b.image.low_x, b.centre_x - a.radius);
  b.window.high_x = min(b.image.high_x, b.centre_x + a.radius);
  b.window.low_y = max(b.image.low_y, b.centre_y - a.radius);
  b.window.high_y = min(b.image.high_y, b.centre_y + a.radius);
  return b;
}

// Four bytes at any address, from one or two aligned words: each has a byte of the image, and words cross no page.
__device__ __forceinline__ unsigned four_bytes(const byte_t* from) {
  const size_t address = reinterpret_cast<size_t>(from);
  const unsigned* word = reinterpret_cast<const unsigned*>(address & ~static_cast<size_t>(3));
  const unsigned shift = 8 * (address & 3);
  if (shift == 0) return word[0];
  return (word[0] >> shift) | (word[1] << (32 - shift));
}

// Sum of absolute differences of `rows` rows of `length` bytes (a multiple of 4), by one warp; all lanes have it.
__device__ __forceinline__ unsigned warp_sad(const byte_t* a, const byte_t* b, int pitch, int rows, int length) {
  const int words = length / 4;
  unsigned sum = 0;
  for (int i = threadIdx.x % 32; i < rows * words; i += 32) {
    const int row = i / words, column = (i - row * words) * 4;
    sum += __vsadu4(four_bytes(a + static_cast<long long>(row) * pitch + column),
                    four_bytes(b + static_cast<long long>(row) * pitch + column));
  }
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  return sum;
}

__device__ __forceinline__ Candidate grey_candidate(const SearchArguments& a, const SearchBlock& b, int dx,
                                                    int dy) {
  const long long here = static_cast<long long>(b.y) * a.width + b.x;
  const long long there = here + static_cast<long long>(dy) * a.width + dx;
  Candidate result = {warp_sad(a.frame.grey + here, a.reference.grey + there, a.width, a.block, a.block), dx, dy};
  return result;
}

__device__ __forceinline__ Candidate colour_candidate(const SearchArguments& a, const SearchBlock& b, int dx,
                                                      int dy) {
  const long long here = static_cast<long long>(b.y) * a.width + b.x;
  const long long there = here + static_cast<long long>(dy) * a.width + dx;
  Candidate result = {warp_sad(a.frame.pixels + here * a.channels, a.reference.pixels + there * a.channels,
                               a.width * a.channels, a.block, a.block * a.channels),
                      dx, dy};
  return result;
}

// grey = (R + 2G + B + 2) / 4 of three channels.
__global__ void __launch_bounds__(kThreads) grey_kernel(const byte_t* __restrict__ pixels, int total,
                                                        byte_t* __restrict__ grey) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < total) grey[i] = (pixels[3 * i] + 2 * pixels[3 * i + 1] + pixels[3 * i + 2] + 2) >> 2;
}

// Means of 4×4 pixels, rounded; each row of four pixels is one aligned word.
__global__ void __launch_bounds__(kThreads) quarter_kernel(const byte_t* __restrict__ grey, int height, int width,
                                                           byte_t* __restrict__ quarter) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  const int columns = width / kCoarse;
  if (i >= columns * (height / kCoarse)) return;
  const int row = i / columns, column = i - row * columns;
  unsigned sum = 8;
  for (int line = 0; line < kCoarse; ++line)
    sum += __vsadu4(four_bytes(grey + static_cast<long long>(row * kCoarse + line) * width + column * kCoarse), 0);
  quarter[i] = sum >> 4;
}

// The smallest of all threads' values, known to every thread; `scratch` holds a value per warp.
__device__ __forceinline__ unsigned long long block_minimum(unsigned long long value,
                                                            unsigned long long* scratch) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const unsigned long long other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other < value ? other : value;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) value = scratch[warp] < value ? scratch[warp] : value;
  return value;
}

// The best candidate of each block that no neighbour is needed for. One thread block an image block: a thread a
// coarse place, then a warp a fine candidate.
__global__ void __launch_bounds__(kSearchThreads) search_blocks(SearchArguments a, Candidate* __restrict__ found) {
  __shared__ unsigned long long scratch[kSearchThreads / 32];
  __shared__ Candidate best_of[kSearchThreads / 32];
  const int row = blockIdx.y, column = blockIdx.x, warp = threadIdx.x / 32;
  const SearchBlock b = block_at(a, row, column);
  const unsigned long long none = 1ull << 62;

  Candidate best = grey_candidate(a, b, 0, 0);  // every warp computes it: they then agree without a barrier
  const bool still = best.sad == 0;
  unsigned long long places[kPlaces] = {none, none};
  if (!still) {
    const int side = a.block / kCoarse, pitch = a.width / kCoarse, half = kCoarse / 2;
    const int x = b.x / kCoarse, y = b.y / kCoarse;
    // Rounding must not lead outside; it does not where all sizes are multiples of 4.
    const int first_x = max((b.window.low_x + half) >> 2, -x), first_y = max((b.window.low_y + half) >> 2, -y);
    const int columns = min((b.window.high_x + half) >> 2, pitch - side - x) - first_x + 1;
    const int rows = min((b.window.high_y + half) >> 2, a.height / kCoarse - side - y) - first_y + 1;
    const long long here = static_cast<long long>(y) * pitch + x;
    for (int place = threadIdx.x; place < rows * columns; place += kSearchThreads) {
      const int down = place / columns, j = first_y + down, i = first_x + place - down * columns;
      const byte_t* from = a.frame.quarter + here;
      const byte_t* to = a.reference.quarter + here + static_cast<long long>(j) * pitch + i;
      unsigned sad = 0;
      for (int line = 0; line < side; ++line) {
        for (int step = 0; step < side; ++step)
          sad += abs(static_cast<int>(from[line * pitch + step]) - static_cast<int>(to[line * pitch + step]));
      }
      unsigned long long key = (static_cast<unsigned long long>(sad) << 32) |
                               (static_cast<unsigned long long>(j + 32768) << 16) |
                               static_cast<unsigned long long>(i + 32768);
#pragma unroll
      for (int rank = 0; rank < kPlaces; ++rank) {
        if (key < places[rank]) {
          const unsigned long long pushed = places[rank];
          places[rank] = key;
          key = pushed;
        }
      }
    }
  }
  unsigned long long chosen[kPlaces];
#pragma unroll
  for (int rank = 0; rank < kPlaces; ++rank) {
    chosen[rank] = block_minimum(places[0], scratch);
    if (chosen[rank] != none && chosen[rank] == places[0]) {  // keys differ, so one thread had it
      places[0] = places[1];
      places[1] = none;
    }
  }
  if (!still) {
    const int fine = 2 * kFinePx + 1;
    for (int number = warp; number < 9 + kPlaces * fine * fine; number += kSearchThreads / 32) {
      int dx, dy;
      if (number < 9) {
        dx = b.centre_x + number % 3 - 1;
        dy = b.centre_y + number / 3 - 1;
      } else {
        const int rank = (number - 9) / (fine * fine), offset = (number - 9) % (fine * fine);
        const unsigned long long key = rank == 0 ? chosen[0] : chosen[1];
        if (key == none) continue;
        dx = (static_cast<int>(key & 0xffff) - 32768) * kCoarse + offset % fine - kFinePx;
        dy = (static_cast<int>((key >> 16) & 0xffff) - 32768) * kCoarse + offset / fine - kFinePx;
      }
      if (!b.window.holds(dx, dy)) continue;
      const Candidate candidate = grey_candidate(a, b, dx, dy);
      if (before(candidate, best)) best = candidate;
    }
  }
  if (threadIdx.x % 32 == 0) best_of[warp] = best;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int other = 1; other < kSearchThreads / 32; ++other)
      if (before(best_of[other], best)) best = best_of[other];
    found[row * gridDim.x + column] = best;
  }
}

// Adds the neighbours' candidates: forwards those of the left and the upper block (±1 px), then, backwards, those
// of the right and the lower one, and chooses on all channels.
//
// A thread block works through one row of image blocks, and waits at each until the row before it has finished
// the neighbouring one. It takes the row from a counter, so the row before was always taken by a thread block
// that is already running: the wait ends whatever order the device starts them in.
//
// `progress` holds the counter, then the blocks finished in each row, by the order of taking; all zero at first.
// `found` is read and written by different thread blocks, hence volatile: sad, dx, dy of each block.
template <bool Backwards>
__global__ void __launch_bounds__(kSettleThreads)
    settle_rows(SearchArguments a, volatile int* found, int* progress, short* vectors,
                float* __restrict__ difference) {
  constexpr int Warps = kSettleThreads / 32;
  constexpr int Reach = Backwards ? 0 : 1, Side = 2 * Reach + 1;
  __shared__ Candidate best_of[Warps];
  __shared__ int my_turn;
  const int warp = threadIdx.x / 32, rows = a.rows(), columns = a.columns();
  if (threadIdx.x == 0) my_turn = atomicAdd(progress, 1);
  __syncthreads();
  const int turn = my_turn, row = Backwards ? rows - 1 - turn : turn;
  volatile int* finished = progress + 1;

  for (int step = 0; step < columns; ++step) {
    const int column = Backwards ? columns - 1 - step : step;
    const int here = 3 * (row * columns + column);
    const SearchBlock b = block_at(a, row, column);
    if (turn > 0 && threadIdx.x == 0) {
      while (finished[turn - 1] <= step) FLUXSHARD_WAIT();
      __threadfence();
    }
    __syncthreads();
    Candidate best = {static_cast<unsigned>(found[here]), found[here + 1], found[here + 2]};
    // Forwards, a block that did not move at all keeps the zero vector, whatever else would match as well.
    const bool settled = best.sad == 0 && (Backwards || (best.dx == 0 && best.dy == 0));
    const Range reachable = a.predicted != nullptr ? b.image : b.window;
    for (int number = settled ? 2 * Side * Side : warp; number < 2 * Side * Side; number += Warps) {
      const bool across = number >= Side * Side;  // the neighbour in the row before, else in this one
      if (across ? turn == 0 : step == 0) continue;
      const int beside = Backwards ? 3 : -3;
      const int there = here + (across ? beside * columns : beside);
      const int offset = across ? number - Side * Side : number;
      const int dx = found[there + 1] + offset % Side - Reach, dy = found[there + 2] + offset / Side - Reach;
      if (!reachable.holds(dx, dy)) continue;
      const Candidate candidate = grey_candidate(a, b, dx, dy);
      if (before(candidate, best)) best = candidate;
    }
    if (threadIdx.x % 32 == 0) best_of[warp] = best;
    __syncthreads();
    for (int other = 0; other < Warps; ++other)
      if (before(best_of[other], best)) best = best_of[other];
    // Chosen on grey; on all channels it must still beat the zero vector and the prediction.
    if (Backwards && a.channels > 1) {
      __syncthreads();
      if (warp < 3) {
        const int dx = warp == 0 ? best.dx : warp == 1 ? 0 : b.centre_x;
        const int dy = warp == 0 ? best.dy : warp == 1 ? 0 : b.centre_y;
        const Candidate candidate = colour_candidate(a, b, dx, dy);
        if (threadIdx.x % 32 == 0) best_of[warp] = candidate;
      }
      __syncthreads();
      best = best_of[0];
      for (int other = 1; other < 3; ++other)
        if (before(best_of[other], best)) best = best_of[other];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      found[here] = static_cast<int>(best.sad);
      found[here + 1] = best.dx;
      found[here + 2] = best.dy;
      if (Backwards) {
        const int block = here / 3;
        vectors[2 * block] = static_cast<short>(best.dx);
        vectors[2 * block + 1] = static_cast<short>(best.dy);
        difference[block] = static_cast<float>(best.sad / (255.0 * a.block * a.block * a.channels));
      }
      __threadfence();
      finished[turn] = step + 1;
    }
    __syncthreads();
  }
}

}  // namespace fluxshard
