/* States and potentials between the nodes of the elements that a front crosses. */
#include <stddef.h>
#include <stdint.h>

/* Numbers of the cells in which v varies by more than `threshold`; returns how many there are. */
size_t front(const int32_t *dofs, size_t cells, size_t width, const double *v, double threshold,
             int32_t *found) {
  size_t m = 0;
  for (size_t c = 0; c < cells; ++c) {
    const int32_t *at = dofs + c * width;
    double low = v[at[0]], high = low;
    for (size_t j = 1; j < width; ++j) {
      const double value = v[at[j]];
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    found[m] = (int32_t)c;
    m += high - low > threshold;
  }
  return m;
}

/* Rows of nodal values (`stride` apart) at `points` points of each of m cells. */
void at_points(const int32_t *dofs, size_t width, const int32_t *cells, size_t m,
               const double *rows, size_t n_rows, size_t stride, const double *phi, size_t points,
               double *out) {
  for (size_t k = 0; k < n_rows; ++k) {
    const double *row = rows + k * stride;
    double *to = out + k * m * points;
    for (size_t c = 0; c < m; ++c) {
      const int32_t *at = dofs + (size_t)cells[c] * width;
      for (size_t q = 0; q < points; ++q) {
        double sum = 0.0;
        for (size_t j = 0; j < width; ++j) sum += phi[q * width + j] * row[at[j]];
        to[c * points + q] = sum;
      }
    }
  }
}

/* Add to b what the values at the points of m cells give when tested: scale |J| test^T value. */
void add_tested(const int32_t *dofs, size_t width, const int32_t *cells, size_t m,
                const double *values, const double *test, size_t points, const double *detJ,
                double scale, double *b) {
  for (size_t c = 0; c < m; ++c) {
    const int32_t *at = dofs + (size_t)cells[c] * width;
    const double factor = scale * detJ[cells[c]];
    for (size_t j = 0; j < width; ++j) {
      double sum = 0.0;
      for (size_t q = 0; q < points; ++q) sum += values[c * points + q] * test[q * width + j];
      b[at[j]] += factor * sum;
    }
  }
}
