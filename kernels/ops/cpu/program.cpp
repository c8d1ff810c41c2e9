// A fused segment of a network in one call, in place of a hundred calls from Python.
#include "program.h"

using namespace fluxshard;

extern "C" void fluxshard_pointwise(int, const float*, int64_t, const float*, int64_t, const int32_t*, int64_t,
                                    int64_t, int64_t, float*, int64_t, int64_t, int64_t, int64_t, int, float);
extern "C" void fluxshard_shuffle(const float*, int64_t, const int32_t*, int64_t, int64_t, int64_t, float*, int64_t,
                                  int64_t, int64_t, int64_t, const int64_t*, int, float);
extern "C" void fluxshard_move(const float*, int64_t, const int16_t*, const uint8_t*, float*, int64_t, int64_t,
                                int64_t, int64_t);

// Sets with origins read `arenas`, the others `reference`.
extern "C" void fluxshard_program_in(const Step* steps, int64_t count, const ActiveSet* sets, float* cache,
                                     float* workspace, const float* reference, const float* const* arenas) {
  float* bases[2] = {cache, workspace};
  for (const Step* step = steps; step < steps + count; ++step) {
    const ActiveSet& here = sets[step->set_index];
    const ActiveSet& behind = sets[step->source_set];
    float* out = bases[step->out.base] + step->out.offset;
    const float* source = bases[step->source.base] + step->source.offset;
    const float* second = step->second.offset < 0 ? nullptr : bases[step->second.base] + step->second.offset;
    // A map that is read around is always kept, so its place is the same in every arena.
    Source from{source, behind.height, behind.width, step->source.pixel_stride, nullptr, 0, nullptr, nullptr};
    if (step->halo && behind.origins != nullptr) {
      from.origins = behind.origins, from.arenas = arenas, from.offset = step->source.offset;
    } else if (step->halo) {
      from.reference = reference + step->source.offset, from.reference_pixel = step->source.pixel_stride;
      from.fresh = behind.fresh, from.displacement = behind.displacement;
    }
    const int activation = static_cast<int>(step->activation), operation = static_cast<int>(step->operation);
    const float slope = static_cast<float>(step->slope);
    if (step->kind == 4) {
      if (here.displacement == nullptr) continue;  // nothing of this active set is reused
      fluxshard_move(reference + step->source.offset, step->source.pixel_stride, here.displacement, here.fresh, out,
                      here.height, here.width, step->out.pixel_stride, step->channels);
      continue;
    }
    if (here.count == 0) continue;
    switch (step->kind) {
      case 0:
        convolve(from, here.tiles, here.count, here.tile_height, here.tile_width, out, here.height, here.width,
                 step->out.pixel_stride, step->out_row, second, step->second.pixel_stride, step->geometry, step->weight,
                 step->bias, step->zeros, activation, slope);
        break;
      case 1:
        pool(from, operation, step->geometry, static_cast<int>(step->flag), here.tiles, here.count, here.tile_height,
             here.tile_width, out, here.height, here.width, step->out.pixel_stride, step->channels);
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
        upsample_nearest(from, here.tiles, here.count, here.tile_height, here.tile_width, out, here.height, here.width,
                         step->out.pixel_stride, step->channels);
    }
  }
}

extern "C" void fluxshard_program(const Step* steps, int64_t count, const ActiveSet* sets, float* cache,
                                  float* workspace, const float* reference) {
  fluxshard_program_in(steps, count, sets, cache, workspace, reference, nullptr);
}
