// The steps of a program, the active sets that they refer to, and the operations that read around a position.
#pragma once

#include "vectors.h"

namespace fluxshard {

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
  const int32_t* origins;  // in place of fresh and displacement, where maps are read in several arenas
};

void convolve(const Source& source, const int32_t* tiles, int64_t tile_count, int64_t tile_height, int64_t tile_width,
              float* out, int64_t out_height, int64_t out_width, int64_t out_pixel, int64_t out_row,
              const float* residual, int64_t residual_pixel, const int64_t* geometry, const float* weight,
              const float* bias, const float* zeros, int activation, float slope);

void pool(const Source& source, int maximum, const int64_t* geometry, int count_padding, const int32_t* tiles,
          int64_t tile_count, int64_t tile_height, int64_t tile_width, float* out, int64_t out_height,
          int64_t out_width, int64_t out_pixel, int64_t channels);

void upsample_nearest(const Source& source, const int32_t* tiles, int64_t tile_count, int64_t tile_height,
                      int64_t tile_width, float* out, int64_t out_height, int64_t out_width, int64_t out_pixel,
                      int64_t channels);

}  // namespace fluxshard
