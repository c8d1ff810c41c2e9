// Operations that move rows of channels: gather, scatter, remap, prune.
#include <cmath>

#include "vectors.h"

using namespace fluxshard;

extern "C" void fluxshard_gather(const float* map, int64_t height, int64_t width, int64_t pixel,
                                 const float* reference, int64_t reference_pixel, const uint8_t* fresh,
                                 const int16_t* displacement, const int32_t* tiles, int64_t tile_count,
                                 int64_t window_height, int64_t window_width, int64_t stride_y,
                                 int64_t stride_x, int64_t padding_y, int64_t padding_x, int64_t channels,
                                 float fill, float* out) {
  Source source{map, height, width, pixel, reference, reference_pixel, fresh, displacement};
  const size_t bytes = sizeof(float) * static_cast<size_t>(channels);
  const bool whole_rows = fresh == nullptr && pixel == channels;
  for (int64_t i = 0; i < tile_count; ++i) {
    int64_t top = tiles[2 * i] * stride_y - padding_y, left = tiles[2 * i + 1] * stride_x - padding_x;
    for (int64_t y = top; y < top + window_height; ++y) {
      if (whole_rows && y >= 0 && y < height && left >= 0 && left + window_width <= width) {
        std::memcpy(out, map + (y * width + left) * pixel, bytes * static_cast<size_t>(window_width));
        out += window_width * channels;
        continue;
      }
      for (int64_t x = left; x < left + window_width; ++x, out += channels) {
        if (source.inside(y, x)) {
          std::memcpy(out, source.at(y, x), bytes);
        } else {
          for (int64_t c = 0; c < channels; ++c) out[c] = fill;
        }
      }
    }
  }
}

extern "C" void fluxshard_scatter(const float* values, const int32_t* tiles, int64_t tile_count,
                                  int64_t tile_height, int64_t tile_width, int64_t channels, float* out,
                                  int64_t height, int64_t width, int64_t pixel) {
  for (int64_t i = 0; i < tile_count; ++i) {
    int64_t top = tiles[2 * i], left = tiles[2 * i + 1];
    int64_t run = left + tile_width < width ? tile_width : width - left;
    if (run <= 0) continue;  // all of it lies beyond the map
    for (int64_t row = 0; row < tile_height && top + row < height; ++row) {
      const float* from = values + (i * tile_height + row) * tile_width * channels;
      float* to = out + ((top + row) * width + left) * pixel;
      if (pixel == channels) {
        std::memcpy(to, from, sizeof(float) * static_cast<size_t>(run * channels));
      } else {
        for (int64_t x = 0; x < run; ++x)
          std::memcpy(to + x * pixel, from + x * channels, sizeof(float) * static_cast<size_t>(channels));
      }
    }
  }
}

// Neighbours that move alike are copied in one piece.
extern "C" void fluxshard_move(const float* reference, int64_t reference_pixel, const int16_t* displacement,
                                const uint8_t* fresh, float* out, int64_t height, int64_t width, int64_t pixel,
                                int64_t channels) {
  const bool whole = reference_pixel == channels && pixel == channels;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width;) {
      int64_t index = y * width + x;
      if (fresh != nullptr && fresh[index]) {
        ++x;
        continue;
      }
      int32_t move, next;
      std::memcpy(&move, displacement + 2 * index, sizeof move);
      int64_t run = 1;
      for (; x + run < width; ++run) {
        std::memcpy(&next, displacement + 2 * (index + run), sizeof next);
        if (next != move || (fresh != nullptr && fresh[index + run])) break;
      }
      int64_t shift = displacement[2 * index];
      int64_t row = clamp(y + displacement[2 * index + 1], height - 1);
      for (int64_t done = 0; done < run;) {
        int64_t column = clamp(x + done + shift, width - 1);
        // Clamped positions repeat the border, one by one; the others are one run.
        int64_t piece = x + done + shift < 0 || x + done + shift >= width ? 1 : run - done;
        if (column + piece > width) piece = width - column;
        const float* from = reference + (row * width + column) * reference_pixel;
        float* to = out + (index + done) * pixel;
        if (whole) {
          copy_past(to, from, piece * channels);
        } else {
          for (int64_t p = 0; p < piece; ++p) copy_past(to + p * pixel, from + p * reference_pixel, channels);
        }
        done += piece;
      }
      x += run;
    }
  }
  finish_streaming();
}

// `fluxshard_move` where nothing moves: the positions that are not fresh (0, not 1), each from its own place.
extern "C" void fluxshard_keep(const float* reference, int64_t pixel, const uint8_t* fresh, float* out,
                               int64_t positions, int64_t channels) {
  auto find = [&](int64_t from, int value) {
    const void* found = std::memchr(fresh + from, value, static_cast<size_t>(positions - from));
    return found == nullptr ? positions : static_cast<const uint8_t*>(found) - fresh;
  };
  for (int64_t at = 0; (at = find(at, 0)) < positions;) {
    const int64_t end = find(at, 1);
    if (pixel == channels) {
      copy_past(out + at * pixel, reference + at * pixel, (end - at) * channels);
      at = end;
    }
    for (; at < end; ++at) copy_past(out + at * pixel, reference + at * pixel, channels);
  }
  finish_streaming();
}

extern "C" void fluxshard_move_bilinear(const float* reference, int64_t reference_pixel,
                                         const float* displacement, const uint8_t* fresh, float* out,
                                         int64_t height, int64_t width, int64_t pixel, int64_t channels) {
  for (int64_t index = 0; index < height * width; ++index) {
    if (fresh != nullptr && fresh[index]) continue;
    float column = static_cast<float>(index % width) + displacement[2 * index];
    float row = static_cast<float>(index / width) + displacement[2 * index + 1];
    column = column < 0.0f ? 0.0f : (column > static_cast<float>(width - 1) ? static_cast<float>(width - 1) : column);
    row = row < 0.0f ? 0.0f : (row > static_cast<float>(height - 1) ? static_cast<float>(height - 1) : row);
    int64_t left = static_cast<int64_t>(column), top = static_cast<int64_t>(row);
    float weight_x = column - static_cast<float>(left), weight_y = row - static_cast<float>(top);
    int64_t right = left + 1 < width ? left + 1 : left, bottom = top + 1 < height ? top + 1 : top;
    const float* a = reference + (top * width + left) * reference_pixel;
    const float* b = reference + (top * width + right) * reference_pixel;
    const float* c = reference + (bottom * width + left) * reference_pixel;
    const float* d = reference + (bottom * width + right) * reference_pixel;
    float* to = out + index * pixel;
    for (int64_t i = 0; i < channels; ++i) {
      float upper = a[i] * (1.0f - weight_x) + b[i] * weight_x;
      float lower = c[i] * (1.0f - weight_x) + d[i] * weight_x;
      to[i] = upper * (1.0f - weight_y) + lower * weight_y;
    }
  }
}

extern "C" void fluxshard_prune(const float* values, int64_t values_pixel, const int32_t* tiles,
                                int64_t tile_count, int64_t tile_height, int64_t tile_width, float* out,
                                int64_t height, int64_t width, int64_t pixel, int64_t channels, float epsilon,
                                uint8_t* changed) {
  each_position(tiles, tile_count, tile_height, tile_width, height, width, [&](int64_t y, int64_t x) {
    int64_t index = y * width + x;
    const float* from = values + index * values_pixel;
    float* to = out + index * pixel;
    bool keep = false;
    // Negated so that a NaN counts as changed.
    for (int64_t c = 0; c < channels; ++c) keep |= !(std::fabs(from[c] - to[c]) <= epsilon);
    if (!keep) return;
    std::memcpy(to, from, sizeof(float) * static_cast<size_t>(channels));
    changed[index] = 1;
  });
}

// Planes (C, H, W) to channels last, at the tiles and `margin` positions around them; the rest is not touched.
extern "C" void fluxshard_interleave(const float* planes, int64_t channels, int64_t height, int64_t width,
                                     const int32_t* tiles, int64_t tile_count, int64_t tile_height,
                                     int64_t tile_width, int64_t margin, float* out) {
  for (int64_t i = 0; i < tile_count; ++i) {
    int64_t top = tiles[2 * i] - margin, left = tiles[2 * i + 1] - margin;
    int64_t bottom = clamp(top + tile_height + 2 * margin, height), right = clamp(left + tile_width + 2 * margin, width);
    top = clamp(top, height);
    left = clamp(left, width);
    for (int64_t y = top; y < bottom; ++y)
      for (int64_t c = 0; c < channels; ++c) {
        const float* from = planes + (c * height + y) * width;
        float* to = out + y * width * channels + c;
        for (int64_t x = left; x < right; ++x) to[x * channels] = from[x];
      }
  }
}
