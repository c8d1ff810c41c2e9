// Vectors as wide as the machine's, the activations on them, and how a halo finds a position.
// Written with the compilers' vector extensions: AVX-512, AVX2, SSE and NEON from one source.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace fluxshard {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t)), aligned(4)));
typedef int64_t Longs __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));

inline Vector load(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }

// Less zero, not plus: adding a zero would turn -0 into 0, so a compiler could not leave it out.
inline Vector splat(float value) { return value - Vector{}; }

// from[0], from[1], from[0], from[1], ...
inline Vector splat_pair(const float* from) {
  int64_t both;
  std::memcpy(&both, from, sizeof both);
  Longs repeated = both - Longs{};
  Vector value;
  std::memcpy(&value, &repeated, sizeof value);
  return value;
}

// The even lanes of one vector, then those of another; and the odd ones.
inline Vector even_lanes(Vector one, Vector two) {
  Vector value;
  for (int i = 0; i < kLanes / 2; ++i) value[i] = one[2 * i], value[kLanes / 2 + i] = two[2 * i];
  return value;
}

inline Vector odd_lanes(Vector one, Vector two) {
  Vector value;
  for (int i = 0; i < kLanes / 2; ++i) value[i] = one[2 * i + 1], value[kLanes / 2 + i] = two[2 * i + 1];
  return value;
}

#if defined(__AVX__) && !defined(__AVX512F__)
inline __m256i first_lanes(int count) {
  static const int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + 8 - count));
}
#endif

// The first `count` of a vector's values, the others 0. Through memory where there are no masks: three times slower.
inline Vector load_some(const float* from, int count) {
  if (count >= kLanes) return load(from);
#if defined(__AVX512F__)
  return Vector(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from));
#elif defined(__AVX__)
  return Vector(_mm256_maskload_ps(from, first_lanes(count)));
#else
  float values[kLanes] = {};
  std::memcpy(values, from, sizeof(float) * static_cast<size_t>(count));
  return load(values);
#endif
}

inline void store_some(float* to, Vector value, int count) {
  if (count >= kLanes) {
    store(to, value);
    return;
  }
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), __m512(value));
#elif defined(__AVX__)
  _mm256_maskstore_ps(to, first_lanes(count), __m256(value));
#else
  float values[kLanes];
  store(values, value);
  std::memcpy(to, values, sizeof(float) * static_cast<size_t>(count));
#endif
}

// A NaN of `value` has to come out again. Without -ffast-math no compiler makes one instruction of the comparison and
// the choice; these give their second operand where one is NaN.
#if defined(__AVX512F__)
inline Vector at_least(Vector value, float bound) { return Vector(_mm512_max_ps(__m512(splat(bound)), __m512(value))); }
inline Vector at_most(Vector value, float bound) { return Vector(_mm512_min_ps(__m512(splat(bound)), __m512(value))); }
#else
inline Vector at_least(Vector value, float bound) { return value < splat(bound) ? splat(bound) : value; }
inline Vector at_most(Vector value, float bound) { return value > splat(bound) ? splat(bound) : value; }
#endif

// exp by 2^n · p(r), |r| ≤ ln 2 / 2: relative error below 2e-7 on [-87, 88], infinity from 88.4 on: n is then 128,
// whose bits are infinity's. What divides by it becomes 0, however large it is.
inline Vector exponential(Vector x) {
  x = at_most(at_least(x, -87.0f), 89.0f);
  // 1.5 · 2^23: adding it rounds to an integer; 127: the low bits are then the exponent of 2^n as floats have it.
  const Vector magic = splat(12582912.0f + 127.0f);
  Vector shifted = x * 1.44269504088896341f + magic;
  Integers exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  Vector n = shifted - magic;
  Vector r = x - n * 0.693145751953125f;
  r = r - n * 1.42860682030941723e-6f;
  Vector p = splat(1.0f / 720.0f);
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Integers bits = exponent << 23;
  Vector scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

enum Activation { kNone, kRelu, kSilu, kSigmoid, kLeakyRelu, kHardswish, kRelu6, kTanh, kHardsigmoid, kGelu, kGeluTanh };

template <int activation>
inline Vector activate(Vector x, float slope) {
  switch (activation) {
    case kRelu:
      return at_least(x, 0.0f);
    case kSilu:
      return x / (exponential(-x) + 1.0f);
    case kSigmoid:
      return splat(1.0f) / (exponential(-x) + 1.0f);
    case kLeakyRelu:
      return x < splat(0.0f) ? x * slope : x;
    case kHardswish:
      return x * at_most(at_least(x + 3.0f, 0.0f), 6.0f) / 6.0f;
    case kRelu6:
      return at_most(at_least(x, 0.0f), 6.0f);
    case kTanh: {
      Vector small = at_most(at_least(x, -9.0f), 9.0f);
      Vector e = exponential(small * 2.0f);
      return (e - 1.0f) / (e + 1.0f);
    }
    case kHardsigmoid:
      return at_most(at_least(x + 3.0f, 0.0f), 6.0f) / 6.0f;
    case kGelu: {
      // x · Φ(x), with erfc(|x| / √2) as Abramowitz and Stegun 7.1.26: within 1.5e-7.
      Vector z = at_least(x, 0.0f) - at_most(x, 0.0f);
      Vector t = splat(1.0f) / (z * 0.23164189f + 1.0f);
      Vector p = t * 1.061405429f - 1.453152027f;
      p = p * t + 1.421413741f;
      p = p * t - 0.284496736f;
      p = p * t + 0.254829592f;
      Vector tail = at_most(z, 100.0f) * p * t * exponential(z * z * -0.5f) * 0.5f;
      return at_least(x, 0.0f) - tail;
    }
    case kGeluTanh:
      return x / (exponential((x * x * x * 0.044715f + x) * -1.5957691216f) + 1.0f);
    default:
      return x;
  }
}

// Calls body<activation>() with the run-time value as a compile-time one.
template <typename Body>
inline void with_activation(int activation, Body body) {
  switch (activation) {
#define FLUXSHARD_CASE(name) \
  case name:                 \
    body.template run<name>(); \
    break;
    FLUXSHARD_CASE(kRelu)
    FLUXSHARD_CASE(kSilu)
    FLUXSHARD_CASE(kSigmoid)
    FLUXSHARD_CASE(kLeakyRelu)
    FLUXSHARD_CASE(kHardswish)
    FLUXSHARD_CASE(kRelu6)
    FLUXSHARD_CASE(kTanh)
    FLUXSHARD_CASE(kHardsigmoid)
    FLUXSHARD_CASE(kGelu)
    FLUXSHARD_CASE(kGeluTanh)
    default:
      body.template run<kNone>();
#undef FLUXSHARD_CASE
  }
}

inline int64_t clamp(int64_t value, int64_t high) { return value < 0 ? 0 : (value > high ? high : value); }

// Where the value of a position lies: in which arena (0: this frame's), and at which position of its map there.
constexpr int kPositionBits = 24;  // mirrored in origins.py
inline int64_t arena_of(int32_t origin) { return origin >> kPositionBits; }
inline int64_t position_of(int32_t origin) { return origin & ((1 << kPositionBits) - 1); }

// A map and what lies behind it: nothing; or the reference, where `fresh` is given; or other arenas, where `origins`
// are. Strides in floats; `offset` is where the map starts in every arena.
struct Source {
  const float* map;
  int64_t height, width, pixel;
  const float* reference;
  int64_t reference_pixel;
  const uint8_t* fresh;
  const int16_t* displacement;
  const int32_t* origins = nullptr;
  const float* const* arenas = nullptr;
  int64_t offset = 0;

  // Whether every position lies in `map`.
  bool whole() const { return fresh == nullptr && origins == nullptr; }

  // Whether position `index` does.
  bool here(int64_t index) const { return origins ? arena_of(origins[index]) == 0 : fresh[index] != 0; }

  // The channels of position (y, x), which must lie inside the map.
  const float* at(int64_t y, int64_t x) const {
    int64_t index = y * width + x;
    if (whole() || here(index)) return map + index * pixel;
    if (origins) return arenas[arena_of(origins[index])] + offset + position_of(origins[index]) * pixel;
    int64_t column = clamp(x + displacement[2 * index], width - 1);
    int64_t row = clamp(y + displacement[2 * index + 1], height - 1);
    return reference + (row * width + column) * reference_pixel;
  }

  bool inside(int64_t y, int64_t x) const { return y >= 0 && y < height && x >= 0 && x < width; }
};

// A copy that does not pull its target into the caches: a moved map is read again in the next frame at the
// earliest, and fetching lines only to overwrite them is a third of the traffic.
inline void copy_past(float* to, const float* from, int64_t count) {
#if defined(__AVX512F__)
  if ((reinterpret_cast<uintptr_t>(to) & 63) == 0) {
    for (; count >= 16; count -= 16, to += 16, from += 16) _mm512_stream_ps(to, _mm512_loadu_ps(from));
  }
#elif defined(__AVX__)
  if ((reinterpret_cast<uintptr_t>(to) & 31) == 0) {
    for (; count >= 8; count -= 8, to += 8, from += 8) _mm256_stream_ps(to, _mm256_loadu_ps(from));
  }
#endif
  std::memcpy(to, from, sizeof(float) * static_cast<size_t>(count));
}

// Streaming stores are ordered by nothing else.
inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Calls visit(y, x, n) for every run of n positions (y, x), (y, x + 1), ... of the tiles that lies inside an output
// of height × width. Tiles side by side are one wide tile: memory is then read and written in its order, which
// decides how fast thin maps are.
template <typename Visit>
inline void each_run(const int32_t* tiles, int64_t count, int64_t tile_height, int64_t tile_width, int64_t height,
                     int64_t width, Visit visit) {
  for (int64_t i = 0; i < count;) {
    const int64_t top = tiles[2 * i], left = tiles[2 * i + 1];
    int64_t right = left + tile_width;
    for (++i; i < count && tiles[2 * i] == top && tiles[2 * i + 1] == right; ++i) right += tile_width;
    const int64_t bottom = top + tile_height < height ? top + tile_height : height;
    for (int64_t y = top; y < bottom; ++y) visit(y, left, (right < width ? right : width) - left);
  }
}

// Calls visit(y, x) for every position of the tiles that lies inside an output of height × width.
template <typename Visit>
inline void each_position(const int32_t* tiles, int64_t count, int64_t tile_height, int64_t tile_width,
                          int64_t height, int64_t width, Visit visit) {
  each_run(tiles, count, tile_height, tile_width, height, width, [&](int64_t y, int64_t x, int64_t length) {
    for (int64_t at = x; at < x + length; ++at) visit(y, at);
  });
}

}  // namespace fluxshard
