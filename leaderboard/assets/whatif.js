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
    if (Number(view.alpha) >= 0 && view.alpha) choice.alpha = Math.min(10, Number(view.alpha));
    const seeds = (view.seeds || "").split(" ").filter(Boolean).map((s) => data.seeds.indexOf(Number(s))).filter((s) => s >= 0);
    if (seeds.length) choice.seeds = seeds;
    const moves = (view[`groups.${attribute}`] || "").split(" ").filter(Boolean).map(Number);
    if (moves.length === data.groups.length && moves.every((g) => g >= -1 && g < data.groups.length)) choice.groups = moves;
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
      const options = [[g, "a group"], [-1, "left out"], ...data.groups.map((other, o) => [o, `one with ${other}`]).filter(([o]) => o !== g)];
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

  function table(data, choice, board) {
    const { names, rows } = Equity.rank(data, choice);
    const draws = Equity.resample(data, choice);
    const heads = ["Rank", "Method", "Score", ...(draws ? ["95% interval", "First"] : []), "Overall", ...names, "Gap"];
    const head = element("tr", {}, ...heads.map((text, i) => element("th", { scope: "col", textContent: text, className: i === 1 ? "" : "num" })));
    const body = rows.map((row, i) => {
      const before = board.findIndex((other) => other.method === row.method);
      const moved = before === i ? "" : before > i ? ` ▲ ${before - i}` : ` ▼ ${i - before}`;
      const own = draws && draws[row.at];
      const cells = [digits(row.score), ...(own ? [`${digits(own.low)} to ${digits(own.high)}`, percent(own.first)] : []), digits(row.overall), ...row.groups.map(digits), digits(row.gap)];
      return element("tr", { data: { method: row.method } },
        element("td", { className: "num", textContent: i + 1 }, element("span", { className: "moved", textContent: moved })),
        element("th", { scope: "row" }, element("bdi", { textContent: row.title })),
        ...cells.map((text) => element("td", { className: "num", textContent: text })));
    });
    const made = element("table", { className: "plain" }, element("thead", {}, head), element("tbody", {}, ...body));
    return element("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": "Ranking under your choices" } }, made);
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
    const { rows } = Equity.rank(data, choice);
    const says = own ? "Your own choices, not the board's." : "The board's own choices; change one and the order follows.";
    const precise = data.patients ? " Intervals are percentiles of 300 resamples made on this page; the board's are more exact." : " Too large for intervals on this page: the groups' means travel with it, not the single samples.";
    const held = panel.contains(document.activeElement) ? [...panel.querySelectorAll("select, input")].indexOf(document.activeElement) : -1;
    panel.replaceChildren(
      ...controls(section, data, choice),
      element("p", { className: own ? "own" : "" }, element("b", { textContent: says }), precise),
      ...(rows.length ? [table(data, choice, Equity.rank(data, Equity.preset(data)).rows), strip(data, choice, rows)] : [element("p", { textContent: "Fewer than two groups are left: nothing to compare." })]),
    );
    if (held >= 0) panel.querySelectorAll("select, input")[held].focus();
  }

  function addPanel(section) {
    const panel = element("div", { className: "panel" });
    const details = element("details", { className: "whatif" }, element("summary", { textContent: "What if it were measured otherwise?" }), panel);
    section.querySelector(".table").after(details);
    const update = async (view) => {
      if (section.hidden) return;
      if (view.whatif && !details.open) details.open = true;
      if (!details.open) return;
      try {
        draw(section, panel, await Scores.get(section), view);
      } catch (error) {
        panel.replaceChildren(element("p", { className: "error", textContent: error.message }));
      }
    };
    details.addEventListener("toggle", () => {
      const open = [...document.querySelectorAll("details.whatif")].some((other) => other.open);
      View.set({ whatif: open ? "yes" : "" }, true);
      update(View.read());
    });
    View.onChange(update);
    update(View.read());
  }

  document.querySelectorAll("section.board[data-scores]").forEach(addPanel);
})();
