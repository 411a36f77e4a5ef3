"use strict";
// The definitions of harness.equity once more, for a reader who wants to change them.
const Equity = (() => {
  const MISSING = 65535;
  const UNKNOWN = 255;
  const ALONE = -1, OUT = -2; // of a group that is none: its samples count in the overall mean only, or nowhere

  async function unpack(text, itemsize) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    if (itemsize === 1) return planes;
    const n = planes.length / 2;
    return Uint16Array.from({ length: n }, (_, i) => planes[i] | (planes[n + i] << 8));
  }

  async function load(raw) {
    return {
      ...raw,
      codes: await unpack(raw.codes, 1),
      patients: raw.patients && (await unpack(raw.patients, 2)),
      values: await unpack(raw.values, 2),
    };
  }

  // Score of one method, seed and unit: a fraction, or NaN where the seed has no finished trial.
  function at(data, method, seed, metric, unit) {
    const derived = metric === "iou" && !data.metrics.includes("iou");
    const m = data.metrics.indexOf(derived ? "dice" : metric);
    const step = data.values[((method * data.seeds.length + seed) * data.metrics.length + m) * data.units + unit];
    if (step === MISSING) return NaN;
    const score = step / data.scale;
    return derived ? score / (2 - score) : score;
  }

  // The board's own choices for a section.
  function preset(data) {
    return {
      definition: "sum", alpha: 1, metric: "dice", seeds: data.seeds.map((_, i) => i),
      groups: data.groups.map((_, i) => i),
    };
  }

  // Position of each unit's group among the groups that count, ALONE or OUT.
  function strata(data, choice) {
    const used = [...new Set(choice.groups.filter((g) => g >= 0))].sort((a, b) => a - b);
    const place = choice.groups.map((g) => (g < 0 ? g : used.indexOf(g)));
    return {
      of: Array.from(data.codes, (code) => (code === UNKNOWN ? ALONE : place[code])),
      names: used.map((g) => data.groups.filter((_, i) => choice.groups[i] === g).join(" + ")),
    };
  }

  const has = (data, method, seed) => !Number.isNaN(at(data, method, seed, "dice", 0));

  function means(data, method, choice, { of, names }, times = null) {
    const seeds = choice.seeds.filter((seed) => has(data, method, seed));
    const sums = new Float64Array(names.length + 1), sizes = new Float64Array(names.length + 1);
    let total = 0, size = 0;
    for (let u = 0; u < data.units; u++) {
      const weight = (data.weights ? data.weights[u] : 1) * (times ? times[u] : 1);
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

  function score(overall, groups, definition, alpha) {
    if (groups.length < 2) return NaN;
    if (definition === "sum") return overall / (1 + alpha * groups.reduce((sum, g) => sum + Math.abs(g - overall), 0));
    if (definition === "worst") return Math.min(...groups);
    const middle = groups.reduce((a, b) => a + b) / groups.length;
    const variance = groups.reduce((sum, g) => sum + (g - middle) ** 2, 0) / groups.length;
    return overall / (1 + alpha * Math.sqrt(variance));
  }

  function rank(data, choice) {
    const layout = strata(data, choice);
    const rows = data.methods.map((method, m) => {
      const found = means(data, m, choice, layout);
      const gap = Math.max(...found.groups) - Math.min(...found.groups);
      return { method, title: data.titles[m], at: m, ...found, gap, score: score(found.overall, found.groups, choice.definition, choice.alpha) };
    });
    const there = rows.filter((row) => row.seeds > 0 && !Number.isNaN(row.score));
    there.sort((a, b) => b.score - a.score || a.at - b.at);
    return { names: layout.names, rows: there };
  }

  function randomFrom(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  // Intervals as harness.equity has them, of fewer resamples, and the share of resamples in which a method is first.
  // Patients are drawn within group with replacement. So are seeds, their deviations stretched by sqrt(S / (S - 1)) to
  // the unbiased variance.
  function resample(data, choice, resamples = 400) {
    if (!data.patients) return null;
    const layout = strata(data, choice), random = randomFrom(1), sums = gather(data, choice, layout);
    const found = data.methods.map(() => []), first = data.methods.map(() => 0);
    const quantity = (overall, groups) => score(overall, groups, choice.definition, choice.alpha);
    for (let r = 0; r < resamples; r++) {
      const seeds = drawSeeds(choice.seeds.length, random);
      let best = -1, highest = -Infinity;
      draw(data, sums, seeds, layout.names.length, random).forEach((one, m) => {
        const value = quantity(one.overall, one.groups);
        if (Number.isNaN(value)) return;
        found[m].push(one);
        if (value > highest) [best, highest] = [m, value];
      });
      if (best >= 0) first[best] += 1 / resamples;
    }
    return found.map((draws, m) => {
      if (!draws.length) return { first: 0 };
      const seeds = choice.seeds.filter((seed) => has(data, m, seed));
      const bySeed = seeds.map((seed) => means(data, m, { ...choice, seeds: [seed] }, layout));
      return { ...Intervals.of(quantity, means(data, m, choice, layout), draws, bySeed, choice.definition === "worst"), first: first[m] };
    });
  }

  // Weights of the seeds, 1 on average.
  function drawSeeds(count, random) {
    const times = new Array(count).fill(0);
    for (let i = 0; i < count; i++) times[Math.floor(random() * count)] += 1;
    return times.map((t) => 1 + (t - 1) * Math.sqrt(count / Math.max(1, count - 1)));
  }

  // Sums by stratum and patient: [stratum][patient] -> {size, [method][seed]}.
  function gather(data, choice, { of, names }) {
    const strataOf = [...names, ""].map(() => new Map());
    for (let u = 0; u < data.units; u++) {
      if (of[u] === OUT) continue;
      const stratum = strataOf[of[u] < 0 ? names.length : of[u]], key = data.patients[u];
      if (!stratum.has(key)) stratum.set(key, { size: 0, sums: new Float64Array(data.methods.length * choice.seeds.length) });
      const patient = stratum.get(key);
      patient.size += 1;
      data.methods.forEach((_, m) => choice.seeds.forEach((seed, s) => (patient.sums[m * choice.seeds.length + s] += at(data, m, seed, choice.metric, u))));
    }
    return strataOf.map((stratum) => [...stratum.values()]);
  }

  function draw(data, sums, seeds, groups, random) {
    const width = data.methods.length * seeds.length;
    const drawn = sums.map((patients) => {
      const total = { size: 0, sums: new Float64Array(width) };
      for (let i = 0; i < patients.length; i++) {
        const patient = patients[Math.floor(random() * patients.length)];
        total.size += patient.size;
        for (let k = 0; k < width; k++) total.sums[k] += patient.sums[k];
      }
      return total;
    });
    const size = drawn.reduce((sum, part) => sum + part.size, 0);
    return data.methods.map((_, m) => {
      const own = seeds.map((_, s) => s).filter((s) => !Number.isNaN(drawn[0].sums[m * seeds.length + s]));
      const middle = own.reduce((sum, s) => sum + seeds[s], 0) / own.length;
      const total = (part) => own.reduce((sum, s) => sum + (1 + seeds[s] - middle) * part.sums[m * seeds.length + s], 0) / own.length;
      const overall = drawn.reduce((sum, part) => sum + (part.size ? total(part) : 0), 0) / size;
      return { overall, groups: drawn.slice(0, groups).map((part) => total(part) / part.size) };
    });
  }

  // Every choice that differs in one thing, with the order it leads to.
  function alternatives(data, choice) {
    const found = [];
    const add = (words, changes) => {
      const other = { ...choice, ...changes };
      if (JSON.stringify(other) !== JSON.stringify(choice)) found.push({ words, ...rank(data, other) });
    };
    for (const alpha of [0.5, 1, 2]) add(`ES (sum), α = ${alpha}`, { definition: "sum", alpha });
    add("ES (std), α = 1", { definition: "std", alpha: 1 });
    add("worst group", { definition: "worst" });
    for (const metric of ["dice", "iou", "nsd"]) add(metric === "nsd" ? "NSD" : metric === "iou" ? "IoU" : "Dice", { metric });
    data.groups.forEach((name, g) => {
      if (choice.groups[g] >= 0) add(`without ${name}`, { groups: choice.groups.map((to, i) => (i === g ? OUT : to)) });
    });
    if (choice.seeds.length > 1) {
      choice.seeds.forEach((seed) => add(`without seed ${data.seeds[seed]}`, { seeds: choice.seeds.filter((s) => s !== seed) }));
    }
    return found.filter((other) => other.rows.length);
  }

  return { load, preset, rank, resample, alternatives, score, strata, OUT };
})();
