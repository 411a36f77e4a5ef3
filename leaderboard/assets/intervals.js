"use strict";
// The intervals of harness.equity.intervals once more, for choices that the reader makes: a bootstrap test
// inverted along the line on which the groups' pattern is stretched and the overall score shifted.
const Intervals = (() => {
  const LEVEL = 0.95, TAIL = 0.025, NEAR_TAIL = 0.04, CAUTION = 2.5;
  const STEPS = Array.from({ length: 17 }, (_, i) => -6 + 0.75 * i);

  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

  function variance(values) {
    const middle = mean(values);
    return values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / Math.max(1, values.length - 1);
  }

  function quantile(values, p) {
    const sorted = Float64Array.from(values).sort(), at = p * (sorted.length - 1), i = Math.floor(at);
    return sorted[i] + (at - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]);
  }

  // Student's 97.5th percentile over the normal one (Abramowitz and Stegun 26.7.5); within 4% from 2 degrees on.
  function wider(freedom) {
    const z = 1.959964, v = freedom;
    const terms = [z ** 3 + z, 5 * z ** 5 + 16 * z ** 3 + 3 * z, 3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z];
    return 1 + (terms[0] / (4 * v) + terms[1] / (96 * v ** 2) + terms[2] / (384 * v ** 3)) / z;
  }

  // What a small deviation of the means changes, per unit of it.
  function slope(quantity, from, to) {
    const h = 1e-4, moved = (sign) => {
      const share = (a, b) => a + sign * h * (b - a);
      return quantity(share(from.overall, to.overall), from.groups.map((g, k) => share(g, to.groups[k])));
    };
    return (moved(1) - moved(-1)) / (2 * h);
  }

  // How much longer few seeds make an interval: Satterthwaite's degrees of freedom, the seeds' share counted 2.5 times.
  function widening(quantity, estimate, draws, bySeed) {
    if (bySeed.length < 2) return 1;
    const ofSeeds = variance(bySeed.map((one) => slope(quantity, estimate, one))) / bySeed.length;
    const patients = Math.max(0, variance(draws.map((one) => slope(quantity, estimate, one))) - ofSeeds);
    const counted = CAUTION * ofSeeds;
    return counted > 0 ? wider((patients + counted) ** 2 * (bySeed.length - 1) / counted ** 2) : 1;
  }

  // Shift of the overall score and stretch of the pattern at a step, the quantity ascending.
  function line(quantity, estimate, pattern, draws) {
    const { overall } = estimate;
    const scale = Math.max(Math.sqrt(variance(draws.map((d) => d.overall))), 1e-12);
    const squares = pattern.map((p, k) => p ** 2 / Math.max(variance(draws.map((d) => d.groups[k] - d.overall)), 1e-24));
    const distance = Math.max(Math.sqrt(squares.reduce((a, b) => a + b)), 1e-9);
    const value = (shift, stretch) => quantity(overall + shift, pattern.map((p) => overall + shift + stretch * p));
    const small = 1e-4;
    const byShift = (value(small * scale, 1) - value(-small * scale, 1)) / small;
    const byStretch = (value(0, 1 + small / distance) - value(0, 1 - small / distance)) / small;
    const length = Math.max(Math.hypot(byShift, byStretch), 1e-300);
    const equal = byStretch ? -length * distance / byStretch : Infinity;
    const at = (step) => {
      // Past the point where all groups are equal, only the overall score can move on.
      const past = step * Math.sign(equal) > Math.abs(equal);
      const shift = past ? equal * byShift / length + (step - equal) * Math.sign(byShift) : step * byShift / length;
      return { overall: overall + shift * scale, stretch: past ? 0 : 1 - step / equal };
    };
    return { at, steps: [...STEPS, ...(byStretch ? [equal] : [])].sort((a, b) => a - b) };
  }

  // The interval of ES: the values under which what was observed is in neither tail of what would have been.
  function inverted(quantity, estimate, draws) {
    const pattern = estimate.groups.map((g) => g - estimate.overall);
    const observed = quantity(estimate.overall, estimate.groups);
    const { at, steps } = line(quantity, estimate, pattern, draws);
    const groups = new Array(pattern.length);
    const excess = (step, tail) => {
      const { overall, stretch } = at(step);
      let below = 0;
      for (const one of draws) {
        const centre = overall + one.overall - estimate.overall;
        for (let k = 0; k < groups.length; k++) {
          const change = one.groups[k] - estimate.groups[k] - (one.overall - estimate.overall);
          groups[k] = centre + stretch * pattern[k] + change;
        }
        const found = quantity(centre, groups);
        below += found < observed ? 1 : found === observed ? 0.5 : 0;
      }
      return below / draws.length - tail(stretch === 0 ? NEAR_TAIL : TAIL);
    };
    const crossing = (tail) => {
      let i = steps.findIndex((step) => excess(step, tail) < 0);
      if (i < 0) i = steps.length - 1;
      let before = steps[Math.max(0, i - 1)], after = steps[i];
      for (let halving = 0; halving < 7; halving++) {
        const middle = (before + after) / 2;
        if (excess(middle, tail) < 0) after = middle;
        else before = middle;
      }
      const { overall, stretch } = at(after);
      return quantity(overall, pattern.map((p) => overall + stretch * p));
    };
    return { low: crossing((tail) => LEVEL + tail), high: crossing((tail) => tail) };
  }

  // The interval of the lowest group's score, whichever group it is: an intersection-union test.
  function lowest(estimate, draws) {
    const count = estimate.groups.length;
    const near = 1 - (1 - NEAR_TAIL) ** (1 / count), far = 1 - LEVEL - NEAR_TAIL / count;
    const end = (p) => Math.min(...estimate.groups.map((g, k) => 2 * g - quantile(draws.map((d) => d.groups[k]), p)));
    return { low: end(1 - far), high: end(near) };
  }

  // estimate: {overall, groups}; draws: the same of each resample; bySeed: the same of each seed.
  function of(quantity, estimate, draws, bySeed, worst) {
    const wide = widening(quantity, estimate, draws, bySeed);
    const stretched = draws.map((one) => ({
      overall: estimate.overall + wide * (one.overall - estimate.overall),
      groups: one.groups.map((g, k) => estimate.groups[k] + wide * (g - estimate.groups[k])),
    }));
    const { low, high } = worst ? lowest(estimate, stretched) : inverted(quantity, estimate, stretched);
    return { low: Math.min(1, Math.max(0, low)), high: Math.min(1, Math.max(0, high)) };
  }

  return { of };
})();
