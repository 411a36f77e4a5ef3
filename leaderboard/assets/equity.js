"use strict";
// The definitions of harness.equity once more, for a reader who wants to change them.

/**
 * A section's scores as leaderboard/payload.py packs them. groups: those that count; units: samples, or whole
 * groups in a large section, where weights says how many samples each is and patients is null.
 * @typedef {object} Packed
 * @property {number} version
 * @property {string} section
 * @property {string[]} methods
 * @property {string[]} titles
 * @property {number[]} seeds
 * @property {string[]} groups
 * @property {string[]} metrics
 * @property {number} scale
 * @property {number} units
 * @property {number[] | null} weights
 * @property {string} codes position of each unit's group, 255 unknown
 * @property {string | null} patients of each unit
 * @property {string} values [method][seed][metric][unit] in steps of 1/scale, 65535 for no finished trial
 *
 * @typedef {{codes: Uint8Array, patients: Uint16Array | null, values: Uint16Array}} Unpacked
 * @typedef {Omit<Packed, keyof Unpacked> & Unpacked} Scores
 *
 * What the reader chose. seeds: positions; groups: where each group goes, another's position for one with that.
 * @typedef {{definition: string, alpha: number, metric: string, seeds: number[], groups: number[]}} Choice
 *
 * Where the samples go: a position among `names`, ALONE or OUT.
 * @typedef {{of: number[], names: string[]}} Layout
 *
 * @typedef {{overall: number, groups: number[], seeds: number}} Means
 * @typedef {Means & {method: string, title: string, at: number, gap: number, score: number}} Ranked
 * @typedef {{names: string[], rows: Ranked[]}} Ranking
 */

Board.equity = (({ intervals }) => {
  const MISSING = 65535;
  const UNKNOWN = 255;
  // Of a group that is none: its samples count in the overall mean only, or nowhere.
  const ALONE = -1;
  const OUT = -2;

  /** @param {string} text @returns {Promise<Uint8Array>} */
  async function bytes(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** Numbers of two bytes: all the low bytes come first. @param {string} text */
  async function pairs(text) {
    const planes = await bytes(text);
    const n = planes.length / 2;
    return Uint16Array.from({ length: n }, (_, i) => planes[i] | (planes[n + i] << 8));
  }

  /** @param {Packed} packed @returns {Promise<Scores>} */
  async function load(packed) {
    return {
      ...packed,
      codes: await bytes(packed.codes),
      patients: packed.patients === null ? null : await pairs(packed.patients),
      values: await pairs(packed.values),
    };
  }

  /**
   * Score of one method, seed and unit: a fraction, or NaN where the seed has no finished trial.
   * @param {Scores} data
   * @param {number} method
   * @param {number} seed
   * @param {string} metric
   * @param {number} unit
   */
  function at(data, method, seed, metric, unit) {
    const derived = metric === "iou" && !data.metrics.includes("iou");
    const m = data.metrics.indexOf(derived ? "dice" : metric);
    const step = data.values[((method * data.seeds.length + seed) * data.metrics.length + m) * data.units + unit];
    if (step === MISSING) return Number.NaN;
    const score = step / data.scale;
    return derived ? score / (2 - score) : score;
  }

  /** The board's own choices for a section. @param {Scores} data @returns {Choice} */
  function preset(data) {
    const [seeds, groups] = [data.seeds, data.groups].map((names) => [...names.keys()]);
    return { definition: "sum", alpha: 1, metric: "dice", seeds, groups };
  }

  /** @param {Scores} data @param {Choice} choice @returns {Layout} */
  function layoutOf(data, choice) {
    const used = [...new Set(choice.groups.filter((g) => g >= 0))].sort((a, b) => a - b);
    const place = choice.groups.map((g) => (g < 0 ? g : used.indexOf(g)));
    return {
      of: Array.from(data.codes, (code) => (code === UNKNOWN ? ALONE : place[code])),
      names: used.map((g) => data.groups.filter((_, i) => choice.groups[i] === g).join(" + ")),
    };
  }

  // Of the seeds that count, those that the method has finished.
  /** @param {Scores} data @param {number} method @param {Choice} choice */
  const seedsOf = (data, method, choice) =>
    choice.seeds.filter((seed) => !Number.isNaN(at(data, method, seed, "dice", 0)));

  /** @param {Scores} data @param {number} method @param {Choice} choice @param {Layout} layout @returns {Means} */
  function means(data, method, choice, { of, names }) {
    const seeds = seedsOf(data, method, choice);
    const sums = new Float64Array(names.length);
    const sizes = new Float64Array(names.length);
    let total = 0;
    let size = 0;
    for (let u = 0; u < data.units; u++) {
      const weight = data.weights ? data.weights[u] : 1;
      if (!weight || of[u] === OUT) continue;
      let score = 0;
      for (const seed of seeds) score += at(data, method, seed, choice.metric, u);
      score /= seeds.length;
      total += weight * score;
      size += weight;
      if (of[u] >= 0) {
        sums[of[u]] += weight * score;
        sizes[of[u]] += weight;
      }
    }
    return { overall: total / size, groups: names.map((_, g) => sums[g] / sizes[g]), seeds: seeds.length };
  }

  /** @param {number} overall @param {ArrayLike<number>} groups @param {string} definition @param {number} alpha */
  function score(overall, groups, definition, alpha) {
    const n = groups.length;
    if (n < 2) return Number.NaN;
    let lowest = groups[0];
    let sum = 0;
    let away = 0;
    for (let g = 0; g < n; g++) {
      lowest = Math.min(lowest, groups[g]);
      sum += groups[g];
      away += Math.abs(groups[g] - overall);
    }
    if (definition === "worst") return lowest;
    if (definition === "sum") return overall / (1 + alpha * away);
    let squares = 0;
    for (let g = 0; g < n; g++) squares += (groups[g] - sum / n) ** 2;
    return overall / (1 + alpha * Math.sqrt(squares / n));
  }

  /** @param {Choice} choice @returns {Quantity} */
  const quantityOf = (choice) => (overall, groups) => score(overall, groups, choice.definition, choice.alpha);

  /** The methods that have a score, best first. @param {Scores} data @param {Choice} choice @returns {Ranking} */
  function rank(data, choice) {
    const layout = layoutOf(data, choice);
    const rows = data.methods.map((method, m) => {
      const found = means(data, m, choice, layout);
      const gap = Math.max(...found.groups) - Math.min(...found.groups);
      return {
        method,
        title: data.titles[m],
        at: m,
        ...found,
        gap,
        score: quantityOf(choice)(found.overall, found.groups),
      };
    });
    const there = rows.filter((row) => row.seeds > 0 && !Number.isNaN(row.score));
    there.sort((a, b) => b.score - a.score || a.at - b.at);
    return { names: layout.names, rows: there };
  }

  /**
   * The samples that count, gathered by patient and stratum.
   * @param {Scores} data
   * @param {ArrayLike<number>} patients
   * @param {Choice} choice
   * @returns {Units}
   */
  function unitsOf(data, patients, choice) {
    const { of, names } = layoutOf(data, choice);
    /** @type {Map<string, number>} */
    const places = new Map();
    /** @type {number[]} */
    const strata = [];
    /** @type {number[]} */
    const samples = [];
    const place = of.map((to, u) => {
      if (to === OUT) return OUT;
      const stratum = to < 0 ? names.length : to;
      const key = `${patients[u]}/${stratum}`;
      const unit = places.get(key) ?? strata.length;
      if (unit === strata.length) {
        places.set(key, unit);
        strata.push(stratum);
        samples.push(0);
      }
      samples[unit] += 1;
      return unit;
    });
    const methods = data.methods.map((_, m) => {
      const own = seedsOf(data, m, choice);
      const sums = own.map((seed) => {
        const row = new Float64Array(strata.length);
        place.forEach((unit, u) => {
          if (unit !== OUT) row[unit] += at(data, m, seed, choice.metric, u);
        });
        return row;
      });
      return { seeds: own.map((seed) => choice.seeds.indexOf(seed)), sums };
    });
    return { strata: names.length + 1, seeds: choice.seeds.length, of: strata, samples, methods };
  }

  /**
   * Each method's interval, of fewer resamples than the board's, and the share of them in which it is first.
   * @param {Scores} data
   * @param {Choice} choice
   * @param {number} [resamples]
   * @returns {({first: number} & Partial<Interval>)[] | null}
   */
  function resample(data, choice, resamples = 400) {
    if (!data.patients) return null;
    const quantity = quantityOf(choice);
    const draws = intervals.resample(unitsOf(data, data.patients, choice), resamples);
    return intervals.first(draws, quantity).map((first, m) => {
      if (!draws.methods[m].seeds.length) return { first };
      return { ...intervals.of(draws, m, quantity, choice.definition === "worst"), first };
    });
  }

  /** Every choice that differs in one thing, with the order it leads to. @param {Scores} data @param {Choice} choice */
  function alternatives(data, choice) {
    /** @type {(Ranking & {words: string})[]} */
    const found = [];
    /** @param {string} words @param {Partial<Choice>} changes */
    const add = (words, changes) => {
      const other = { ...choice, ...changes };
      if (JSON.stringify(other) !== JSON.stringify(choice)) found.push({ words, ...rank(data, other) });
    };
    for (const alpha of [0.5, 1, 2]) add(`ES (sum), α = ${alpha}`, { definition: "sum", alpha });
    add("ES (std), α = 1", { definition: "std", alpha: 1 });
    add("worst group", { definition: "worst" });
    for (const [metric, words] of Object.entries({ dice: "Dice", iou: "IoU", nsd: "NSD" })) add(words, { metric });
    data.groups.forEach((name, g) => {
      if (choice.groups[g] >= 0) add(`without ${name}`, { groups: choice.groups.map((to, i) => (i === g ? OUT : to)) });
    });
    if (choice.seeds.length > 1) {
      for (const seed of choice.seeds)
        add(`without seed ${data.seeds[seed]}`, { seeds: choice.seeds.filter((s) => s !== seed) });
    }
    return found.filter((other) => other.rows.length);
  }

  return { load, at, preset, rank, resample, alternatives, score, unitsOf, ALONE, OUT };
})(Board);
