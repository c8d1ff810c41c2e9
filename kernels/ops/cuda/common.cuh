// What every kernel shares: packs of elements, maps, halos, activations.
//
// C++14, no library beyond the toolkit's own headers: nvcc 11.4 to 13, NVRTC, and g++ with shim/shim.h.
#pragma once

#ifdef FLUXSHARD_SHIM
#include "shim/shim.h"
#else
#include <cuda_fp16.h>
#define FLUXSHARD_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#define FLUXSHARD_ALIGNED(pointer, bytes)
#endif

namespace fluxshard {

typedef __half half_t;
typedef unsigned char byte_t;

constexpr int kThreads = 256;  // of every kernel that moves data
constexpr unsigned kAllLanes = 0xffffffffu;

// V elements that one instruction loads or stores: 16 bytes where alignment allows, else one element.
template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

template <typename T, int V>
__device__ __forceinline__ Pack<T, V> load(const T* from) {
  FLUXSHARD_ALIGNED(from, sizeof(Pack<T, V>));
  return *reinterpret_cast<const Pack<T, V>*>(from);
}

template <typename T, int V>
__device__ __forceinline__ void store(T* to, const Pack<T, V>& value) {
  FLUXSHARD_ALIGNED(to, sizeof(Pack<T, V>));
  *reinterpret_cast<Pack<T, V>*>(to) = value;
}

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(half_t value) { return __half2float(value); }

template <typename T>
__device__ __forceinline__ T narrow(float value);
template <>
__device__ __forceinline__ float narrow<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ half_t narrow<half_t>(float value) {
  return __float2half_rn(value);
}

template <typename T, int V>
__device__ __forceinline__ Pack<T, V> splat(float value) {
  Pack<T, V> result;
#pragma unroll
  for (int i = 0; i < V; ++i) result.v[i] = narrow<T>(value);
  return result;
}

__device__ __forceinline__ int clamp(int value, int high) {
  return value < 0 ? 0 : (value > high ? high : value);
}

enum Sampling { kNoHalo = 0, kNearest = 1, kBilinear = 2 };

// A map of (height, width) positions, `pixel` elements apart, and the reference behind it (maps.Halo).
template <typename T>
struct Source {
  const T* map;
  int height, width, pixel;
  const T* reference;
  int reference_pixel;
  const byte_t* fresh;
  const void* displacement;  // short (dx, dy) or float (dx, dy)
  int sampling;
};

// The reference's element packs at (y, x) moved along the displacement of position `index`.
template <typename T, int V>
__device__ __forceinline__ Pack<T, V> sample_nearest(const Source<T>& source, int index, int y, int x,
                                                     int channel) {
  const short2 move = static_cast<const short2*>(source.displacement)[index];
  const int row = clamp(y + move.y, source.height - 1), column = clamp(x + move.x, source.width - 1);
  const long long place = static_cast<long long>(row * source.width + column) * source.reference_pixel;
  return load<T, V>(source.reference + place + channel);
}

// The products and sums are rounded one by one, as the plain-torch reference rounds them.
template <typename T, int V>
__device__ __forceinline__ Pack<T, V> sample_bilinear(const Source<T>& source, int index, int y, int x,
                                                      int channel) {
  const float2 move = static_cast<const float2*>(source.displacement)[index];
  const float column = fminf(fmaxf(x + move.x, 0.0f), static_cast<float>(source.width - 1));
  const float row = fminf(fmaxf(y + move.y, 0.0f), static_cast<float>(source.height - 1));
  const int left = static_cast<int>(column), top = static_cast<int>(row);
  const int right = left + 1 < source.width ? left + 1 : left;
  const int bottom = top + 1 < source.height ? top + 1 : top;
  const float weight_x = column - left, weight_y = row - top;
  const T* base = source.reference + channel;
  const long long pixel = source.reference_pixel;
  const Pack<T, V> a = load<T, V>(base + (top * source.width + left) * pixel);
  const Pack<T, V> b = load<T, V>(base + (top * source.width + right) * pixel);
  const Pack<T, V> c = load<T, V>(base + (bottom * source.width + left) * pixel);
  const Pack<T, V> d = load<T, V>(base + (bottom * source.width + right) * pixel);
  Pack<T, V> result;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    const float upper =
        __fadd_rn(__fmul_rn(widen(a.v[i]), 1.0f - weight_x), __fmul_rn(widen(b.v[i]), weight_x));
    const float lower =
        __fadd_rn(__fmul_rn(widen(c.v[i]), 1.0f - weight_x), __fmul_rn(widen(d.v[i]), weight_x));
    result.v[i] = narrow<T>(__fadd_rn(__fmul_rn(upper, 1.0f - weight_y), __fmul_rn(lower, weight_y)));
  }
  return result;
}

template <typename T, int V>
__device__ __forceinline__ Pack<T, V> sample(const Source<T>& source, int index, int y, int x, int channel) {
  if (source.sampling == kBilinear) return sample_bilinear<T, V>(source, index, y, x, channel);
  return sample_nearest<T, V>(source, index, y, x, channel);
}

template <typename T>
__device__ __forceinline__ bool is_inside(const Source<T>& source, int y, int x) {
  return y >= 0 && y < source.height && x >= 0 && x < source.width;
}

// V channels of position (y, x): this frame's where fresh, else the reference's along the vector, and `fill`
// outside the map.
template <typename T, int V>
__device__ __forceinline__ Pack<T, V> read(const Source<T>& source, int y, int x, int channel, float fill) {
  if (!is_inside(source, y, x)) return splat<T, V>(fill);
  const int index = y * source.width + x;
  if (source.sampling == kNoHalo || source.fresh[index])
    return load<T, V>(source.map + static_cast<long long>(index) * source.pixel + channel);
  return sample<T, V>(source, index, y, x, channel);
}

// Tiles of output positions, and the map they are written to.
struct Tiles {
  const int* first;  // (y, x) of each tile's first position
  int count, height, width;

  __device__ __forceinline__ int positions() const { return count * height * width; }
};

struct Position {
  int y, x;
};

__device__ __forceinline__ Position position_of(const Tiles& tiles, int number) {
  const int area = tiles.height * tiles.width;
  const int tile = number / area, offset = number - tile * area;
  const int row = offset / tiles.width;
  Position result = {tiles.first[2 * tile] + row, tiles.first[2 * tile + 1] + offset - row * tiles.width};
  return result;
}

template <typename T>
struct Target {
  T* map;
  int height, width, pixel;

  __device__ __forceinline__ bool holds(Position p) const { return p.y < height && p.x < width; }
  __device__ __forceinline__ long long offset(Position p) const {
    return static_cast<long long>(p.y * width + p.x) * pixel;
  }
};

// The order of maps.ACTIVATIONS.
enum Activation {
  kNone, kRelu, kSilu, kSigmoid, kLeakyRelu, kHardswish, kRelu6, kTanh, kHardsigmoid, kGelu, kGeluTanh
};

// Comparisons that keep a NaN, as torch does.
__device__ __forceinline__ float at_least(float x, float bound) { return x < bound ? bound : x; }
__device__ __forceinline__ float at_most(float x, float bound) { return x > bound ? bound : x; }

__device__ __forceinline__ float activate(float x, int activation, float slope) {
  switch (activation) {
    case kRelu:
      return at_least(x, 0.0f);
    case kSilu:
      return x / (1.0f + expf(-x));
    case kSigmoid:
      return 1.0f / (1.0f + expf(-x));
    case kLeakyRelu:
      return x < 0.0f ? x * slope : x;
    case kHardswish:
      return x * at_most(at_least(x + 3.0f, 0.0f), 6.0f) / 6.0f;
    case kRelu6:
      return at_most(at_least(x, 0.0f), 6.0f);
    case kTanh:
      return tanhf(x);
    case kHardsigmoid:
      return at_most(at_least(x + 3.0f, 0.0f), 6.0f) / 6.0f;
    case kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case kGeluTanh:
      return x / (1.0f + expf(-1.5957691216f * (x + 0.044715f * x * x * x)));
    default:
      return x;
  }
}

}  // namespace fluxshard
