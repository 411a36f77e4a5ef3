"use strict";
// A panel under each table in which the reader changes the definition and sees the ranking follow.
const Scores = (() => {
  const waiting = {};
  const loaded = {};

  function receive(raw) {
    waiting[raw.section](Equity.load(raw));
  }

  function get(section) {
    loaded[section.id] ??= new Promise((resolve, reject) => {
      waiting[section.id] = resolve;
      const script = element("script", { src: section.dataset.scores });
      script.addEventListener("error", () => reject(new Error(`${section.dataset.scores} cannot be read`)));
      document.head.append(script);
    });
    return loaded[section.id];
  }

  return { receive, get };
})();

(() => {
  const METRICS = [["dice", "Dice"], ["iou", "IoU"], ["nsd", "NSD at 2 px"]];
  const DEFINITIONS = [["sum", "I / (1 + α Σ |I − I_g|)"], ["std", "I / (1 + α σ), σ over groups"], ["worst", "worst group"]];
  const digits = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");
  const percent = (share) => (share < 0.01 ? "<1%" : share > 0.99 ? ">99%" : `${Math.round(100 * share)}%`);

  function choiceOf(view, data, attribute) {
    const choice = Equity.preset(data);
    if (DEFINITIONS.some(([key]) => key === view.es)) choice.definition = view.es;
    if (METRICS.some(([key]) => key === view.metric)) choice.metric = view.metric;
    if (view.alpha && !Number.isNaN(Number(view.alpha))) choice.alpha = Math.max(0, Math.min(10, Number(view.alpha)));
    const seeds = (view.seeds || "").split(" ").filter(Boolean).map((s) => data.seeds.indexOf(Number(s))).filter((s) => s >= 0);
    if (seeds.length) choice.seeds = seeds;
    const moves = (view[`groups.${attribute}`] || "").split(" ").filter(Boolean).map(Number);
    if (moves.length === data.groups.length && moves.every((g) => g >= Equity.OUT && g < data.groups.length)) choice.groups = moves;
    return choice;
  }

  function select(label, options, value, change) {
    const made = element("select", {}, ...options.map(([key, text]) => element("option", { value: key, textContent: text })));
    made.value = value;
    made.addEventListener("change", () => change(made.value));
    return element("label", {}, `${label} `, made);
  }

  function controls(section, data, choice) {
    const attribute = section.dataset.attribute;
    const alpha = element("input", { type: "number", min: 0, max: 10, step: 0.25, value: choice.alpha, disabled: choice.definition === "worst" });
    alpha.addEventListener("change", () => View.set({ alpha: alpha.value === "1" ? "" : alpha.value }));
    const groups = data.groups.map((name, g) => {
      const options = [[g, "a group"], [-1, "counts in the overall mean only"], [Equity.OUT, "left out altogether"], ...data.groups.map((other, o) => [o, `one with ${other}`]).filter(([o]) => o !== g)];
      return select(name, options, choice.groups[g], (value) => {
        const moves = choice.groups.map((to, i) => (i === g ? Number(value) : to));
        View.set({ [`groups.${attribute}`]: moves.join(" ") });
      });
    });
    const seeds = data.seeds.map((seed, s) => {
      const box = element("input", { type: "checkbox", checked: choice.seeds.includes(s) });
      box.addEventListener("change", () => {
        const on = data.seeds.filter((_, i) => (i === s ? box.checked : choice.seeds.includes(i)));
        if (on.length) View.set({ seeds: on.length === data.seeds.length ? "" : on.join(" ") });
        else box.checked = true;
      });
      return element("label", {}, box, ` ${seed}`);
    });
    return [
      element("div", { className: "row" },
        select("Score", METRICS, choice.metric, (value) => View.set({ metric: value === "dice" ? "" : value })),
        select("Equity", DEFINITIONS, choice.definition, (value) => View.set({ es: value === "sum" ? "" : value })),
        element("label", {}, "α ", alpha)),
      element("fieldset", {}, element("legend", { textContent: "Groups" }), ...groups),
      element("fieldset", {}, element("legend", { textContent: "Seeds counted" }), ...seeds),
    ];
  }

  const label = (options, key) => options.find(([name]) => name === key)[1];

  function places(moved) {
    if (!moved) return [];
    const words = `${moved > 0 ? "up" : "down"} ${Math.abs(moved)} place${Math.abs(moved) > 1 ? "s" : ""}`;
    return [" ", element("span", { className: "ci", textContent: words })];
  }

  function table(data, choice, board) {
    const { names, rows } = Equity.rank(data, choice);
    const draws = Equity.resample(data, choice);
    const metric = label(METRICS, choice.metric);
    const heads = ["Rank", "Method", "Score", ...(draws ? ["First"] : []), metric, ...names.map((name) => `${metric}, ${name}`), `Gap, ${metric}`];
    const head = element("tr", {}, ...heads.map((text, i) => element("th", { scope: "col", textContent: text, className: i === 1 ? "" : "num" })));
    const number = (value, ...more) => element("td", { className: "num", data: { v: Number.isFinite(value) ? value.toPrecision(6) : "" } }, digits(value), ...more);
    const body = rows.map((row, i) => {
      const before = board.findIndex((other) => other.method === row.method);
      const own = draws && draws[row.at];
      const score = number(row.score);
      if (own) {
        Object.assign(score.dataset, { low: own.low.toPrecision(6), high: own.high.toPrecision(6) });
        score.append(element("span", { className: "ci", textContent: `${digits(own.low)} to ${digits(own.high)}` }));
      }
      const fewer = row.seeds < choice.seeds.length ? [element("span", { className: "ci", textContent: `${row.seeds} of ${choice.seeds.length} seeds` })] : [];
      return element("tr", { data: { method: row.method } },
        element("td", { className: "num", textContent: i + 1, data: { v: i + 1 } }, ...places(before < 0 ? 0 : before - i)),
        element("th", { scope: "row" }, element("bdi", { textContent: row.title }), ...fewer),
        score,
        ...(own ? [element("td", { className: "num", textContent: percent(own.first), data: { v: own.first.toPrecision(3) } })] : []),
        number(row.overall), ...row.groups.map((group) => number(group)), number(row.gap));
    });
    const made = element("table", { className: "plain" }, element("thead", {}, head), element("tbody", {}, ...body));
    return element("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": "Ranking under your choices" } }, made);
  }

  // The methods that the ranking lacks, each with the reason.
  function unranked(section, data, rows) {
    const ranked = new Set(rows.map((row) => row.method));
    return rowsOf(section).filter((row) => !ranked.has(row.dataset.method)).map((row) => ({
      method: row.dataset.method,
      title: row.querySelector("th bdi").textContent,
      reason: data.methods.includes(row.dataset.method) ? "no finished trial of the seeds counted" : `not ranked above either: ${row.dataset.status}`,
    }));
  }

  function listed(left) {
    if (!left.length) return [];
    const names = left.flatMap(({ title, reason }, i) => [i ? "; " : "", element("bdi", { textContent: title }), ` (${reason})`]);
    return [element("p", { className: "own" }, "Not ranked: ", ...names, ".")];
  }

  function inWords(data, choice) {
    const groups = choice.groups.flatMap((to, g) => {
      if (to === g) return [];
      return [to === Equity.OUT ? `without ${data.groups[g]}` : to < 0 ? `${data.groups[g]} in the overall mean only` : `${data.groups[g]} with ${data.groups[to]}`];
    });
    const alpha = choice.definition === "worst" ? [] : [`α = ${choice.alpha}`];
    return [label(METRICS, choice.metric), label(DEFINITIONS, choice.definition), ...alpha, `seeds ${choice.seeds.map((s) => data.seeds[s]).join(", ")}`, ...groups].join("; ");
  }

  function strip(data, choice, rows) {
    const first = rows[0].method, order = rows.map((row) => row.method).join("\n");
    const others = Equity.alternatives(data, choice);
    const turned = others.filter((other) => other.rows[0].method !== first);
    const shuffled = others.filter((other) => other.rows[0].method === first && other.rows.map((row) => row.method).join("\n") !== order);
    const list = element("ul", { className: "chips" },
      ...turned.map((other) => element("li", { className: "turns" }, `${other.words}: `, element("b", {}, element("bdi", { textContent: other.rows[0].title })), " first")),
      ...shuffled.map((other) => element("li", {}, `${other.words}: same first, other order`)));
    const words = turned.length
      ? `${turned.length} of ${others.length} single changes put another method first.`
      : `None of ${others.length} single changes puts another method first.`;
    return element("div", { className: "strip-of-changes" }, element("p", {}, element("b", { textContent: words })), list);
  }

  function draw(section, panel, data, view) {
    const choice = choiceOf(view, data, section.dataset.attribute);
    const own = JSON.stringify(choice) !== JSON.stringify(Equity.preset(data));
    const { names, rows } = Equity.rank(data, choice);
    const left = unranked(section, data, rows);
    const says = own ? "Your own choices, not the board's." : "The board's own choices; change one and the order follows.";
    const precise = data.patients ? " Intervals are of 400 resamples made on this page, found as the board's are from 10,000." : " Too large for intervals on this page: the groups' means travel with it, not the single samples.";
    const held = panel.contains(document.activeElement) ? [...panel.querySelectorAll("select, input")].indexOf(document.activeElement) : -1;
    if (own) Object.assign(panel.dataset, { choices: inWords(data, choice), unranked: JSON.stringify(left) });
    else delete panel.dataset.choices;
    panel.replaceChildren(
      ...controls(section, data, choice),
      element("p", { className: own ? "own" : "" }, element("b", { textContent: says }), precise),
      ...(rows.length ? [table(data, choice, Equity.rank(data, Equity.preset(data)).rows)] : []),
      ...(names.length < 2 ? [element("p", { className: "own", textContent: "Fewer than two groups are left: there is nothing to compare." })] : listed(left)),
      ...(rows.length ? [strip(data, choice, rows)] : []),
    );
    if (held >= 0) panel.querySelectorAll("select, input")[held].focus();
  }

  function addPanel(section) {
    const panel = element("div", { className: "panel" });
    const details = element("details", { className: "whatif" }, element("summary", { textContent: "What if it were measured otherwise?" }), panel);
    section.querySelector(".table").after(details);
    const openOnes = (view) => new Set((view.whatif || "").split(" ").filter(Boolean));
    const update = async (view) => {
      if (section.hidden) return;
      details.open = openOnes(view).has(section.id);
      if (!details.open) return;
      try {
        draw(section, panel, await Scores.get(section), view);
      } catch (error) {
        panel.replaceChildren(element("p", { className: "error", textContent: error.message }));
      }
    };
    details.addEventListener("toggle", () => {
      const open = openOnes(View.read());
      if (open.has(section.id) === details.open) return;
      if (details.open) open.add(section.id);
      else open.delete(section.id);
      View.set({ whatif: [...open].join(" ") }, true);
    });
    View.onChange(update);
    update(View.read());
  }

  document.querySelectorAll("section.board[data-scores]").forEach(addPanel);
})();
