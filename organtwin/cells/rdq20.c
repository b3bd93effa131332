/* Regulatory units and cross-bridges of RDQ20-MF at many points. Rows of `states` are n apart.

   A row 8a + 4b + 2c + d is the probability that three neighbouring tropomyosins are in states
   a, b, c (1 permissive) and the troponin of the middle one in state d (1 binds calcium). */
#include <math.h>
#include <stddef.h>

enum { TRIPLETS = 16, MU_0 = TRIPLETS, MU_1, RATE, GAIN };
enum { LEFT = 8, MIDDLE = 4, RIGHT = 2, CALCIUM = 1 };
enum { CHUNK = 32 }; /* Points at a time: all stages of a step stay in the first-level cache. */

typedef struct {
  double turning[TRIPLETS]; /* Rate at which the middle tropomyosin changes its state (1/ms). */
  double unbinding[2];      /* Rate at which troponin loses calcium, by state of tropomyosin. */
  double mu0, mu1;          /* Sources of the two moments at a permissive site (1/ms). */
  double r0, alpha;         /* Detachment: r0 (1/ms) + alpha |stretch rate|. */
} Parameters;

typedef double Rows[TRIPLETS][CHUNK];

/* Mean of a rate whose flux is the sum of the given four rows, 0 where there is no probability. */
static void mean(size_t m, Rows flux, Rows x, int a, int b, int c, int d, double *out) {
  for (size_t i = 0; i < m; ++i)
    out[i] = (flux[a][i] + flux[b][i] + flux[c][i] + flux[d][i])
           / (x[a][i] + x[b][i] + x[c][i] + x[d][i] + 1e-30);
}

/* Rate of change of the probabilities `x` by tropomyosins that change their states. Of the outer
   ones only one neighbour is known; theirs is the mean rate of a middle one with that neighbour. */
static void change(const Parameters *p, size_t m, Rows x, Rows out) {
  Rows turning;
  double left[4][CHUNK], right[4][CHUNK];
  for (int k = 0; k < TRIPLETS; ++k) {
    const double rate = p->turning[k];
    for (size_t i = 0; i < m; ++i) turning[k][i] = rate * x[k][i];
  }
  for (int k = 0; k < 4; ++k) {
    const int j = 2 * k, l = 4 * k;
    mean(m, turning, x, j, j + 1, j + LEFT, j + LEFT + 1, left[k]);
    mean(m, turning, x, l, l + 1, l + 2, l + 3, right[k]);
  }
  for (int k = 0; k < TRIPLETS; ++k) {
    const int c = k ^ MIDDLE, l = k ^ LEFT, r = k ^ RIGHT;
    for (size_t i = 0; i < m; ++i)
      out[k][i] = turning[c][i] - turning[k][i]
                + left[l >> 2][i] * x[l][i] - left[k >> 2][i] * x[k][i]
                + right[(r >> 1) & 3][i] * x[r][i] - right[(k >> 1) & 3][i] * x[k][i];
  }
}

static void add(size_t m, Rows x, double h, Rows slope, Rows out) {
  for (int k = 0; k < TRIPLETS; ++k)
    for (size_t i = 0; i < m; ++i) out[k][i] = x[k][i] + h * slope[k][i];
}

/* One step of the classical Runge-Kutta scheme. */
static void turn(const Parameters *p, size_t m, double h, Rows x) {
  Rows slope, sum, stage;
  change(p, m, x, sum);
  add(m, x, 0.5 * h, sum, stage);
  change(p, m, stage, slope);
  add(m, sum, 2.0, slope, sum);
  add(m, x, 0.5 * h, slope, stage);
  change(p, m, stage, slope);
  add(m, sum, 2.0, slope, sum);
  add(m, x, h, slope, stage);
  change(p, m, stage, slope);
  add(m, sum, 1.0, slope, sum);
  add(m, x, h / 6.0, sum, x);
}

/* Exchange of calcium at held rates: `bound`, its share in equilibrium, is reached but for `left`,
   by state of the tropomyosin. */
static void bind(size_t m, double bound[2][CHUNK], double left[2][CHUNK], Rows x) {
  for (int k = 0; k < TRIPLETS; k += 2) {
    const double *const settled = bound[(k & MIDDLE) != 0], *const kept = left[(k & MIDDLE) != 0];
    for (size_t i = 0; i < m; ++i) {
      const double both = x[k][i] + x[k + 1][i], target = settled[i] * both;
      x[k + 1][i] = target + kept[i] * (x[k + 1][i] - target);
      x[k][i] = both - x[k + 1][i];
    }
  }
}

static void permissivity(size_t m, Rows x, double *out) {
  for (size_t i = 0; i < m; ++i) {
    double sum = 0.0;
    for (int k = 0; k < TRIPLETS; ++k)
      if (k & MIDDLE) sum += x[k][i];
    out[i] = sum;
  }
}

/* `steps` steps of `h` ms at a held binding rate (1/ms): half the exchange of calcium, tropomyosin,
   the other half (Strang), then cross-bridges. GAIN becomes what MU_1 gains per stretch rate. */
void advance(size_t n, double h, size_t steps, const Parameters *p, const double *binding,
             double *states) {
  for (size_t start = 0; start < n; start += CHUNK) {
    const size_t m = n - start < CHUNK ? n - start : CHUNK;
    double *const at = states + start;
    double *const mu0 = at + MU_0 * n, *const mu1 = at + MU_1 * n, *const gain = at + GAIN * n;
    double detachment[CHUNK], kept[CHUNK], before[CHUNK], after[CHUNK];
    double bound[2][CHUNK], left[2][CHUNK];
    Rows x;
    for (int k = 0; k < TRIPLETS; ++k)
      for (size_t i = 0; i < m; ++i) x[k][i] = at[k * n + i];
    for (size_t i = 0; i < m; ++i) {
      detachment[i] = p->r0 + p->alpha * fabs(at[RATE * n + i]);
      kept[i] = exp(-detachment[i] * h);
      gain[i] = 0.0;
    }
    for (int b = 0; b < 2; ++b) {
      for (size_t i = 0; i < m; ++i) {
        const double exchange = binding[start + i] + p->unbinding[b];
        bound[b][i] = binding[start + i] / exchange;
        left[b][i] = exp(-exchange * 0.5 * h);
      }
    }
    permissivity(m, x, before);
    for (size_t s = 0; s < steps; ++s) {
      bind(m, bound, left, x);
      turn(p, m, h, x);
      bind(m, bound, left, x);
      permissivity(m, x, after);
      for (size_t i = 0; i < m; ++i) {
        const double sites = 0.5 * (before[i] + after[i]), made = (1.0 - kept[i]) / detachment[i];
        const double settled = sites * p->mu0 / detachment[i];
        gain[i] = kept[i] * gain[i] + made * settled + kept[i] * h * (mu0[i] - settled);
        mu1[i] = kept[i] * mu1[i] + made * sites * p->mu1;
        mu0[i] = kept[i] * mu0[i] + made * sites * p->mu0;
        before[i] = after[i];
      }
    }
    for (int k = 0; k < TRIPLETS; ++k)
      for (size_t i = 0; i < m; ++i) at[k * n + i] = x[k][i];
  }
}
