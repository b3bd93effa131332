/* What a step of the potential means for the beats of each node. Rows of `rows` are n apart. */
#include <math.h>
#include <stddef.h>

enum {
  LEVEL,           /* potential below which the node has repolarised (mV), -inf at rest */
  EXTREME,         /* lowest potential since repolarisation, or highest since activation (mV) */
  RATE,            /* largest dv/dt since repolarisation (mV/ms) */
  REST,            /* lowest potential before the last activation (mV) */
  ACTIVATION,      /* last activation (ms) */
  FIRST,           /* first activation (ms) */
  REPOLARISATION,  /* last repolarisation (ms) */
  DURATION,        /* last complete action potential (ms) */
  CYCLE,           /* last activation minus the one before (ms) */
  UPSTROKE,        /* largest dv/dt of the last beat (mV/ms) */
  COUNT            /* activations so far */
};

/* Repolarisation: below `fixed` mV, or where v has come back by `share` of its amplitude. */
void record_beats(size_t n, double t, double dt, const double *before, const double *after,
                  double threshold, double fixed, double share, double none, double *rows) {
  double *const level = rows + LEVEL * n, *const extreme = rows + EXTREME * n;
  double *const rate = rows + RATE * n, *const rest = rows + REST * n;
  double *const activation = rows + ACTIVATION * n, *const first = rows + FIRST * n;
  double *const repolarisation = rows + REPOLARISATION * n, *const duration = rows + DURATION * n;
  double *const cycle = rows + CYCLE * n, *const upstroke = rows + UPSTROKE * n;
  double *const count = rows + COUNT * n;
  const double per_dt = 1.0 / dt;

  for (size_t i = 0; i < n; ++i) {
    const double v0 = before[i], v1 = after[i];
    const int resting = level[i] == -INFINITY;
    const double slope = (v1 - v0) * per_dt;
    if (slope > rate[i]) {
      rate[i] = slope;
      if (!resting) upstroke[i] = slope;
    }
    if (resting) {
      if (v1 < extreme[i]) extreme[i] = v1;
      if (v0 < threshold && v1 >= threshold) {
        const double now = t + dt * ((threshold - v0) / (v1 - v0));
        rest[i] = fmin(extreme[i], v0);
        cycle[i] = count[i] > 0.0 ? now - activation[i] : none;
        first[i] = count[i] > 0.0 ? first[i] : now;
        activation[i] = now;
        upstroke[i] = rate[i];
        extreme[i] = v1;
        level[i] = isnan(fixed) ? v1 - share * (v1 - rest[i]) : fixed;
        count[i] += 1.0;
      }
    } else if (v1 > extreme[i]) {
      extreme[i] = v1;
      if (isnan(fixed)) level[i] = v1 - share * (v1 - rest[i]);
    } else if (v1 < level[i]) {
      const double fall = v0 > v1 ? (v0 - level[i]) / (v0 - v1) : 0.0;
      repolarisation[i] = t + dt * fmin(fmax(fall, 0.0), 1.0);
      duration[i] = repolarisation[i] - activation[i];
      extreme[i] = v1;
      rate[i] = 0.0;
      level[i] = -INFINITY;
    }
  }
}
