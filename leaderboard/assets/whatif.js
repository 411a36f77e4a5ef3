"use strict";
// A panel under each table in which the reader changes the definition and sees the ranking follow.

/**
 * A method that the ranking lacks, with the reason.
 * @typedef {{method: string, title: string, reason: string}} Unranked
 */

(({ page: { find, all, element, counted, datum, rowsOf, words, view }, equity, scores }) => {
  /** @typedef {[key: string, text: string]} Option */
  /** @type {Option[]} */
  const METRICS = [
    ["dice", "Dice"],
    ["iou", "IoU"],
    ["nsd", "NSD at 2 px"],
  ];
  /** @type {Option[]} */
  const DEFINITIONS = [
    ["sum", "I / (1 + α Σ |I − I_g|)"],
    ["std", "I / (1 + α σ), σ over groups"],
    ["worst", "worst group"],
  ];

  /** @param {number} value */
  const digits = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");
  /** @param {number} share */
  const percent = (share) => (share < 0.01 ? "<1%" : share > 0.99 ? ">99%" : `${Math.round(100 * share)}%`);
  /** @param {Option[]} options @param {string | undefined} key */
  const textOf = (options, key) => options.find(([name]) => name === key)?.[1];

  /** @param {View} asked @param {Scores} data @param {string} attribute */
  function choiceOf(asked, data, attribute) {
    const choice = equity.preset(data);
    if (asked.es && textOf(DEFINITIONS, asked.es)) choice.definition = asked.es;
    if (asked.metric && textOf(METRICS, asked.metric)) choice.metric = asked.metric;
    const alpha = Number(asked.alpha || "1");
    if (!Number.isNaN(alpha)) choice.alpha = Math.max(0, Math.min(10, alpha));
    const wanted = words(asked.seeds).map(Number);
    const seeds = choice.seeds.filter((s) => wanted.includes(data.seeds[s]));
    if (seeds.length) choice.seeds = seeds;
    const groups = words(asked[`groups.${attribute}`]).map(Number);
    /** @param {number} g */
    const fits = (g) => Number.isInteger(g) && g >= equity.OUT && g < data.groups.length;
    if (groups.length === data.groups.length && groups.every(fits)) choice.groups = groups;
    return choice;
  }

  /** @param {string} label @param {Option[]} options @param {string} value @param {(value: string) => void} change */
  function select(label, options, value, change) {
    const offered = options.map(([key, text]) => element("option", { value: key, textContent: text }));
    const made = element("select", {}, ...offered);
    made.value = value;
    made.addEventListener("change", () => change(made.value));
    return element("label", {}, `${label} `, made);
  }

  /** @param {HTMLElement} section @param {Scores} data @param {Choice} choice */
  function controls(section, data, choice) {
    const alpha = element("input", {
      type: "number",
      min: "0",
      max: "10",
      step: "0.25",
      value: String(choice.alpha),
      disabled: choice.definition === "worst",
    });
    alpha.addEventListener("change", () => view.set({ alpha: alpha.value === "1" ? "" : alpha.value }));
    return [
      element(
        "div",
        { className: "row" },
        select("Score", METRICS, choice.metric, (value) => view.set({ metric: value === "dice" ? "" : value })),
        select("Equity", DEFINITIONS, choice.definition, (value) => view.set({ es: value === "sum" ? "" : value })),
        element("label", {}, "α ", alpha),
      ),
      element("fieldset", {}, element("legend", { textContent: "Groups" }), ...groupsOf(section, data, choice)),
      element("fieldset", {}, element("legend", { textContent: "Seeds counted" }), ...seedsOf(data, choice)),
    ];
  }

  /** @param {HTMLElement} section @param {Scores} data @param {Choice} choice */
  function groupsOf(section, data, choice) {
    return data.groups.map((name, g) => {
      /** @type {Option[]} */
      const options = [
        [String(g), "a group"],
        [String(equity.ALONE), "counts in the overall mean only"],
        [String(equity.OUT), "left out altogether"],
      ];
      data.groups.forEach((other, o) => {
        if (o !== g) options.push([String(o), `one with ${other}`]);
      });
      return select(name, options, String(choice.groups[g]), (value) => {
        const moves = choice.groups.map((to, i) => (i === g ? Number(value) : to));
        view.set({ [`groups.${datum(section, "attribute")}`]: moves.join(" ") });
      });
    });
  }

  /** @param {Scores} data @param {Choice} choice */
  function seedsOf(data, choice) {
    return data.seeds.map((seed, s) => {
      const box = element("input", { type: "checkbox", checked: choice.seeds.includes(s) });
      box.addEventListener("change", () => {
        const on = data.seeds.filter((_, i) => (i === s ? box.checked : choice.seeds.includes(i)));
        if (on.length) view.set({ seeds: on.length === data.seeds.length ? "" : on.join(" ") });
        else box.checked = true;
      });
      return element("label", {}, box, ` ${seed}`);
    });
  }

  /** @param {number} moved */
  function places(moved) {
    if (!moved) return [];
    const text = `${moved > 0 ? "up" : "down"} ${Math.abs(moved)} place${Math.abs(moved) > 1 ? "s" : ""}`;
    return [" ", small(text)];
  }

  /** @param {string} text */
  const small = (text) => element("span", { className: "ci", textContent: text });

  /** @param {number} value @param {(Node | string)[]} more */
  const number = (value, ...more) =>
    element(
      "td",
      { className: "num", data: { v: Number.isFinite(value) ? value.toPrecision(6) : "" } },
      digits(value),
      ...more,
    );

  /** @param {Scores} data @param {Choice} choice @param {Ranked[]} board */
  function table(data, choice, board) {
    const { names, rows } = equity.rank(data, choice);
    const draws = equity.resample(data, choice);
    const metric = textOf(METRICS, choice.metric) ?? "";
    const heads = [
      "Rank",
      "Method",
      "Score",
      ...(draws ? ["First"] : []),
      metric,
      ...names.map((name) => `${metric}, ${name}`),
      `Gap, ${metric}`,
    ];
    const top = heads.map((text, i) =>
      element("th", { scope: "col", textContent: text, className: i === 1 ? "" : "num" }),
    );
    const body = rows.map((row, i) => {
      const before = board.findIndex((other) => other.method === row.method);
      const own = draws?.[row.at];
      const score = number(row.score);
      if (own?.low !== undefined && own.high !== undefined) {
        Object.assign(score.dataset, { low: own.low.toPrecision(6), high: own.high.toPrecision(6) });
        score.append(small(`${digits(own.low)} to ${digits(own.high)}`));
      }
      const fewer =
        row.seeds < choice.seeds.length ? [small(`${row.seeds} of ${counted(choice.seeds.length, "seed")}`)] : [];
      const place = String(i + 1);
      return element(
        "tr",
        { data: { method: row.method } },
        element(
          "td",
          { className: "num", textContent: place, data: { v: place } },
          ...places(before < 0 ? 0 : before - i),
        ),
        element("th", { scope: "row" }, element("bdi", { textContent: row.title }), ...fewer),
        score,
        ...(own
          ? [
              element("td", {
                className: "num",
                textContent: percent(own.first),
                data: { v: own.first.toPrecision(3) },
              }),
            ]
          : []),
        number(row.overall),
        ...row.groups.map((group) => number(group)),
        number(row.gap),
      );
    });
    return element(
      "div",
      { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": "Ranking under your choices" } },
      element(
        "table",
        { className: "plain" },
        element("thead", {}, element("tr", {}, ...top)),
        element("tbody", {}, ...body),
      ),
    );
  }

  /** @param {HTMLElement} section @param {Scores} data @param {Ranked[]} rows @returns {Unranked[]} */
  function unranked(section, data, rows) {
    const ranked = new Set(rows.map((row) => row.method));
    const left = rowsOf(section).filter((row) => !ranked.has(datum(row, "method")));
    return left.map((row) => {
      const method = datum(row, "method");
      const reason = data.methods.includes(method)
        ? "no finished trial of the seeds counted"
        : `not ranked above either: ${datum(row, "status")}`;
      return { method, title: find(row, "th bdi").textContent ?? "", reason };
    });
  }

  /** @param {Unranked[]} left */
  function listed(left) {
    if (!left.length) return [];
    const names = left.flatMap(({ title, reason }, i) => [
      i ? "; " : "",
      element("bdi", { textContent: title }),
      ` (${reason})`,
    ]);
    return [element("p", { className: "own" }, "Not ranked: ", ...names, ".")];
  }

  /** @param {Scores} data @param {Choice} choice */
  function inWords(data, choice) {
    const groups = choice.groups.flatMap((to, g) => {
      if (to === g) return [];
      if (to === equity.OUT) return [`without ${data.groups[g]}`];
      return [to < 0 ? `${data.groups[g]} in the overall mean only` : `${data.groups[g]} with ${data.groups[to]}`];
    });
    const alpha = choice.definition === "worst" ? [] : [`α = ${choice.alpha}`];
    const seeds = `seeds ${choice.seeds.map((s) => data.seeds[s]).join(", ")}`;
    return [textOf(METRICS, choice.metric), textOf(DEFINITIONS, choice.definition), ...alpha, seeds, ...groups].join(
      "; ",
    );
  }

  /** @param {Ranked[]} rows */
  const orderOf = (rows) => rows.map((row) => row.method).join("\n");

  /** @param {Scores} data @param {Choice} choice @param {Ranked[]} rows */
  function strip(data, choice, rows) {
    const others = equity.alternatives(data, choice);
    const turned = others.filter((other) => other.rows[0].method !== rows[0].method);
    const shuffled = others.filter((other) => !turned.includes(other) && orderOf(other.rows) !== orderOf(rows));
    const list = element(
      "ul",
      { className: "chips" },
      ...turned.map((other) => {
        const title = element("b", {}, element("bdi", { textContent: other.rows[0].title }));
        return element("li", { className: "turns" }, `${other.words}: `, title, " first");
      }),
      ...shuffled.map((other) => element("li", {}, `${other.words}: same first, other order`)),
    );
    const text = turned.length
      ? `${turned.length} of ${others.length} single changes put another method first.`
      : `None of ${others.length} single changes puts another method first.`;
    return element(
      "div",
      { className: "strip-of-changes" },
      element("p", {}, element("b", { textContent: text })),
      list,
    );
  }

  /** @param {HTMLElement} section @param {HTMLElement} panel @param {Scores} data @param {View} asked */
  function draw(section, panel, data, asked) {
    const choice = choiceOf(asked, data, datum(section, "attribute"));
    const own = JSON.stringify(choice) !== JSON.stringify(equity.preset(data));
    const { names, rows } = equity.rank(data, choice);
    const left = unranked(section, data, rows);
    const says = own
      ? "Your own choices, not the board's."
      : "The board's own choices; change one and the order follows.";
    const precise = data.patients
      ? " Intervals are of 400 resamples made on this page, found as the board's are from 10,000."
      : " Too large for intervals on this page: the groups' means travel with it, not the single samples.";
    const inputs = () => all(panel, "select, input");
    const held = inputs().indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (own) Object.assign(panel.dataset, { choices: inWords(data, choice), unranked: JSON.stringify(left) });
    else delete panel.dataset.choices;
    const nothing = element("p", {
      className: "own",
      textContent: "Fewer than two groups are left: there is nothing to compare.",
    });
    panel.replaceChildren(
      ...controls(section, data, choice),
      element("p", { className: own ? "own" : "" }, element("b", { textContent: says }), precise),
      ...(rows.length ? [table(data, choice, equity.rank(data, equity.preset(data)).rows)] : []),
      ...(names.length < 2 ? [nothing] : listed(left)),
      ...(rows.length ? [strip(data, choice, rows)] : []),
    );
    if (held >= 0) inputs()[held].focus();
  }

  /** @param {HTMLElement} section */
  function addPanel(section) {
    const panel = element("div", { className: "panel" });
    const summary = element("summary", { textContent: "What if it were measured otherwise?" });
    const details = element("details", { className: "whatif" }, summary, panel);
    find(section, ".table").after(details);
    /** @param {View} asked */
    const update = async (asked) => {
      if (section.hidden) return;
      details.open = words(asked.whatif).includes(section.id);
      if (!details.open) return;
      try {
        draw(section, panel, await scores.get(section.id, datum(section, "scores")), asked);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        panel.replaceChildren(element("p", { className: "error", textContent: text }));
      }
    };
    details.addEventListener("toggle", () => {
      const open = new Set(words(view.read().whatif));
      if (open.has(section.id) === details.open) return;
      if (details.open) open.add(section.id);
      else open.delete(section.id);
      view.set({ whatif: [...open].join(" ") }, true);
    });
    view.onChange(update);
    update(view.read());
  }

  for (const section of all(document, "section.board[data-scores]")) addPanel(section);
})(Board);
