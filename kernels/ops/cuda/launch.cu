// The C interface: raw pointers, sizes, a stream; each returns the cudaError of its launch, and waits for
// nothing. `type` is 0 for float32, 1 for float16; strides count elements; a null pointer means none.
#include "convolve.cuh"
#include "elementwise.cuh"
#include "move.cuh"
#include "search.cuh"

#ifdef FLUXSHARD_DRIVER
#include "driver.h"
#endif
#ifndef FLUXSHARD_SHIM
#include <cuda_runtime.h>
#endif

#include <climits>
#include <cstdint>

using namespace fluxshard;

namespace {

typedef cudaStream_t Stream;

template <typename... P, typename... A>
int launch(void (*kernel)(P...), dim3 grid, int threads, int shared_bytes, Stream stream, A... arguments) {
#if defined(FLUXSHARD_DRIVER)
  return driver::launch<P...>(kernel, grid, threads, shared_bytes, stream, static_cast<P>(arguments)...);
#elif defined(FLUXSHARD_SHIM)
  (void)stream;
  return shim::run(grid, threads, shared_bytes, [&] { kernel(static_cast<P>(arguments)...); });
#else
  kernel<<<grid, threads, shared_bytes, stream>>>(static_cast<P>(arguments)...);
  return static_cast<int>(cudaGetLastError());
#endif
}

// One thread a pack. Launches nothing for nothing; indices in the kernels are 32 bits wide.
template <typename... P, typename... A>
int launch_packs(void (*kernel)(P...), long long total, Stream stream, A... arguments) {
  if (total == 0) return 0;
  if (total > INT_MAX) return static_cast<int>(cudaErrorInvalidValue);
  return launch(kernel, dim3((total + kThreads - 1) / kThreads), kThreads, 0, stream, arguments...);
}

bool is_aligned(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

template <typename T>
constexpr int wide() {
  return 16 / static_cast<int>(sizeof(T));
}

// Whether a row of channels that starts at `map`, `pixel` elements from the next, splits into 16-byte packs.
template <typename T>
bool packs(const void* map, int pixel) {
  return map == nullptr || (is_aligned(map, 16) && pixel % wide<T>() == 0);
}

}  // namespace

// What describes a source, in this order, in every function below.
#define SOURCE_PARAMETERS                                                                                  \
  const void *map, int height, int width, int pixel, const void *reference, int reference_pixel,           \
      const unsigned char *fresh, const void *displacement, int sampling
#define SOURCE(T)                                                                                          \
  Source<T> {                                                                                              \
    static_cast<const T*>(map), height, width, pixel, static_cast<const T*>(reference), reference_pixel,   \
        fresh, displacement, sampling                                                                      \
  }
#define TILE_PARAMETERS const int *tiles, int tile_count, int tile_height, int tile_width
#define TILES \
  Tiles { tiles, tile_count, tile_height, tile_width }
#define OUT_PARAMETERS void *out, int out_height, int out_width, int out_pixel
#define TARGET(T) \
  Target<T> { static_cast<T*>(out), out_height, out_width, out_pixel }
#define POSITIONS (static_cast<long long>(tile_count) * tile_height * tile_width)

// Picks the element type and the pack width, then evaluates CALL(T, V).
#define FOR_TYPE_AND_PACK(packed_float, packed_half, CALL)                       \
  do {                                                                           \
    if (type == 0) return (packed_float) ? CALL(float, 4) : CALL(float, 1);      \
    return (packed_half) ? CALL(half_t, 8) : CALL(half_t, 1);                    \
  } while (false)

extern "C" {

int fluxshard_gather(int type, SOURCE_PARAMETERS, const int* tiles, int tile_count, int window_height,
                     int window_width, int stride_y, int stride_x, int padding_y, int padding_x, int channels,
                     float fill, void* out, Stream stream) {
  const long long positions = static_cast<long long>(tile_count) * window_height * window_width;
#define PACKED(T)                                                                                          \
  (channels % wide<T>() == 0 && packs<T>(map, pixel) && packs<T>(reference, reference_pixel) &&            \
   packs<T>(out, channels))
#define CALL(T, V)                                                                                         \
  launch_packs(gather_kernel<T, V>, positions * (channels / V), stream, SOURCE(T), tiles,                  \
               positions * (channels / V), window_height, window_width, stride_y, stride_x, padding_y,     \
               padding_x, channels, fill, static_cast<T*>(out))
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

int fluxshard_scatter(int type, const void* values, TILE_PARAMETERS, int channels, OUT_PARAMETERS,
                      Stream stream) {
#define PACKED(T) (channels % wide<T>() == 0 && packs<T>(values, channels) && packs<T>(out, out_pixel))
#define CALL(T, V)                                                                                         \
  launch_packs(scatter_kernel<T, V>, POSITIONS*(channels / V), stream, static_cast<const T*>(values),      \
               TILES, POSITIONS*(channels / V), channels, TARGET(T))
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

int fluxshard_remap(int type, const void* reference, int reference_pixel, const void* displacement, int sampling,
                    const unsigned char* fresh, int channels, OUT_PARAMETERS, Stream stream) {
  const void* map = nullptr;
  const int height = out_height, width = out_width, pixel = 0;
  const long long positions = static_cast<long long>(height) * width;
#define PACKED(T) \
  (channels % wide<T>() == 0 && packs<T>(reference, reference_pixel) && packs<T>(out, out_pixel))
#define CALL(T, V)                                                                                         \
  launch_packs(remap_kernel<T, V>, positions * (channels / V), stream, SOURCE(T),                          \
               positions * (channels / V), channels, TARGET(T))
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

int fluxshard_prune(int type, const void* values, int values_pixel, TILE_PARAMETERS, int channels, float epsilon,
                    unsigned char* changed, OUT_PARAMETERS, Stream stream) {
  // As many threads a position as it has packs, so that a thin map leaves no thread idle.
#define PACKED(T) (channels % wide<T>() == 0 && packs<T>(values, values_pixel) && packs<T>(out, out_pixel))
#define CALL(T, V)                                                                                         \
  launch_packs(prune_kernel<T, V>, POSITIONS* lanes(channels / V), stream, static_cast<const T*>(values),  \
               values_pixel, TILES, channels, epsilon, lanes(channels / V), changed, TARGET(T))
  const auto lanes = [](int packs) {
    int count = 1;
    while (count < packs && count < 32) count *= 2;
    return count;
  };
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

// `window`: kernel, stride, padding, dilation; (vertical, horizontal) each.
int fluxshard_pool(int type, int maximum, const int* window, int count_padding, SOURCE_PARAMETERS,
                   TILE_PARAMETERS, int channels, OUT_PARAMETERS, Stream stream) {
  const Window w = {window[0], window[1], window[2], window[3], window[4], window[5], window[6], window[7]};
#define PACKED(T)                                                                                          \
  (channels % wide<T>() == 0 && packs<T>(map, pixel) && packs<T>(reference, reference_pixel) &&            \
   packs<T>(out, out_pixel))
#define CALL(T, V)                                                                                         \
  launch_packs(pool_kernel<T, V>, POSITIONS*(channels / V), stream, maximum, w, count_padding, SOURCE(T),  \
               TILES, POSITIONS*(channels / V), channels, TARGET(T))
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

int fluxshard_pointwise(int type, int operation, const void* first, int first_pixel, const void* second,
                        int second_pixel, TILE_PARAMETERS, int channels, int activation, float slope,
                        OUT_PARAMETERS, Stream stream) {
#define PACKED(T)                                                                                          \
  (channels % wide<T>() == 0 && packs<T>(first, first_pixel) && packs<T>(second, second_pixel) &&          \
   packs<T>(out, out_pixel))
#define CALL(T, V)                                                                                         \
  launch_packs(pointwise_kernel<T, V>, POSITIONS*(channels / V), stream, operation,                        \
               static_cast<const T*>(first), first_pixel, static_cast<const T*>(second), second_pixel,     \
               TILES, POSITIONS*(channels / V), channels, activation, slope, TARGET(T))
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

int fluxshard_upsample(int type, int bilinear, int align_corners, float step_y, float step_x, SOURCE_PARAMETERS,
                       TILE_PARAMETERS, int channels, OUT_PARAMETERS, Stream stream) {
#define PACKED(T)                                                                                          \
  (channels % wide<T>() == 0 && packs<T>(map, pixel) && packs<T>(reference, reference_pixel) &&            \
   packs<T>(out, out_pixel))
#define CALL(T, V)                                                                                         \
  launch_packs(upsample_kernel<T, V>, POSITIONS*(channels / V), stream, bilinear, align_corners, step_y,   \
               step_x, SOURCE(T), TILES, POSITIONS*(channels / V), channels, TARGET(T))
  FOR_TYPE_AND_PACK(PACKED(float), PACKED(half_t), CALL);
#undef PACKED
#undef CALL
}

}  // extern "C"

namespace {

template <int BM, int BN, int BK, int TM, int TN, int V, bool Bilinear>
int launch_single(const ConvolveArguments<float>& a, long long rows, int groups, Stream stream) {
  const dim3 grid((rows + BM - 1) / BM, (a.outputs + BN - 1) / BN, groups);
  const int bytes = single_bytes<BM, BN, BK>(a.window.kernel_y * a.window.kernel_x);
  return launch(convolve_single<BM, BN, BK, TM, TN, V, Bilinear>, grid, (BM / TM) * (BN / TN), bytes, stream, a);
}

template <int BM, int BN, int BK, int WM, int WN, int V, bool Bilinear>
int launch_half(const ConvolveArguments<half_t>& a, long long rows, int groups, Stream stream) {
  const dim3 grid((rows + BM - 1) / BM, (a.outputs + BN - 1) / BN, groups);
  const int bytes = half_bytes<BM, BN, BK>(a.window.kernel_y * a.window.kernel_x);
  const int threads = (BM / WM) * (BN / WN) * 32;
  return launch(convolve_half<BM, BN, BK, WM, WN, V, Bilinear>, grid, threads, bytes, stream, a);
}

// The shapes of a thread block's piece, smallest first: operations.CONFIGURATIONS names them. Unpacked inputs
// (an image's three channels) have one shape, which also samples bilinearly.
template <bool Bilinear>
int launch_dense(const ConvolveArguments<float>& a, int configuration, long long rows, int groups, bool packed,
                 Stream stream) {
  if (!packed) return launch_single<64, 64, 16, 8, 4, 1, true>(a, rows, groups, stream);
  if (configuration == 0) return launch_single<32, 32, 16, 4, 2, 4, Bilinear>(a, rows, groups, stream);
  if (configuration == 1) return launch_single<64, 64, 16, 8, 4, 4, Bilinear>(a, rows, groups, stream);
  return launch_single<128, 64, 16, 8, 4, 4, Bilinear>(a, rows, groups, stream);
}

template <bool Bilinear>
int launch_dense(const ConvolveArguments<half_t>& a, int configuration, long long rows, int groups, bool packed,
                 Stream stream) {
  if (!packed) return launch_half<64, 64, 32, 32, 32, 1, true>(a, rows, groups, stream);
  if (configuration == 0) return launch_half<32, 32, 32, 16, 16, 8, Bilinear>(a, rows, groups, stream);
  if (configuration == 1) return launch_half<64, 64, 32, 32, 32, 8, Bilinear>(a, rows, groups, stream);
  return launch_half<128, 64, 32, 32, 32, 8, Bilinear>(a, rows, groups, stream);
}

template <typename T>
int convolve(ConvolveArguments<T> a, int groups, bool depthwise, int configuration, Stream stream) {
  const long long rows = static_cast<long long>(a.tiles.count) * a.tiles.height * a.tiles.width;
  if (rows == 0) return 0;
  if (rows > INT_MAX) return static_cast<int>(cudaErrorInvalidValue);
  a.packed_writes = packs<T>(a.out.map, a.out.pixel) && packs<T>(a.residual, a.residual_pixel) &&
                    a.outputs % wide<T>() == 0;
  const bool packed_reads = a.inputs % wide<T>() == 0 && packs<T>(a.source.map, a.source.pixel) &&
                            packs<T>(a.source.reference, a.source.reference_pixel);
  if (!depthwise) {
    if (a.source.sampling == kBilinear) return launch_dense<true>(a, configuration, rows, groups, packed_reads, stream);
    return launch_dense<false>(a, configuration, rows, groups, packed_reads, stream);
  }
  const int channels = a.outputs;
  if (packed_reads && a.packed_writes) {
    const long long total = rows * (channels / wide<T>());
    return launch_packs(convolve_depthwise<T, wide<T>()>, total, stream, a, total, channels);
  }
  return launch_packs(convolve_depthwise<T, 1>, rows * channels, stream, a, rows * channels, channels);
}

}  // namespace

extern "C" {

// `window` as for pools. A depthwise convolution has inputs = outputs = channels, and weights [tap][column];
// any other has inputs and outputs of one group, and weights [group][tap][input][column]. `columns` is the
// padded number of outputs in the weights.
int fluxshard_convolve(int type, SOURCE_PARAMETERS, TILE_PARAMETERS, OUT_PARAMETERS, const void* residual,
                       int residual_pixel, const int* window, int inputs, int outputs, int columns, int groups,
                       int depthwise, const void* weight, const float* bias, int activation, float slope,
                       int configuration, Stream stream) {
  const Window w = {window[0], window[1], window[2], window[3], window[4], window[5], window[6], window[7]};
#define ARGUMENTS(T)                                                                                       \
  ConvolveArguments<T> {                                                                                   \
    SOURCE(T), TILES, TARGET(T), static_cast<const T*>(residual), residual_pixel, w, inputs, outputs,      \
        columns, static_cast<const T*>(weight), bias, activation, slope, false                             \
  }
  if (type == 0) return convolve(ARGUMENTS(float), groups, depthwise != 0, configuration, stream);
  return convolve(ARGUMENTS(half_t), groups, depthwise != 0, configuration, stream);
#undef ARGUMENTS
}

int fluxshard_prepare(const unsigned char* pixels, int height, int width, int channels, unsigned char* grey,
                      unsigned char* quarter, Stream stream) {
  if (channels == 3) {
    const int total = height * width;
    const int error = launch_packs(grey_kernel, total, stream, pixels, total, grey);
    if (error != 0) return error;
  }
  const long long quarters = static_cast<long long>(height / kCoarse) * (width / kCoarse);
  return launch_packs(quarter_kernel, quarters, stream, channels == 3 ? grey : pixels, height, width, quarter);
}

// `found`: 3 ints a block, scratch. `progress`: 2 * (1 + rows) ints, zero.
int fluxshard_search(const unsigned char* frame, const unsigned char* frame_grey,
                     const unsigned char* frame_quarter, const unsigned char* reference,
                     const unsigned char* reference_grey, const unsigned char* reference_quarter, int height,
                     int width, int channels, int block, int radius, const short* predicted, int* found,
                     int* progress, short* vectors, float* difference, Stream stream) {
  const SearchArguments a = {{frame, frame_grey, frame_quarter},
                             {reference, reference_grey, reference_quarter},
                             height, width, channels, block, radius,
                             reinterpret_cast<const short2*>(predicted)};
  const int rows = a.rows(), columns = a.columns();
  Candidate* candidates = reinterpret_cast<Candidate*>(found);
  int error = launch(search_blocks, dim3(columns, rows), kSearchThreads, 0, stream, a, candidates);
  if (error == 0)
    error = launch(settle_rows<false>, dim3(rows), kSettleThreads, 0, stream, a, found, progress, vectors,
                   difference);
  if (error == 0)
    error = launch(settle_rows<true>, dim3(rows), kSettleThreads, 0, stream, a, found, progress + 1 + rows,
                   vectors, difference);
  return error;
}

#ifdef FLUXSHARD_DRIVER
// The kernels of this process: a cubin, which must outlive it.
void fluxshard_open(const void* image) {
  std::lock_guard<std::mutex> lock(driver::state().mutex);
  driver::state().image = image;
}
const char* fluxshard_error(int error) { return driver::describe(error); }
#else
const char* fluxshard_error(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }
#endif

}  // extern "C"
