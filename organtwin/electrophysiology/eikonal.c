/* Arrival times on tetrahedra (WIDTH 4) or triangles (WIDTH 3); WIDTH is defined where it is
   compiled. Every step is the exact minimum over a face that a node looks at through a cell. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define EDGES (WIDTH * (WIDTH - 1) / 2)

/* Squared times along the edges and the nodes: with four nodes, a cache line. */
typedef struct {
  double square[EDGES];
  int32_t node[WIDTH];
#if WIDTH == 3
  int32_t padding;
#endif
} Cell;

typedef struct {
  double time;
  int64_t node;
} Entry;

/* Nodes whose time has become earlier, earliest first. */
typedef struct {
  Entry *entry;
  int32_t *place; /* of each node among the entries, -1 if it is not there */
  size_t size;
} Heap;

#if WIDTH == 4
static const int EDGE[4][4] = {{0, 0, 1, 2}, {0, 0, 3, 4}, {1, 3, 0, 5}, {2, 4, 5, 0}};
#else
static const int EDGE[3][3] = {{0, 0, 1}, {0, 0, 2}, {1, 2, 0}};
#endif

static void rise(Heap *heap, size_t k, Entry moved) {
  while (k > 0) {
    const size_t above = (k - 1) / 4;
    if (heap->entry[above].time <= moved.time) break;
    heap->entry[k] = heap->entry[above];
    heap->place[heap->entry[k].node] = (int32_t)k;
    k = above;
  }
  heap->entry[k] = moved;
  heap->place[moved.node] = (int32_t)k;
}

static int32_t take_first(Heap *heap) {
  const int32_t first = (int32_t)heap->entry[0].node;
  const Entry moved = heap->entry[--heap->size];
  size_t k = 0;
  heap->place[first] = -1;
  if (heap->size == 0) return first;
  for (;;) {
    size_t least = 4 * k + 1;
    const size_t end = least + 4 < heap->size ? least + 4 : heap->size;
    if (least >= heap->size) break;
    for (size_t i = least + 1; i < end; ++i)
      if (heap->entry[i].time < heap->entry[least].time) least = i;
    if (heap->entry[least].time >= moved.time) break;
    heap->entry[k] = heap->entry[least];
    heap->place[heap->entry[k].node] = (int32_t)k;
    k = least;
  }
  heap->entry[k] = moved;
  heap->place[moved.node] = (int32_t)k;
  return first;
}

static void put(Heap *heap, int32_t node, double time) {
  const int32_t at = heap->place[node];
  const Entry entry = {time, node};
  rise(heap, at < 0 ? heap->size++ : (size_t)at, entry);
}

/* Earliest arrival from the edge v-j, without its end j alone. c = |x - v|^2, a = |j - v|^2,
   b = (x - v).(j - v) and rest = T_j - T_v. */
static double from_edge(double T_v, double rest, double a, double b, double c) {
  const double q = rest * rest / a;
  if (!(q < 1.0)) return rest > 0.0 ? T_v + sqrt(c) : INFINITY;
  const double u = b / a, height = fmax(c - b * u, 0.0);
  const double rho = sqrt(height / (1.0 - q)), share = u - rho * rest / a;
  if (share <= 0.0) return T_v + sqrt(c);
  return share < 1.0 ? T_v + rest * u + rho * (1.0 - q) : INFINITY;
}

#if WIDTH == 4
/* Earliest arrival at x from the triangle v-j-k, without its edge j-k. With u = A^-1 b and
   w = A^-1 (T - T_v) the minimum over its plane is T_v + u.(T - T_v) + h sqrt(1 - q) at the
   shares u - rho w, where h is the distance of x from the plane. */
static double from_face(double T_v, double T_j, double T_k, double vv, double jj, double kk,
                        double vj, double vk, double jk) {
  const double b_j = 0.5 * (vj + vv - jj), b_k = 0.5 * (vk + vv - kk);
  const double rest_j = T_j - T_v, rest_k = T_k - T_v;
  if (T_j < INFINITY && T_k < INFINITY) {
    const double across = 0.5 * (vj + vk - jk), det = vj * vk - across * across;
    const double scale = 1.0 / det;
    const double w_j = (vk * rest_j - across * rest_k) * scale;
    const double w_k = (vj * rest_k - across * rest_j) * scale;
    const double q = rest_j * w_j + rest_k * w_k;
    if (det > 0.0 && q < 1.0) {
      const double u_j = (vk * b_j - across * b_k) * scale;
      const double u_k = (vj * b_k - across * b_j) * scale;
      const double height = fmax(vv - b_j * u_j - b_k * u_k, 0.0);
      const double rho = sqrt(height / (1.0 - q));
      const double share_j = u_j - rho * w_j, share_k = u_k - rho * w_k;
      if (share_j >= 0.0 && share_k >= 0.0 && share_j + share_k <= 1.0)
        return T_v + rest_j * u_j + rest_k * u_k + rho * (1.0 - q);
    }
  }
  if (T_j == INFINITY && T_k == INFINITY) return T_v + sqrt(vv);
  const double one = T_j < INFINITY ? from_edge(T_v, rest_j, vj, b_j, vv) : INFINITY;
  const double other = T_k < INFINITY ? from_edge(T_v, rest_k, vk, b_k, vv) : INFINITY;
  return one < other ? one : other;
}
#endif

/* Time of a node beside v; infinite while it waits, for what it takes part in comes at its turn. */
static double settled(const double *T, const int32_t *place, int32_t node, double T_v) {
  const double time = T[node];
  return time > T_v && place[node] >= 0 ? INFINITY : time;
}

/* Earliest arrival at corner x of a cell with corner v taking part; infinite if it can't be
   earlier than the time known there. */
static double through(const Cell *cell, const double *T, const int32_t *place, int v, int x) {
  const double T_v = T[cell->node[v]], T_x = T[cell->node[x]];
  const double vv = cell->square[EDGE[v][x]];
#if WIDTH == 4
  const int others = 6 - v - x; /* the two other corners add up to this */
  const int j = v != 0 && x != 0 ? 0 : (v != 1 && x != 1 ? 1 : 2), k = others - j;
  const double T_j = settled(T, place, cell->node[j], T_v);
  const double T_k = settled(T, place, cell->node[k], T_v);
  const double jj = cell->square[EDGE[j][x]], kk = cell->square[EDGE[k][x]];
  const double vj = cell->square[EDGE[v][j]], vk = cell->square[EDGE[v][k]];
  if (T_x <= T_v) {
    /* Where v is seen at acute angles from x, what it takes part in arrives after T_v. */
    if (vv + jj >= vj && vv + kk >= vk) return INFINITY;
    if (T_x <= T_j && T_x <= T_k) return INFINITY;
  }
  return from_face(T_v, T_j, T_k, vv, jj, kk, vj, vk, cell->square[EDGE[j][k]]);
#else
  const int j = 3 - v - x;
  const double T_j = settled(T, place, cell->node[j], T_v);
  const double jj = cell->square[EDGE[j][x]], vj = cell->square[EDGE[v][j]];
  if (T_x <= T_v && (T_x <= T_j || vv + jj >= vj)) return INFINITY;
  if (T_j == INFINITY) return T_v + sqrt(vv);
  return from_edge(T_v, T_j - T_v, vj, 0.5 * (vj + vv - jj), vv);
#endif
}

/* Squared times along the edges of cells: e.M e with the slowness tensors M (nine numbers each). */
void measure(const double *x, const double *slowness, Cell *cells, size_t n_cells) {
  for (size_t c = 0; c < n_cells; ++c)
    for (int i = 0; i < WIDTH; ++i)
      for (int j = i + 1; j < WIDTH; ++j) {
        const double *a = x + 3 * (size_t)cells[c].node[i], *b = x + 3 * (size_t)cells[c].node[j];
        const double e[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
        double sum = 0.0;
        for (int p = 0; p < 3; ++p)
          for (int q = 0; q < 3; ++q) sum += e[p] * slowness[9 * c + 3 * p + q] * e[q];
        cells[c].square[EDGE[i][j]] = sum;
      }
}

/* Cells around each node: WIDTH * cell + corner from offsets[node] on; offsets come as zeros. */
void around(const Cell *cells, size_t n_cells, int32_t *offsets, size_t n_nodes, int32_t *corners) {
  for (size_t c = 0; c < n_cells; ++c)
    for (int i = 0; i < WIDTH; ++i) ++offsets[cells[c].node[i] + 1];
  for (size_t k = 0; k < n_nodes; ++k) offsets[k + 1] += offsets[k];
  for (size_t c = n_cells; c-- > 0;)
    for (int i = WIDTH; i-- > 0;)
      corners[--offsets[cells[c].node[i] + 1]] = (int32_t)(WIDTH * c) + i;
  for (size_t k = 0; k < n_nodes; ++k) offsets[k] = offsets[k + 1];
  offsets[n_nodes] = (int32_t)(WIDTH * n_cells);
}

/* Let the changes at `changed` nodes spread until no time up to `limit` gets earlier by more than
   `tolerance`. `entries` has room for all nodes; the first `waiting` of them, from the call before,
   go on first, and what is later than the limit waits for the next call. `place` is -1 at all
   other nodes. Returns how often a node has passed its time on. */
size_t spread(const Cell *cells, const int32_t *offsets, const int32_t *corners, double *T,
              const int32_t *changed, size_t n_changed, double tolerance, double limit,
              Entry *entries, int32_t *place, size_t *waiting) {
  Heap heap = {entries, place, *waiting};
  size_t passed = 0;
  for (size_t i = 0; i < n_changed; ++i) put(&heap, changed[i], T[changed[i]]);
  for (; heap.size > 0 && entries[0].time <= limit; ++passed) {
    const int32_t v = take_first(&heap);
    /* They lie apart in memory: asked for all at once they come together. */
    for (int32_t at = offsets[v]; at < offsets[v + 1]; ++at)
      __builtin_prefetch(cells + corners[at] / WIDTH);
    for (int32_t at = offsets[v]; at < offsets[v + 1]; ++at) {
      const Cell *cell = cells + corners[at] / WIDTH;
      const int corner = corners[at] % WIDTH;
      for (int i = 1; i < WIDTH; ++i) {
        const int x = (corner + i) % WIDTH;
        const int32_t node = cell->node[x];
        const double time = through(cell, T, place, corner, x), gain = T[node] - time;
        if (!(gain > 0.0)) continue;
        T[node] = time;
        if (gain > tolerance || place[node] >= 0) put(&heap, node, time);
      }
    }
  }
  *waiting = heap.size;
  return passed;
}
