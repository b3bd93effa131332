/* States and potentials between the nodes of the elements that a front crosses.
   WIDTH (nodes of an element) and POINTS (of the quadrature) are defined where it is compiled. */
#include <stddef.h>
#include <stdint.h>

/* Numbers of the cells in which v varies by more than `threshold`; returns how many there are. */
size_t front(const int32_t *dofs, size_t cells, const double *v, double threshold,
             int32_t *found) {
  size_t m = 0;
  for (size_t c = 0; c < cells; ++c) {
    const int32_t *at = dofs + c * WIDTH;
    double low = v[at[0]], high = low;
    for (size_t j = 1; j < WIDTH; ++j) {
      const double value = v[at[j]];
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    found[m] = (int32_t)c;
    m += high - low > threshold;
  }
  return m;
}

/* Rows of nodal values (`stride` apart) at the points of m cells; phi[node][point]. */
void at_points(const int32_t *dofs, const int32_t *cells, size_t m, const double *rows,
               size_t n_rows, size_t stride, const double *restrict phi, double *restrict out) {
  for (size_t k = 0; k < n_rows; ++k) {
    const double *row = rows + k * stride;
    double *to = out + k * m * POINTS;
    for (size_t c = 0; c < m; ++c) {
      const int32_t *at = dofs + (size_t)cells[c] * WIDTH;
      double sum[POINTS] = {0.0};
      for (size_t j = 0; j < WIDTH; ++j) {
        const double value = row[at[j]];
        for (size_t q = 0; q < POINTS; ++q) sum[q] += phi[j * POINTS + q] * value;
      }
      for (size_t q = 0; q < POINTS; ++q) to[c * POINTS + q] = sum[q];
    }
  }
}

/* Add to b what f at the points and at the nodes of m cells gives:
   scale |J| (test^T f_points - M f_nodes), where `place` numbers the nodes of the front. */
void add_difference(const int32_t *dofs, const int32_t *cells, size_t m, const double *f_points,
                    const double *f_nodes, const int32_t *place, const double *test,
                    const double *M, const double *detJ, double scale, double *b) {
  for (size_t c = 0; c < m; ++c) {
    const int32_t *at = dofs + (size_t)cells[c] * WIDTH;
    const double factor = scale * detJ[cells[c]];
    double nodal[WIDTH];
    for (size_t j = 0; j < WIDTH; ++j) nodal[j] = f_nodes[place[at[j]]];
    for (size_t j = 0; j < WIDTH; ++j) {
      double sum = 0.0;
      for (size_t q = 0; q < POINTS; ++q) sum += f_points[c * POINTS + q] * test[q * WIDTH + j];
      for (size_t i = 0; i < WIDTH; ++i) sum -= M[j * WIDTH + i] * nodal[i];
      b[at[j]] += factor * sum;
    }
  }
}

/* Number the nodes of m cells from 0 on; `place` is -1 at all others before and tells theirs. */
size_t nodes_of(const int32_t *dofs, const int32_t *cells, size_t m, int32_t *place,
                int32_t *nodes) {
  size_t n = 0;
  for (size_t c = 0; c < m; ++c) {
    const int32_t *at = dofs + (size_t)cells[c] * WIDTH;
    for (size_t j = 0; j < WIDTH; ++j)
      if (place[at[j]] < 0) {
        nodes[n] = at[j];
        place[at[j]] = (int32_t)n++;
      }
  }
  return n;
}
