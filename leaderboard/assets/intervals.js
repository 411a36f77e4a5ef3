"use strict";
// How harness.equity finds its intervals (resampling.py, summary.py, intervals.py), once more, for choices that
// the reader makes. The reasons are given there.

/**
 * A quantity of the overall score and the groups' scores, such as ES.
 * @typedef {(overall: number, groups: ArrayLike<number>) => number} Quantity
 *
 * sums: of the scores [seed][unit] under each of a method's seeds; seeds: which of those counted these are.
 * @typedef {{sums: Float64Array[], seeds: number[]}} Sums
 *
 * Samples gathered by patient within each of `strata`, of which the last holds those of no group. of: the stratum
 * of each unit; samples: how many it holds; seeds: how many count.
 * @typedef {{strata: number, of: number[], samples: number[], seeds: number, methods: Sums[]}} Units
 *
 * Where the variance of the strata's means comes from: means [seed][stratum], the variance by patients, and the
 * square root of its share in the variance of the patients' own means.
 * @typedef {{bySeed: number[][], patients: number[], share: number[]}} Parts
 *
 * Deviations [draw][stratum] of a method's means, `plain` and over their own standard error times the estimate's.
 * @typedef {{means: number[], parts: Parts, seeds: number[], plain: number[][], studentised: number[][]}} MethodDraws
 *
 * weights: the strata's shares of the samples; normals: the seeds' random weights [draw][seed].
 * @typedef {{weights: number[], normals: number[][], methods: MethodDraws[]}} Draws
 *
 * Random numbers: a whole one below n, a standard normal one, a standard gamma one of a shape.
 * @typedef {{below: (n: number) => number, normal: () => number, gamma: (shape: number) => number}} Chance
 *
 * @typedef {{low: number, high: number}} Interval
 */

Board.intervals = (() => {
  const LEVEL = 0.95;
  const TAIL = (1 - LEVEL) / 2;
  const NEAR_TAIL = 0.04;
  const CAUTION = 2.5;
  const MOST_STRETCH = 4;
  const LEAST_SPREAD = 1e-6;
  const STEPS = Array.from({ length: 17 }, (_, i) => -6 + 0.75 * i);

  /** @param {ArrayLike<number>} values @param {ArrayLike<number>} weights */
  function dot(values, weights) {
    let sum = 0;
    for (let k = 0; k < weights.length; k++) sum += values[k] * weights[k];
    return sum;
  }

  /** @param {number[][]} rows @param {number} k */
  const column = (rows, k) => rows.map((row) => row[k]);

  /** @param {number[]} values */
  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

  /** @param {number[]} values @param {number} [fewer] degrees of freedom taken off */
  function variance(values, fewer = 0) {
    const middle = mean(values);
    return values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - fewer);
  }

  /** @param {number[]} values @param {number} p */
  function quantile(values, p) {
    const sorted = Float64Array.from(values).sort();
    const at = p * (sorted.length - 1);
    const i = Math.floor(at);
    return sorted[i] + (at - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]);
  }

  /** The normal distribution's quantile, to 0.0005 (Abramowitz and Stegun 26.2.23). @param {number} p */
  function normalQuantile(p) {
    const t = Math.sqrt(-2 * Math.log(Math.min(p, 1 - p)));
    const z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    return p < 0.5 ? -z : z;
  }

  /** Mulberry32, Box and Muller's normal and Marsaglia and Tsang's gamma. @param {number} seed @returns {Chance} */
  function chance(seed) {
    let state = seed;
    function uniform() {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    // Exact for every shape above 1/3; one degree of freedom makes 1/2 the least.
    /** @param {number} shape */
    function gamma(shape) {
      const d = shape - 1 / 3;
      for (;;) {
        const x = normal();
        const v = (1 + x / Math.sqrt(9 * d)) ** 3;
        if (v > 0 && Math.log(1 - uniform()) < x ** 2 / 2 + d * (1 - v + Math.log(v))) return d * v;
      }
    }
    return { below: (n) => Math.floor(uniform() * n), normal, gamma };
  }

  /**
   * Draw patients within stratum and seeds, once for all methods.
   * @param {Units} units
   * @param {number} resamples
   * @param {Chance} [random]
   * @returns {Draws}
   */
  function resample(units, resamples, random = chance(1)) {
    const { strata, of, samples } = units;
    const size = totals(samples, units);
    const averages = units.methods.map(({ sums }) => of.map((_, u) => mean(sums.map((row) => row[u]))));
    const methods = units.methods.map(({ seeds, sums }, m) => ({
      means: totals(averages[m], units).map((total, k) => total / Math.max(size[k], 1)),
      parts: takeApart(sums, units),
      seeds,
      plain: zeros(resamples, strata),
      studentised: zeros(resamples, strata),
    }));
    for (let k = 0; k < strata; k++) {
      const mine = of.flatMap((stratum, u) => (stratum === k ? [u] : []));
      const sizes = mine.map((u) => samples[u]);
      const residuals = methods.map(({ means }, m) => mine.map((u) => averages[m][u] - means[k] * samples[u]));
      if (mine.length > 1) bootstrap(methods, k, residuals, sizes, random);
    }
    const ones = totals(
      of.map(() => 1),
      units,
    );
    for (let k = 0; k < strata; k++) if (ones[k] === 1) borrow(methods, k, averages, units, random);
    const all = size.reduce((sum, n) => sum + n, 0);
    const normals = zeros(resamples, units.seeds).map((row) => row.map(random.normal));
    return { weights: size.map((n) => n / all), normals, methods };
  }

  /** @param {number} rows @param {number} columns */
  const zeros = (rows, columns) => Array.from({ length: rows }, () => new Array(columns).fill(0));

  /** Sums of the units' values by stratum. @param {ArrayLike<number>} values @param {Units} units */
  function totals(values, { of, strata }) {
    /** @type {number[]} */
    const sums = new Array(strata).fill(0);
    for (let u = 0; u < of.length; u++) sums[of[u]] += values[u];
    return sums;
  }

  /**
   * Fill in the deviations of stratum k: plain with the unbiased variance, and studentised.
   * @param {MethodDraws[]} methods
   * @param {number} k
   * @param {number[][]} residuals by method and unit
   * @param {number[]} samples
   * @param {Chance} random
   */
  function bootstrap(methods, k, residuals, samples, random) {
    const n = samples.length;
    const correction = Math.sqrt(n / (n - 1));
    const estimates = residuals.map((row) => Math.sqrt(dot(row, row)) / dot(samples, new Array(n).fill(1)));
    for (let r = 0; r < methods[0].plain.length; r++) {
      const drawn = Array.from({ length: n }, () => random.below(n));
      const size = drawn.reduce((sum, u) => sum + samples[u], 0);
      methods.forEach(({ plain, studentised }, m) => {
        let first = 0;
        let second = 0;
        for (const u of drawn) {
          first += residuals[m][u];
          second += residuals[m][u] ** 2;
        }
        const error = Math.sqrt(Math.max(second - first ** 2 / n, 0)) / size;
        const stretch = error > 0 ? Math.min(estimates[m] / error, MOST_STRETCH) : MOST_STRETCH;
        plain[r][k] = (correction * first) / size;
        studentised[r][k] = stretch * plain[r][k];
      });
    }
  }

  /**
   * Fill in the deviations of stratum k, whose only patient shows no spread: he is taken to differ as the others do.
   * @param {MethodDraws[]} methods
   * @param {number} k
   * @param {number[][]} averages by method and unit
   * @param {Units} units
   * @param {Chance} random
   */
  function borrow(methods, k, averages, { of, samples }, random) {
    const others = of.flatMap((stratum, u) => (stratum === k ? [] : [u]));
    if (!others.length) return;
    for (let r = 0; r < methods[0].plain.length; r++) {
      const u = others[random.below(others.length)];
      methods.forEach(({ means, plain, studentised }, m) => {
        plain[r][k] = studentised[r][k] = averages[m][u] / samples[u] - means[of[u]];
      });
    }
  }

  /**
   * Split the variance of the strata's means into patients, seeds and single pairs.
   * @param {Float64Array[]} sums
   * @param {Units} units
   * @returns {Parts}
   */
  function takeApart(sums, units) {
    const { of, samples } = units;
    const size = totals(samples, units).map((n) => Math.max(n, 1));
    const ones = samples.map(() => 1);
    const unbiased = totals(ones, units).map((n, k) => (n > 1 ? n / (n - 1) / size[k] ** 2 : 0));
    const bySeed = sums.map((row) => totals(row, units).map((total, k) => total / size[k]));
    const residuals = of.map((k, u) => sums.map((row, s) => row[u] - bySeed[s][k] * samples[u]));
    const squares = residuals.map((row) => mean(row) ** 2);
    const total = totals(squares, units).map((sum, k) => sum * unbiased[k]);
    if (sums.length < 2) return { bySeed, patients: total, share: total.map(() => 1) };
    const noise = residuals.map((row) => variance(row, 1) / row.length);
    const single = totals(noise, units).map((sum, k) => sum * unbiased[k]);
    const patients = total.map((sum, k) => Math.max(sum - single[k], 0));
    return { bySeed, patients, share: patients.map((own, k) => (total[k] > 0 ? Math.sqrt(own / total[k]) : 1)) };
  }

  /**
   * Deviations [draw][stratum] by seeds, with the covariance of the mean over them.
   * @param {number[][]} normals
   * @param {MethodDraws} method
   */
  function bySeeds(normals, { means, parts: { bySeed }, seeds }) {
    const n = seeds.length;
    if (n < 2) return zeros(normals.length, means.length);
    const residuals = means.map((_, k) => {
      const own = column(bySeed, k);
      return own.map((v) => (v - mean(own)) / Math.sqrt(n * (n - 1)));
    });
    return normals.map((row) => {
      const own = seeds.map((s) => row[s]);
      return residuals.map((residual) => dot(own, residual));
    });
  }

  /**
   * Each method's share of the draws in which it is first; those that tie share theirs.
   * @param {Draws} draws
   * @param {Quantity} quantity
   */
  function first({ normals, weights, methods }, quantity) {
    const shares = methods.map(() => 0);
    const seeds = methods.map((method) => bySeeds(normals, method));
    normals.forEach((_, r) => {
      const values = methods.map(({ means, plain, parts: { share } }, m) => {
        const moved = means.map((v, k) => v + plain[r][k] * share[k] + seeds[m][r][k]);
        const value = quantity(dot(moved, weights), moved.slice(0, -1));
        return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value;
      });
      const highest = Math.max(...values);
      const won = [...values.keys()].filter((m) => highest - values[m] <= 1e-12);
      for (const m of won) shares[m] += 1 / won.length / normals.length;
    });
    return shares;
  }

  /**
   * The quantity's derivative by each stratum's mean.
   * @param {Quantity} quantity
   * @param {number[]} weights
   * @param {number[]} means
   */
  function gradient(quantity, weights, means) {
    /** @param {number} k @param {number} step */
    const value = (k, step) => {
      const moved = means.map((v, i) => (i === k ? v + step : v));
      return quantity(dot(moved, weights), moved.slice(0, -1));
    };
    return means.map((_, k) => (value(k, 1e-5) - value(k, -1e-5)) / 2e-5);
  }

  /**
   * Satterthwaite's degrees of freedom of a sum over strata, the seeds' share counted 2.5 times.
   * @param {number[]} slopes
   * @param {Parts} parts
   */
  function freedom(slopes, { bySeed, patients }) {
    const n = bySeed.length;
    const seeds =
      n > 1
        ? (CAUTION *
            variance(
              bySeed.map((row) => dot(row, slopes)),
              1,
            )) /
          n
        : 0;
    const squares = seeds ** 2 / Math.max(n - 1, 1);
    return squares > 0
      ? (dot(
          slopes.map((v) => v ** 2),
          patients,
        ) +
          seeds) **
          2 /
          squares
      : Number.POSITIVE_INFINITY;
  }

  /**
   * A method's interval of a quantity; `lowest` where that is the lowest group's score.
   * @param {Draws} draws
   * @param {number} m
   * @param {Quantity} quantity
   * @param {boolean} lowest
   * @param {Chance} [random]
   * @returns {Interval}
   */
  function of(draws, m, quantity, lowest, random = chance(2)) {
    const { weights } = draws;
    const { means, parts, studentised } = draws.methods[m];
    const seeds = bySeeds(draws.normals, draws.methods[m]);
    /** @param {number[]} slopes */
    const widened = (slopes) => {
      const free = freedom(slopes, parts);
      return studentised.map((row, r) => {
        // Turns normal draws into Student's t.
        const wide = free > 1000 ? 1 : Math.sqrt(free / (2 * random.gamma(free / 2)));
        return row.map((v, k) => wide * (v * parts.share[k] + seeds[r][k]));
      });
    };
    /** @param {number[][]} draws */
    const ofOverall = (draws) => draws.map((row) => dot(row, weights));
    const whole = ofMean(dot(means, weights), ofOverall(widened(weights)));
    const around = widened(gradient(quantity, weights, means));
    const groups = means.slice(0, -1);
    const found = lowest
      ? ofLowest(groups, around)
      : below(invert(quantity, dot(means, weights), groups, ofOverall(around), around), whole);
    return { low: Math.min(1, Math.max(0, found.low)), high: Math.min(1, Math.max(0, found.high)) };
  }

  /** @param {number} estimate @param {number[]} deviations @returns {Interval} */
  const ofMean = (estimate, deviations) => ({
    low: estimate - quantile(deviations, LEVEL + TAIL),
    high: estimate - quantile(deviations, TAIL),
  });

  /** What is never more than another has no end above the other's. @param {Interval} own @param {Interval} above */
  const below = (own, above) => ({ low: Math.min(own.low, above.low), high: Math.min(own.high, above.high) });

  /**
   * The interval of the lowest of the scores, whichever group it is.
   * @param {number[]} scores
   * @param {number[][]} around deviations [draw][group]
   * @returns {Interval}
   */
  function ofLowest(scores, around) {
    const near = 1 - (1 - NEAR_TAIL) ** (1 / scores.length);
    const far = 1 - LEVEL - NEAR_TAIL / scores.length;
    /** @param {number} p */
    const bound = (p) => Math.min(...scores.map((v, k) => v - quantile(column(around, k), p)));
    const [low, high] = [bound(1 - far), bound(near)].sort((a, b) => a - b);
    return { low, high };
  }

  /**
   * The values under which what was observed is in neither tail of what would have been.
   * @param {Quantity} quantity
   * @param {number} overall
   * @param {number[]} groups
   * @param {number[]} deviations of the overall score, by draw
   * @param {number[][]} around deviations [draw][group]
   * @returns {Interval}
   */
  function invert(quantity, overall, groups, deviations, around) {
    const pattern = groups.map((score) => score - overall);
    const estimate = quantity(overall, groups);
    const scale = Math.sqrt(variance(deviations));
    const spread = pattern.map((_, k) => Math.sqrt(variance(around.map((row, r) => row[k] - deviations[r]))));
    if (Math.max(scale, ...spread) <= LEAST_SPREAD) return { low: estimate, high: estimate };
    // As coarse as there, so that what is equal stays equal.
    const observed = Math.fround(estimate);
    const resolution = 0.5 / deviations.length;
    const moved = groups.slice();
    const points = line(quantity, overall, pattern, scale, spread).map(({ shift, stretch }) => {
      const centre = overall + shift;
      let below = 0;
      deviations.forEach((deviation, r) => {
        for (let k = 0; k < moved.length; k++) moved[k] = centre + stretch * pattern[k] + around[r][k];
        const found = Math.fround(quantity(centre + deviation, moved));
        below += found < observed ? 1 : found === observed ? 0.5 : 0;
      });
      const score = normalQuantile(Math.min(Math.max(below / deviations.length, resolution), 1 - resolution));
      const tail = stretch === 0 ? NEAR_TAIL : TAIL;
      const stretched = pattern.map((p) => centre + stretch * p);
      return {
        value: quantity(centre, stretched),
        low: score - normalQuantile(LEVEL + tail),
        high: score - normalQuantile(Math.max(tail, resolution)),
      };
    });
    return { low: crossing(points, "low"), high: crossing(points, "high") };
  }

  /**
   * Shift of the overall score and stretch of the pattern at each step, the quantity ascending.
   * @param {Quantity} quantity
   * @param {number} overall
   * @param {number[]} pattern
   * @param {number} deviation the standard one of the overall score
   * @param {number[]} spread that of each group's distance from it
   */
  function line(quantity, overall, pattern, deviation, spread) {
    const scale = Math.max(deviation, 1e-12);
    const distance = Math.max(Math.hypot(...pattern.map((p, k) => p / Math.max(spread[k], 1e-12))), 1e-9);
    /** @param {number} shift @param {number} stretch */
    const value = (shift, stretch) => {
      const moved = pattern.map((p) => overall + shift + stretch * p);
      return quantity(overall + shift, moved);
    };
    const small = 1e-4;
    const byShift = (value(small * scale, 1) - value(-small * scale, 1)) / small;
    const byStretch = (value(0, 1 + small / distance) - value(0, 1 - small / distance)) / small;
    const length = Math.max(Math.hypot(byShift, byStretch), 1e-300);
    const equal = byStretch ? (-length * distance) / byStretch : Number.POSITIVE_INFINITY;
    const steps = [...STEPS, byStretch ? equal : STEPS[STEPS.length - 1]].sort((a, b) => a - b);
    return steps.map((step) => {
      // Past the point where all groups are equal, only the overall score can move on.
      const past = step * Math.sign(equal) > Math.abs(equal);
      const beyond = (equal * byShift) / length + (step - equal) * Math.sign(byShift);
      return { shift: scale * (past ? beyond : (step * byShift) / length), stretch: past ? 0 : 1 - step / equal };
    });
  }

  /**
   * The value at which `end`, positive before and negative after, crosses 0.
   * @param {{value: number, low: number, high: number}[]} points
   * @param {"low" | "high"} end
   */
  function crossing(points, end) {
    const negative = points.findIndex((point) => point[end] < 0);
    const after = points[negative < 0 ? points.length - 1 : negative];
    const before = points[Math.max(points.indexOf(after) - 1, 0)];
    const fall = before[end] - after[end];
    const share = fall > 0 && after[end] < 0 ? before[end] / fall : 1;
    return before.value + share * (after.value - before.value);
  }

  return { resample, first, of, invert, chance };
})();
