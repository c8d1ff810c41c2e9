// A fused segment of a network in one call, in place of a hundred calls from Python.
#include "vectors.h"

using namespace fluxshard;

extern "C" void fluxshard_convolve(const float*, int64_t, int64_t, int64_t, const float*, int64_t, const uint8_t*,
                                   const int16_t*, const int32_t*, int64_t, int64_t, int64_t, float*, int64_t,
                                   int64_t, int64_t, int64_t, const float*, int64_t, const int64_t*, const float*,
                                   const float*, const float*, int, float);
extern "C" void fluxshard_pool(int, const int64_t*, int, const float*, int64_t, int64_t, int64_t, const float*,
                               int64_t, const uint8_t*, const int16_t*, const int32_t*, int64_t, int64_t, int64_t,
                               float*, int64_t, int64_t, int64_t, int64_t);
extern "C" void fluxshard_pointwise(int, const float*, int64_t, const float*, int64_t, const int32_t*, int64_t,
                                    int64_t, int64_t, float*, int64_t, int64_t, int64_t, int64_t, int, float);
extern "C" void fluxshard_upsample_nearest(const float*, int64_t, int64_t, int64_t, const float*, int64_t,
                                           const uint8_t*, const int16_t*, const int32_t*, int64_t, int64_t,
                                           int64_t, float*, int64_t, int64_t, int64_t, int64_t);
extern "C" void fluxshard_shuffle(const float*, int64_t, const int32_t*, int64_t, int64_t, int64_t, float*, int64_t,
                                  int64_t, int64_t, int64_t, const int64_t*, int, float);
extern "C" void fluxshard_remap(const float*, int64_t, const int16_t*, const uint8_t*, float*, int64_t, int64_t,
                                int64_t, int64_t);

namespace {

// Mirrored by ctypes structures in program.py.
struct MapAddress {
  int64_t base;    // which base pointer: 0 this frame's cache, 1 the workspace
  int64_t offset;  // in floats; -1: no such map
  int64_t pixel_stride;
};

struct Step {
  int64_t kind;  // 0 convolve, 1 pool, 2 pointwise, 3 nearest upsampling, 4 remap, 5 shuffle
  MapAddress source, second, out;
  int64_t source_set, set_index, out_row, channels, halo, activation, operation, flag;
  const int64_t* geometry;
  const float *weight, *bias, *zeros;
  double slope;
};

struct ActiveSet {
  const int32_t* tiles;
  int64_t count, tile_height, tile_width, height, width;
  const uint8_t* fresh;
  const int16_t* displacement;
};

}  // namespace

extern "C" void fluxshard_program(const Step* steps, int64_t count, const ActiveSet* sets, float* cache,
                                  float* workspace, const float* reference) {
  float* bases[2] = {cache, workspace};
  for (const Step* step = steps; step < steps + count; ++step) {
    const ActiveSet& here = sets[step->set_index];
    const ActiveSet& behind = sets[step->source_set];
    float* out = bases[step->out.base] + step->out.offset;
    const float* source = bases[step->source.base] + step->source.offset;
    const float* second = step->second.offset < 0 ? nullptr : bases[step->second.base] + step->second.offset;
    // A map that is read around is always kept, so its place in the reference's cache is its place in this one.
    const float* before = step->halo ? reference + step->source.offset : nullptr;
    const uint8_t* fresh = step->halo ? behind.fresh : nullptr;
    const int16_t* displacement = step->halo ? behind.displacement : nullptr;
    const int activation = static_cast<int>(step->activation), operation = static_cast<int>(step->operation);
    const float slope = static_cast<float>(step->slope);
    if (step->kind == 4) {
      if (here.displacement == nullptr) continue;  // nothing of this active set is reused
      fluxshard_remap(reference + step->source.offset, step->source.pixel_stride, here.displacement, here.fresh, out,
                      here.height, here.width, step->out.pixel_stride, step->channels);
      continue;
    }
    if (here.count == 0) continue;
    switch (step->kind) {
      case 0:
        fluxshard_convolve(source, behind.height, behind.width, step->source.pixel_stride, before,
                           step->source.pixel_stride, fresh, displacement, here.tiles, here.count,
                           here.tile_height, here.tile_width, out, here.height, here.width,
                           step->out.pixel_stride, step->out_row, second, step->second.pixel_stride,
                           step->geometry, step->weight, step->bias, step->zeros, activation, slope);
        break;
      case 1:
        fluxshard_pool(operation, step->geometry, static_cast<int>(step->flag), source, behind.height,
                       behind.width, step->source.pixel_stride, before, step->source.pixel_stride, fresh, displacement,
                       here.tiles, here.count, here.tile_height, here.tile_width, out, here.height, here.width,
                       step->out.pixel_stride, step->channels);
        break;
      case 2:
        fluxshard_pointwise(operation, source, step->source.pixel_stride, second, step->second.pixel_stride, here.tiles,
                            here.count, here.tile_height, here.tile_width, out, here.height, here.width,
                            step->out.pixel_stride, step->channels, activation, slope);
        break;
      case 5:
        fluxshard_shuffle(source, step->source.pixel_stride, here.tiles, here.count, here.tile_height, here.tile_width,
                          out, here.height, here.width, step->out.pixel_stride, step->channels, step->geometry,
                          activation, slope);
        break;
      default:
        fluxshard_upsample_nearest(source, behind.height, behind.width, step->source.pixel_stride, before,
                                   step->source.pixel_stride, fresh, displacement, here.tiles, here.count,
                                   here.tile_height, here.tile_width, out, here.height, here.width,
                                   step->out.pixel_stride, step->channels);
    }
  }
}
