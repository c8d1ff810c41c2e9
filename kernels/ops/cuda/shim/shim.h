// Just enough of CUDA's language for g++ to run the kernels of the folder above on a processor.
//
// The threads of a block are fibers, run in turn until each waits at a barrier; blocks run one after another.
// What that shows: indices, borders, barriers, and races: as results that depend on the order of threads and
// blocks, and, compiled as races.cpp says, each by itself. What it cannot show: coalescing, speed, the order of
// memory between blocks, the tensor cores' own rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(count)
#define __shared__ static
#define FLUXSHARD_SHARED(name) unsigned char* name = shim::shared_memory()

using std::max;
using std::min;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct short2 {
  short x, y;
};

struct float2 {
  float x, y;
};

typedef void* cudaStream_t;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorLaunchFailure = 719 };

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

unsigned char* shared_memory();
void block_barrier();
int block_any(int value);
void warp_barrier();
uint64_t& warp_slot(unsigned lane);
void wait();  // lets the other threads go on, and fails if none can
const char* last_failure();

// For races.cpp: where the running thread is, and what an address is to it.
struct Place {
  uint64_t launch, epoch;  // the epoch counts the barriers of the block that are behind it
  unsigned block, thread;
};
Place where();
bool is_watched(uintptr_t address);
bool is_shared(uintptr_t address);
void fail(const char* message);
void stop(const char* message);  // fail, and end the thread

typedef void (*Body)(void* context);
int run_body(dim3 grid, int threads, int shared_bytes, Body body, void* context);

// Runs `kernel` once for every thread of every block.
template <typename Kernel>
int run(dim3 grid, int threads, int shared_bytes, Kernel kernel) {
  return run_body(grid, threads, shared_bytes, [](void* context) { (*static_cast<Kernel*>(context))(); }, &kernel);
}

// Between threads by design: no race.
#define FLUXSHARD_SYNCHRONISED __attribute__((no_sanitize_thread, noinline))

template <typename T>
FLUXSHARD_SYNCHRONISED T exchange(T value, unsigned from) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  warp_slot(threadIdx.x % 32) = bits;
  warp_barrier();
  bits = warp_slot(from);
  warp_barrier();
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace shim

#define FLUXSHARD_WAIT() shim::wait()
#define FLUXSHARD_ALIGNED(pointer, bytes) \
  if (reinterpret_cast<uintptr_t>(pointer) % (bytes) != 0) shim::stop("a misaligned access")

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? shim::last_failure() : error == cudaSuccess ? "no error" : "invalid value";
}

inline void __syncthreads() { shim::block_barrier(); }
inline int __syncthreads_or(int value) { return shim::block_any(value); }
inline void __threadfence() {}

template <typename T>
inline T __shfl_xor_sync(unsigned, T value, int mask) {
  return shim::exchange(value, (threadIdx.x % 32) ^ static_cast<unsigned>(mask));
}

FLUXSHARD_SYNCHRONISED inline int atomicAdd(int* address, int value) {
  const int before = *address;
  *address += value;
  return before;
}

inline unsigned __vsadu4(unsigned a, unsigned b) {
  unsigned sum = 0;
  for (int shift = 0; shift < 32; shift += 8)
    sum += static_cast<unsigned>(std::abs(static_cast<int>(a >> shift & 255) - static_cast<int>(b >> shift & 255)));
  return sum;
}

inline float __int_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Compiled with -ffp-contract=off, the plain operators round one by one.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }

struct __half {
  uint16_t bits;
};

inline float __half2float(__half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = value.bits >> 10 & 31u, fraction = value.bits & 0x3ffu;
  if (exponent == 31) return __int_as_float(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return __int_as_float(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
  return sign ? -magnitude : magnitude;
}

inline __half __float2half_rn(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  bits &= 0x7fffffffu;
  __half result = {sign};
  if (bits > 0x7f800000u) {
    result.bits |= 0x7fff;
  } else if (bits >= 0x477ff000u) {  // 65520 and above round to infinity
    result.bits |= 0x7c00;
  } else if (bits < 0x38800000u) {  // below 2^-14: steps of 2^-24, halves to even
    const float magnitude = __int_as_float(bits);
    result.bits |= static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, 24)));
  } else {
    bits += 0xfffu + (bits >> 13 & 1u);
    result.bits |= static_cast<uint16_t>((bits - 0x38000000u) >> 13);
  }
  return result;
}

// Fragments: lane 0 does the whole warp's work. It touches memory at its own turn, which the kernels' barriers
// make as good as any other lane's.
namespace nvcuda {
namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
enum layout_t { mem_row_major };

template <typename Use, int M, int N, int K, typename T, typename Layout = void>
struct fragment {
  float value[16][16];
};

inline bool is_first_lane() { return threadIdx.x % 32 == 0; }

template <typename Fragment>
inline void fill_fragment(Fragment& f, float value) {
  if (!is_first_lane()) return;
  for (auto& row : f.value)
    for (float& element : row) element = value;
}

template <typename Use>
inline void load_matrix_sync(fragment<Use, 16, 16, 16, __half, row_major>& f, const __half* from, unsigned pitch) {
  if (!is_first_lane()) return;
  if (reinterpret_cast<uintptr_t>(from) % 32 != 0 || pitch % 8 != 0) std::abort();  // the device requires it
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < 16; ++j) f.value[i][j] = __half2float(from[i * pitch + j]);
}

inline void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, 16, float>& f, unsigned pitch,
                              layout_t) {
  if (!is_first_lane()) return;
  if (reinterpret_cast<uintptr_t>(to) % 32 != 0 || pitch % 4 != 0) std::abort();
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < 16; ++j) to[i * pitch + j] = f.value[i][j];
}

template <typename A, typename B, typename C>
inline void mma_sync(C& d, const A& a, const B& b, const C& c) {
  if (!is_first_lane()) return;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float sum = c.value[i][j];
      for (int k = 0; k < 16; ++k) sum += a.value[i][k] * b.value[k][j];
      d.value[i][j] = sum;
    }
}

}  // namespace wmma
}  // namespace nvcuda
