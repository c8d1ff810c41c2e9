// Active sets by cell, as kernels.executor.state.active_sets decides them in torch: the same numbers, to the last bit.
#include <cmath>
#include <vector>

#include "../vectors.h"

using namespace fluxshard;

namespace {

// Mirrored by ctypes structures in active_sets.py. One axis of a map in cells.
struct CellAxis {
  int64_t cells, size, reach, steps;  // reach: in cells, or in positions of `size` where there is `cell_of`
  const int64_t *first, *last;        // blocks that each cell overlaps
  const int64_t *vector_first, *vector_last;  // those whose vectors count: `steps` of them, the last one repeated
  const float* centre;                        // of each cell, in steps of `divisor` pixels
  const int64_t* cell_of;                     // cell of each position; null where a cell is counted as one
  float divisor;
};

struct CellMap {
  int64_t height, width, tile_height, tile_width;
  float scale_x, scale_y;
  const float* before;  // what the reference's rounding left over, on a grid of its own; may be null
  int64_t before_rows, before_columns;
  int32_t* tiles;
  int16_t* moved;
  float* left_over;
  int64_t listed, positions;  // results
};

void grow_line(const uint8_t* from, int64_t count, int64_t step, int64_t reach, uint8_t* to) {
  int64_t until = -1;  // one past the last position that the last one seen reaches
  for (int64_t i = 0; i < count + reach; ++i) {
    if (i < count && from[i * step]) until = i + 2 * reach;
    if (i >= reach) to[(i - reach) * step] = i <= until;
  }
}

void grow(uint8_t* mask, int64_t height, int64_t width, int64_t down, int64_t across) {
  std::vector<uint8_t> old;
  if (across > 0) {
    old.assign(mask, mask + height * width);
    for (int64_t y = 0; y < height; ++y) grow_line(old.data() + y * width, width, 1, across, mask + y * width);
  }
  if (down > 0) {
    old.assign(mask, mask + height * width);
    for (int64_t x = 0; x < width; ++x) grow_line(old.data() + x, height, width, down, mask + x);
  }
}

// The next two are functions of their own so that no compiler joins a product and a difference, which would round
// once where torch rounds twice.
__attribute__((noinline)) void round_to_steps(const float* total, const float* scale, int64_t count, float* steps,
                                              float* product) {
  if (scale[0] == scale[1]) {
    const float both = scale[0];
    for (int64_t i = 0; i < count; ++i) steps[i] = std::rint(total[i] / both), product[i] = steps[i] * both;
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    steps[i] = std::rint(total[i] / scale[i & 1]);
    product[i] = steps[i] * scale[i & 1];
  }
}

__attribute__((noinline)) void leave_over(const float* total, const float* product, const float* steps,
                                          const uint8_t* active, int64_t cells, int16_t* moved, float* left_over) {
  for (int64_t i = 0; i < 2 * cells; ++i) {
    const float bounded = steps[i] < -32768.0f ? -32768.0f : (steps[i] > 32767.0f ? 32767.0f : steps[i]);
    moved[i] = static_cast<int16_t>(static_cast<int32_t>(bounded));
    left_over[i] = total[i] - product[i];
  }
  for (int64_t cell = 0; cell < cells; ++cell)
    if (active[cell]) left_over[2 * cell] = left_over[2 * cell + 1] = 0.0f;
}

inline int64_t cell_at(const CellAxis& axis, float position) {
  const int64_t inside = clamp(static_cast<int64_t>(std::floor(position)), axis.size - 1);
  return axis.cell_of ? axis.cell_of[inside] : inside;
}

// The mean vector of the blocks of each cell: along rows first, then along columns.
void mean_vectors(const CellAxis& rows, const CellAxis& columns, const int64_t* vectors, int64_t block_columns,
                  float* mean) {
  for (int64_t r = 0; r < rows.cells; ++r)
    for (int64_t c = 0; c < columns.cells; ++c)
      for (int part = 0; part < 2; ++part) {
        float across = 0.0f;
        for (int64_t j = 0; j < columns.steps; ++j) {
          const int64_t column = columns.vector_first[c] + j < columns.vector_last[c] ? columns.vector_first[c] + j
                                                                                      : columns.vector_last[c];
          float down = 0.0f;
          for (int64_t i = 0; i < rows.steps; ++i) {
            const int64_t row =
                rows.vector_first[r] + i < rows.vector_last[r] ? rows.vector_first[r] + i : rows.vector_last[r];
            down += static_cast<float>(vectors[(row * block_columns + column) * 2 + part]);
          }
          across += down / static_cast<float>(rows.steps);
        }
        mean[(r * columns.cells + c) * 2 + part] = across / static_cast<float>(columns.steps);
      }
}

// What the reference's cell left over that each cell came from, on the grid that the reference had it on.
inline const float* left_before(const CellMap& map, int64_t place, int64_t rows, int64_t columns) {
  if (map.before_rows == rows && map.before_columns == columns) return map.before + place * 2;
  const int64_t row = place / columns, column = place % columns;
  const int64_t there = clamp((row * 2 + 1) * map.before_rows / (2 * rows), map.before_rows - 1);
  const int64_t across = clamp((column * 2 + 1) * map.before_columns / (2 * columns), map.before_columns - 1);
  return map.before + (there * map.before_columns + across) * 2;
}

void displace(const CellAxis& rows, const CellAxis& columns, const float* mean, const uint8_t* active, CellMap* maps,
              int64_t count) {
  const int64_t cells = rows.cells * columns.cells;
  bool any = false;
  for (int64_t m = 0; m < count; ++m) any |= maps[m].before != nullptr;
  std::vector<int64_t> place(any ? static_cast<size_t>(cells) : 0);
  for (int64_t cell = 0; any && cell < cells; ++cell) {
    const float down = mean[2 * cell + 1] / rows.divisor, across = mean[2 * cell] / columns.divisor;
    place[static_cast<size_t>(cell)] = cell_at(rows, rows.centre[cell / columns.cells] + down) * columns.cells +
                                       cell_at(columns, columns.centre[cell % columns.cells] + across);
  }
  std::vector<float> total(mean, mean + 2 * cells), steps(total.size()), product(total.size());
  for (CellMap* map = maps; map < maps + count; ++map) {
    for (int64_t cell = 0; map->before && cell < cells; ++cell) {
      const float* before = left_before(*map, place[static_cast<size_t>(cell)], rows.cells, columns.cells);
      for (int part = 0; part < 2; ++part)
        total[static_cast<size_t>(2 * cell + part)] = mean[2 * cell + part] + before[part];
    }
    const float scale[2] = {map->scale_x, map->scale_y};
    const float* wanted = map->before ? total.data() : mean;
    round_to_steps(wanted, scale, 2 * cells, steps.data(), product.data());
    leave_over(wanted, product.data(), steps.data(), active, cells, map->moved, map->left_over);
  }
}

}  // namespace

// In place: uint8 0 or 1, everything within `down` rows and `across` columns of a 1.
extern "C" void fluxshard_grow(uint8_t* mask, int64_t height, int64_t width, int64_t down, int64_t across) {
  grow(mask, height, width, down, across);
}

// active: uint8 of each cell. Where there are positions (`cell_of`), `fresh` (size × size) is what grows, and `active`
// is what it is at the cells' centres. vectors: of blocks; null where nothing moves and nothing was left over.
extern "C" void fluxshard_active_cells(const CellAxis* rows, const CellAxis* columns, const uint8_t* blocks,
                                       int64_t block_columns, const int64_t* vectors, CellMap* maps, int64_t count,
                                       uint8_t* active, uint8_t* fresh) {
  for (int64_t r = 0; r < rows->cells; ++r)
    for (int64_t c = 0; c < columns->cells; ++c) {
      uint8_t found = 0;
      for (int64_t y = rows->first[r]; y <= rows->last[r]; ++y)
        for (int64_t x = columns->first[c]; x <= columns->last[c]; ++x) found |= blocks[y * block_columns + x];
      active[r * columns->cells + c] = found;
    }
  if (fresh == nullptr) {
    grow(active, rows->cells, columns->cells, rows->reach, columns->reach);
  } else {
    for (int64_t y = 0; y < rows->size; ++y)
      for (int64_t x = 0; x < columns->size; ++x)
        fresh[y * columns->size + x] = active[rows->cell_of[y] * columns->cells + columns->cell_of[x]];
    if (rows->reach > 0 || columns->reach > 0) {
      grow(fresh, rows->size, columns->size, rows->reach, columns->reach);
      for (int64_t r = 0; r < rows->cells; ++r)
        for (int64_t c = 0; c < columns->cells; ++c)
          active[r * columns->cells + c] = fresh[static_cast<int64_t>(rows->centre[r]) * columns->size +
                                                 static_cast<int64_t>(columns->centre[c])];
    }
  }
  if (vectors != nullptr) {
    std::vector<float> mean(static_cast<size_t>(2 * rows->cells * columns->cells));
    mean_vectors(*rows, *columns, vectors, block_columns, mean.data());
    displace(*rows, *columns, mean.data(), active, maps, count);
  }
  const uint8_t* listed = fresh ? fresh : active;
  const int64_t down = fresh ? rows->size : rows->cells, across = fresh ? columns->size : columns->cells;
  for (CellMap* map = maps; map < maps + count; ++map) {
    map->listed = map->positions = 0;
    for (int64_t y = 0; y < down; ++y)
      for (int64_t x = 0; x < across; ++x) {
        const int64_t top = y * map->tile_height, left = x * map->tile_width;
        if (!listed[y * across + x] || top >= map->height || left >= map->width) continue;
        map->tiles[2 * map->listed] = static_cast<int32_t>(top);
        map->tiles[2 * map->listed++ + 1] = static_cast<int32_t>(left);
        const int64_t bottom = top + map->tile_height < map->height ? top + map->tile_height : map->height;
        const int64_t right = left + map->tile_width < map->width ? left + map->tile_width : map->width;
        map->positions += (bottom - top) * (right - left);
      }
  }
}
