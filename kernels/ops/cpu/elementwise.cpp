// Pooling, element-wise operations and upsampling at a list of positions.
#include <limits>

#include "program.h"

using namespace fluxshard;

namespace {

struct Pointwise {
  int operation;  // copy, add, subtract, multiply
  const float *first, *second;
  int64_t first_pixel, second_pixel;
  const int32_t* tiles;
  int64_t tile_count, tile_height, tile_width;
  float* out;
  int64_t height, width, pixel, channels;
  float slope;

  template <int activation>
  void run() const {
    // Positions whose channels lie one after another in all maps are one long position.
    const bool joined = first_pixel == channels && pixel == channels && (!second || second_pixel == channels);
    each_run(tiles, tile_count, tile_height, tile_width, height, width, [&](int64_t y, int64_t x, int64_t length) {
      if (joined) {
        at<activation>(y * width + x, channels * length);
      } else {
        for (int64_t i = 0; i < length; ++i) at<activation>(y * width + x + i, channels);
      }
    });
  }

  template <int activation>
  void at(int64_t index, int64_t count) const {
    const float* a = first + index * first_pixel;
    const float* b = second ? second + index * second_pixel : nullptr;
    float* to = out + index * pixel;
    for (int64_t c = 0; c < count; c += kLanes) {
      int some = count - c < kLanes ? static_cast<int>(count - c) : kLanes;
      Vector value = load_some(a + c, some);
      if (operation == 1) value += load_some(b + c, some);
      if (operation == 2) value -= load_some(b + c, some);
      if (operation == 3) value *= load_some(b + c, some);
      store_some(to + c, activate<activation>(value, slope), some);
    }
  }
};

}  // namespace

extern "C" void fluxshard_pointwise(int operation, const float* first, int64_t first_pixel, const float* second,
                                    int64_t second_pixel, const int32_t* tiles, int64_t tile_count,
                                    int64_t tile_height, int64_t tile_width, float* out, int64_t height,
                                    int64_t width, int64_t pixel, int64_t channels, int activation,
                                    float slope) {
  with_activation(activation, Pointwise{operation, first, second, first_pixel, second_pixel, tiles, tile_count,
                                        tile_height, tile_width, out, height, width, pixel, channels, slope});
}

namespace {

// Each position becomes a patch of down × across, of its own channels.
struct Shuffle {
  const float* source;
  int64_t source_pixel;
  const int32_t* tiles;
  int64_t tile_count, tile_height, tile_width;
  float* out;
  int64_t height, width, pixel, channels;  // of the source; pixel and channels of the output
  int64_t down, across;
  const int64_t* order;
  float slope;

  template <int activation>
  void run() const {
    each_position(tiles, tile_count, tile_height, tile_width, height, width, [&](int64_t y, int64_t x) {
      const float* from = source + (y * width + x) * source_pixel;
      for (int64_t row = 0; row < down; ++row)
        for (int64_t column = 0; column < across; ++column) {
          float* to = out + ((y * down + row) * width * across + x * across + column) * pixel;
          for (int64_t c = 0; c < channels; c += kLanes) {
            int some = channels - c < kLanes ? static_cast<int>(channels - c) : kLanes;
            float values[kLanes] = {};
            for (int i = 0; i < some; ++i) values[i] = from[order[(row * across + column) * channels + c + i]];
            store_some(to + c, activate<activation>(load(values), slope), some);
          }
        }
    });
  }
};

}  // namespace

// geometry: down, across, then the source's channel for each output of a patch, rows first.
extern "C" void fluxshard_shuffle(const float* source, int64_t source_pixel, const int32_t* tiles, int64_t tile_count,
                                  int64_t tile_height, int64_t tile_width, float* out, int64_t height,
                                  int64_t width, int64_t pixel, int64_t channels, const int64_t* geometry,
                                  int activation, float slope) {
  with_activation(activation, Shuffle{source, source_pixel, tiles, tile_count, tile_height, tile_width, out, height,
                                      width, pixel, channels, geometry[0], geometry[1], geometry + 2, slope});
}

// geometry: kernel y x, stride y x, padding y x, dilation y x.
void fluxshard::pool(const Source& source, int maximum, const int64_t* geometry, int count_padding,
                     const int32_t* tiles, int64_t tile_count, int64_t tile_height, int64_t tile_width, float* out,
                     int64_t out_height, int64_t out_width, int64_t out_pixel, int64_t channels) {
  constexpr int kMost = 1024;
  const float* taps[kMost];  // the caller refuses larger kernels
  each_position(tiles, tile_count, tile_height, tile_width, out_height, out_width, [&](int64_t y, int64_t x) {
    int found = 0;
    for (int64_t ky = 0; ky < geometry[0]; ++ky)
      for (int64_t kx = 0; kx < geometry[1]; ++kx) {
        int64_t row = y * geometry[2] - geometry[4] + ky * geometry[6];
        int64_t column = x * geometry[3] - geometry[5] + kx * geometry[7];
        if (source.inside(row, column)) taps[found++] = source.at(row, column);
      }
    float* to = out + (y * out_width + x) * out_pixel;
    int64_t count = count_padding ? geometry[0] * geometry[1] : (found > 0 ? found : 1);
    auto over_taps = [&](auto read) __attribute__((always_inline)) {
      Vector value = splat(maximum ? -std::numeric_limits<float>::infinity() : 0.0f);
      for (int t = 0; t < found; ++t) {
        Vector other = read(taps[t]);
        if (maximum) {
          value = (other > value) | (other != other) ? other : value;  // a NaN wins, as in torch
        } else {
          value += other;
        }
      }
      return maximum ? value : value / static_cast<float>(count);
    };
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes)
      store(to + c, over_taps([&](const float* from) { return load(from + c); }));
    if (c < channels) {
      const int some = static_cast<int>(channels - c);
      store_some(to + c, over_taps([&](const float* from) { return load_some(from + c, some); }), some);
    }
  });
}

extern "C" void fluxshard_pool(int maximum, const int64_t* geometry, int count_padding, const float* map,
                               int64_t height, int64_t width, int64_t pixel, const float* reference,
                               int64_t reference_pixel, const uint8_t* fresh, const int16_t* displacement,
                               const int32_t* tiles, int64_t tile_count, int64_t tile_height,
                               int64_t tile_width, float* out, int64_t out_height, int64_t out_width,
                               int64_t out_pixel, int64_t channels) {
  pool({map, height, width, pixel, reference, reference_pixel, fresh, displacement}, maximum, geometry, count_padding,
       tiles, tile_count, tile_height, tile_width, out, out_height, out_width, out_pixel, channels);
}

void fluxshard::upsample_nearest(const Source& source, const int32_t* tiles, int64_t tile_count, int64_t tile_height,
                                 int64_t tile_width, float* out, int64_t out_height, int64_t out_width,
                                 int64_t out_pixel, int64_t channels) {
  int64_t factor_y = out_height / source.height, factor_x = out_width / source.width;
  each_position(tiles, tile_count, tile_height, tile_width, out_height, out_width, [&](int64_t y, int64_t x) {
    std::memcpy(out + (y * out_width + x) * out_pixel, source.at(y / factor_y, x / factor_x),
                sizeof(float) * static_cast<size_t>(channels));
  });
}

extern "C" void fluxshard_upsample_nearest(const float* map, int64_t height, int64_t width, int64_t pixel,
                                           const float* reference, int64_t reference_pixel, const uint8_t* fresh,
                                           const int16_t* displacement, const int32_t* tiles,
                                           int64_t tile_count, int64_t tile_height, int64_t tile_width,
                                           float* out, int64_t out_height, int64_t out_width, int64_t out_pixel,
                                           int64_t channels) {
  upsample_nearest({map, height, width, pixel, reference, reference_pixel, fresh, displacement}, tiles, tile_count,
                   tile_height, tile_width, out, out_height, out_width, out_pixel, channels);
}

// first, second, weight: per output row (y) and column (x), the two source positions and the second's weight.
extern "C" void fluxshard_upsample_bilinear(const float* map, int64_t height, int64_t width, int64_t pixel,
                                            const float* reference, int64_t reference_pixel,
                                            const uint8_t* fresh, const int16_t* displacement,
                                            const int32_t* tiles, int64_t tile_count, int64_t tile_height,
                                            int64_t tile_width, float* out, int64_t out_height,
                                            int64_t out_width, int64_t out_pixel, int64_t channels,
                                            const int64_t* first_y, const int64_t* second_y,
                                            const float* weight_y, const int64_t* first_x,
                                            const int64_t* second_x, const float* weight_x) {
  Source source{map, height, width, pixel, reference, reference_pixel, fresh, displacement};
  each_position(tiles, tile_count, tile_height, tile_width, out_height, out_width, [&](int64_t y, int64_t x) {
    const float* a = source.at(first_y[y], first_x[x]);
    const float* b = source.at(first_y[y], second_x[x]);
    const float* c = source.at(second_y[y], first_x[x]);
    const float* d = source.at(second_y[y], second_x[x]);
    float u = weight_x[x], v = weight_y[y];
    float* to = out + (y * out_width + x) * out_pixel;
    for (int64_t i = 0; i < channels; ++i) {
      float upper = a[i] * (1.0f - u) + b[i] * u;
      float lower = c[i] * (1.0f - u) + d[i] * u;
      to[i] = upper * (1.0f - v) + lower * v;
    }
  });
}
