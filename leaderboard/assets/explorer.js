"use strict";
// Every test case of a board as a point and as a row: found by number or name, by group and by score, with one method
// against another. A method's scores are read when it is chosen.

/**
 * @typedef {{name: string, title: string, page: string, file: string}} Told of a method
 * @typedef {object} PackedCaseTable
 * @property {string} anchor
 * @property {string} name
 * @property {string} attribute
 * @property {string[]} groups
 * @property {number} cases
 * @property {string} codes place of each case's group, 255 for none
 * @property {string | null} sizes pixels
 * @property {number[]} methods places, in order of rank
 * @property {string} baseline
 * @property {string[] | null} samples
 * @property {boolean} pictured
 *
 * @typedef {object} PackedCases
 * @property {number} scale
 * @property {Told[]} methods
 * @property {number} left methods without single cases here
 * @property {PackedCaseTable[]} tables
 * @property {Record<string, Record<string, string>>} maps
 * @property {string} image
 *
 * @typedef {{at: number, codes: Uint8Array, sizes: Uint32Array | null}} OfCases at: where a method's values of it begin
 * @typedef {Omit<PackedCaseTable, keyof OfCases> & OfCases} CaseTable
 *
 * What is shown: x and y hold a number a case, NaN where there is none.
 * @typedef {{table: CaseTable, y: Float64Array, x: Float64Array, yTitle: string, xTitle: string, isMethod: boolean, shown: number[]}} Shown
 */

Board.explorer = (({ page: { find, all, element, files, datum, inflated, view }, samples }) => {
  const NONE = 65535;
  const UNKNOWN = 255;
  const ROWS = 25;
  const BESIDE = 4;
  const NEAR = 24;
  const LEFT = 48;
  const FOOT = 44;
  const TOP = 12;
  const NO_GROUP = "group not known or too small";

  const root = find(document, "#cases");
  const canvas = find(root, "canvas", HTMLCanvasElement);
  const panel = find(root, ".case");
  const said = find(root, ".said");
  /** @param {string} name */
  const select = (name) => find(root, `select[name=${name}]`, HTMLSelectElement);
  /** @param {string} name */
  const input = (name) => find(root, `input[name=${name}]`, HTMLInputElement);
  const shapes = [...document.querySelectorAll("svg.marks path[id^=dot]")].map(
    (path) => new Path2D(path.getAttribute("d") ?? ""),
  );

  /** @type {ReturnType<typeof files<PackedCases & string>>} */
  const given = files();
  /** @type {Map<string, Promise<Uint16Array>>} */
  const unpacked = new Map();

  /** Numbers of so many bytes, of which those of equal significance are together. @param {string} text @param {number} size */
  async function numbers(text, size) {
    const planes = await inflated(text);
    const n = planes.length / size;
    return Uint32Array.from({ length: n }, (_, i) => {
      let value = 0;
      for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + planes[byte * n + i];
      return value;
    });
  }

  /** A method's Dice of every case of every table. @param {Told} method */
  function valuesOf({ name, file }) {
    const key = `method ${name}`;
    const known = unpacked.get(key);
    if (known) return known;
    const made = given
      .get(key, datum(root, "root") + file)
      .then((text) => numbers(text, 2))
      .then((values) => Uint16Array.from(values));
    unpacked.set(key, made);
    return made;
  }

  /** @param {number} value */
  const digits = (value) => (Number.isNaN(value) ? "–" : value.toFixed(3));
  /** @param {string} text */
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  /** @param {number} value */
  const signed = (value) => (Number.isNaN(value) ? "–" : `${signOf(value)}${Math.abs(value).toFixed(3)}`);
  /** @param {number} value */
  const signOf = (value) => (Math.abs(value) < 0.0005 ? "±" : value < 0 ? "−" : "+");
  /** @param {CaseTable} table @param {number} i */
  const groupOf = (table, i) => (table.codes[i] === UNKNOWN ? NO_GROUP : table.groups[table.codes[i]]);
  /** @param {CaseTable} table @param {number} i */
  const nameOf = (table, i) => `case ${i + 1}${table.samples ? ` (${table.samples[i]})` : ""}`;

  /** @param {PackedCases} board */
  async function start(board) {
    /** @type {CaseTable[]} */
    const tables = [];
    let at = 0;
    for (const one of board.tables) {
      const sizes = one.sizes === null ? null : await numbers(one.sizes, 4);
      tables.push({ ...one, at, codes: await inflated(one.codes), sizes });
      at += one.cases;
    }
    const byName = new Map(board.methods.map((method) => [method.name, method]));
    /** @type {Shown | null} */
    let now = null;
    let rows = ROWS;
    let asking = 0;
    let here = -1;
    let picked = -1;
    /** The case that was asked for from the table, from where the panel may not be seen. */
    let wanted = -1;
    /** @type {string[]} */
    let beside = [];
    /** Where points are, in pixels of the page. @type {{x: Float64Array, y: Float64Array}} */
    let places = { x: new Float64Array(), y: new Float64Array() };
    const drawn = document.createElement("canvas");

    /** @param {string} name @param {CaseTable} table */
    async function diceOf(name, table) {
      const method = byName.get(name);
      if (!method) return new Float64Array(table.cases).fill(Number.NaN);
      const values = await valuesOf(method);
      return Float64Array.from({ length: table.cases }, (_, i) => {
        const step = values[table.at + i];
        return step === NONE ? Number.NaN : step / board.scale;
      });
    }

    /** @param {HTMLSelectElement} into @param {[string, string][]} options @param {string} value */
    function offer(into, options, value) {
      const key = options.map(([name]) => name).join("\n");
      if (into.dataset.key !== key) {
        into.replaceChildren(...options.map(([name, textContent]) => element("option", { value: name, textContent })));
        into.dataset.key = key;
      }
      into.value = value;
    }

    /** @param {CaseTable} table */
    function offerGroups(table) {
      const box = find(root, "fieldset.groups");
      if (box.dataset.table === table.anchor) return;
      box.dataset.table = table.anchor;
      const codes = [...new Set(table.codes)].sort((a, b) => a - b);
      const labels = codes.map((code) => {
        const check = element("input", { type: "checkbox", name: "group", value: String(code), checked: true });
        check.addEventListener("change", () => {
          const off = all(box, "input", HTMLInputElement).filter((one) => !one.checked);
          view.set({ without: off.map((one) => one.value).join(" ") });
        });
        return element("label", {}, check, mark(code), code === UNKNOWN ? NO_GROUP : table.groups[code]);
      });
      box.replaceChildren(element("legend", { textContent: capital(table.attribute) }), ...labels);
    }

    /** A group's mark as the figure has it. @param {number} code */
    function mark(code) {
      const NS = "http://www.w3.org/2000/svg";
      const svg = document.createElementNS(NS, "svg");
      svg.setAttribute("class", "in mark");
      svg.setAttribute("aria-hidden", "true");
      const use = document.createElementNS(NS, "use");
      const known = code !== UNKNOWN;
      use.setAttribute("href", `#mark${known ? shapeOf(code) : 0}`);
      use.setAttribute("class", known ? `f-g${code % 6}` : "f-soft");
      use.setAttribute("x", "7");
      use.setAttribute("y", "7");
      svg.append(use);
      return svg;
    }

    /** @param {View} asked */
    async function show(asked) {
      const mine = ++asking;
      const table = tables.find(({ anchor }) => anchor === asked.table) ?? tables[0];
      const names = table.methods.map((place) => board.methods[place].name);
      const y = names.includes(asked.y ?? "") ? String(asked.y) : names[0];
      /** @type {[string, string][]} */
      const ways = table.sizes ? [["", "its true size"]] : [["", "its number"]];
      const others = names.filter((name) => name !== y);
      /** @param {string} name @returns {[string, string]} */
      const option = (name) => [name, byName.get(name)?.title ?? name];
      const x = others.includes(asked.x ?? "") ? String(asked.x) : "";
      offer(
        select("table"),
        tables.map(({ anchor, name }) => [anchor, name]),
        table.anchor,
      );
      offer(select("y"), names.map(option), y);
      offer(select("x"), [...ways, ...others.map(option)], x);
      offerGroups(table);
      try {
        const [dice, other] = await Promise.all([diceOf(y, table), x ? diceOf(x, table) : null]);
        if (mine !== asking) return;
        const sizes = table.sizes ?? Float64Array.from({ length: table.cases }, (_, i) => i + 1);
        now = {
          table,
          y: dice,
          x: other ?? Float64Array.from(sizes),
          yTitle: option(y)[1],
          xTitle: x ? option(x)[1] : table.sizes ? "true size, pixels" : "number of the case",
          isMethod: x !== "",
          shown: [],
        };
        filter(asked);
      } catch (error) {
        said.textContent = error instanceof Error ? error.message : String(error);
      }
    }

    /** @param {View} asked */
    function filter(asked) {
      if (!now) return;
      const { table, y, x, isMethod } = now;
      const off = new Set((asked.without ?? "").split(" "));
      const low = Number.parseFloat(asked.low ?? "");
      const high = Number.parseFloat(asked.high ?? "");
      const text = (asked.find ?? "").trim().toLowerCase();
      const numbered = text.match(/^(?:case|#)\s*(\d+)$/)?.[1];
      const sought = numbered ?? text;
      const known = [];
      const shown = [];
      for (let i = 0; i < table.cases; i++) {
        if (Number.isNaN(y[i]) || Number.isNaN(x[i])) continue;
        known.push(i);
        if (off.has(String(table.codes[i])) || y[i] < low || y[i] > high) continue;
        if (sought && sought !== String(i + 1) && (numbered || !table.samples?.[i].toLowerCase().includes(sought)))
          continue;
        shown.push(i);
      }
      const sign = { high: -1, better: -1 }[asked.order ?? ""] ?? 1;
      const difference = isMethod && ["worse", "better"].includes(asked.order ?? "");
      /** @param {number} i */
      const weight = (i) => (asked.order === "number" ? i : difference ? y[i] - x[i] : y[i]);
      now.shown = shown.sort((a, b) => sign * (weight(a) - weight(b)) || a - b);
      for (const name of ["low", "high", "find"])
        if (document.activeElement !== input(name)) input(name).value = asked[name] ?? "";
      for (const box of all(root, "input[name=group]", HTMLInputElement)) box.checked = !off.has(box.value);
      select("order").value = asked.order ?? "";
      for (const option of all(select("order"), "option[value=worse], option[value=better]", HTMLOptionElement))
        option.disabled = !isMethod;
      const count = `${shown.length.toLocaleString("en")} of ${known.length.toLocaleString("en")} cases are shown`;
      find(root, ".status").textContent = shown.length === known.length ? `All ${count.split(" of ")[1]}` : count;
      here = -1;
      rows = ROWS;
      draw();
      list();
      pick(Number.parseInt(asked.case ?? "", 10) - 1);
    }

    /** Draw all points once; what moves is drawn over them. */
    function draw() {
      if (!now) return;
      const ratio = window.devicePixelRatio || 1;
      const { clientWidth: width, clientHeight: height } = canvas;
      if (!width) return;
      for (const one of [canvas, drawn]) {
        one.width = Math.round(width * ratio);
        one.height = Math.round(height * ratio);
      }
      const pen = drawn.getContext("2d");
      if (!pen) return;
      pen.scale(ratio, ratio);
      const { table, x, y, shown, isMethod } = now;
      const up = axis(shown.map((i) => y[i]));
      const across = axis(shown.map((i) => x[i]));
      const both = isMethod ? axis(shown.flatMap((i) => [x[i], y[i]])) : null;
      const [ax, ay] = [both ?? across, both ?? up];
      const right = width - 12;
      const bottom = height - FOOT;
      /** @param {number} v */
      const px = (v) => LEFT + ((v - ax.low) / (ax.high - ax.low)) * (right - LEFT);
      /** @param {number} v */
      const py = (v) => bottom - ((v - ay.low) / (ay.high - ay.low)) * (bottom - TOP);
      const style = getComputedStyle(canvas);
      /** @param {string} name */
      const colour = (name) => style.getPropertyValue(`--${name}`).trim();
      frame(pen, { ax, ay, px, py, right, bottom, soft: colour("soft"), line: colour("line"), font: style.fontFamily });
      if (both) {
        pen.strokeStyle = colour("soft");
        pen.beginPath();
        pen.moveTo(px(both.low), py(both.low));
        pen.lineTo(px(both.high), py(both.high));
        pen.stroke();
      }
      places = { x: new Float64Array(shown.length), y: new Float64Array(shown.length) };
      pen.globalAlpha = shown.length > 2000 ? 0.5 : 0.75;
      const colours = new Map(
        [...new Set(table.codes)].map((code) => [code, colour(code === UNKNOWN ? "soft" : `g${code % 6}`)]),
      );
      shown.forEach((i, n) => {
        const [left, top] = [px(x[i]), py(y[i])];
        places.x[n] = left;
        places.y[n] = top;
        const code = table.codes[i];
        pen.fillStyle = colours.get(code) ?? "";
        pen.setTransform(ratio * 0.6, 0, 0, ratio * 0.6, left * ratio, top * ratio);
        pen.fill(shapes[code === UNKNOWN ? 0 : shapeOf(code)]);
      });
      point();
      const title = `${now.yTitle} against ${now.xTitle}, ${table.name}: ${shown.length} cases`;
      canvas.setAttribute("aria-label", `${title}. Arrows go from case to case, Enter shows one.`);
    }

    /**
     * Lines and numbers of both axes, and what they are.
     * @param {CanvasRenderingContext2D} pen
     * @param {{ax: Axis, ay: Axis, px: (v: number) => number, py: (v: number) => number, right: number, bottom: number, soft: string, line: string, font: string}} given
     */
    function frame(pen, { ax, ay, px, py, right, bottom, soft, line, font }) {
      pen.font = `12px ${font}`;
      pen.fillStyle = soft;
      pen.strokeStyle = line;
      pen.textAlign = "center";
      for (const tick of ax.ticks) {
        pen.beginPath();
        pen.moveTo(px(tick), TOP);
        pen.lineTo(px(tick), bottom);
        pen.stroke();
        pen.fillText(ax.label(tick), px(tick), bottom + 16);
      }
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const tick of ay.ticks) {
        pen.beginPath();
        pen.moveTo(LEFT, py(tick));
        pen.lineTo(right, py(tick));
        pen.stroke();
        pen.fillText(ay.label(tick), LEFT - 6, py(tick));
      }
      pen.textAlign = "center";
      pen.fillText(
        now?.isMethod ? `Dice, ${now.xTitle}` : (now?.xTitle ?? ""),
        (LEFT + right) / 2,
        bottom + 34,
        right - LEFT,
      );
      pen.save();
      pen.translate(10, (TOP + bottom) / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(`Dice, ${now?.yTitle}`, 0, 0, bottom - TOP);
      pen.restore();
    }

    /** Put the points on the page, with rings around the one pointed at and the one picked. */
    function point() {
      const pen = canvas.getContext("2d");
      if (!pen || !now || !drawn.width) return;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(drawn, 0, 0);
      const ratio = canvas.width / canvas.clientWidth;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.strokeStyle = getComputedStyle(canvas).color;
      for (const [n, width] of [
        [here, 1.5],
        [picked < 0 ? -1 : now.shown.indexOf(picked), 2.5],
      ]) {
        if (n < 0) continue;
        pen.lineWidth = width;
        pen.beginPath();
        pen.arc(places.x[n], places.y[n], 8, 0, 2 * Math.PI);
        pen.stroke();
      }
    }

    /** @param {number} i */
    function sentence(i) {
      if (!now) return "";
      const { table, y, x, yTitle, xTitle, isMethod } = now;
      const size = table.sizes ? `, ${table.sizes[i].toLocaleString("en")} pixels` : "";
      const other = isMethod ? `; ${xTitle} ${digits(x[i])}` : "";
      return `${nameOf(table, i)}, ${groupOf(table, i)}${size}: ${yTitle} ${digits(y[i])}${other}`;
    }

    /** @param {number} n place among those shown */
    function go(n) {
      here = n;
      point();
      said.textContent = n < 0 || !now ? "" : sentence(now.shown[n]);
    }

    /** @param {MouseEvent} event */
    function nearest(event) {
      let [best, far] = [-1, NEAR * NEAR];
      for (let n = 0; n < places.x.length; n++) {
        const away = (places.x[n] - event.offsetX) ** 2 + (places.y[n] - event.offsetY) ** 2;
        if (away < far) [best, far] = [n, away];
      }
      return best;
    }

    canvas.addEventListener("pointermove", (event) => {
      const n = nearest(event);
      if (n !== here) go(n);
    });
    canvas.addEventListener("click", (event) => {
      const n = nearest(event);
      if (n >= 0 && now) view.set({ case: String(now.shown[n] + 1) });
    });
    canvas.addEventListener("keydown", (event) => {
      if (!now?.shown.length) return;
      const steps = /** @type {Record<string, number>} */ ({
        ArrowRight: 1,
        ArrowUp: 1,
        ArrowLeft: -1,
        ArrowDown: -1,
        PageDown: 10,
        PageUp: -10,
      });
      const last = now.shown.length - 1;
      // From left to right, whatever the order of the table below.
      const order = [...now.shown.keys()].sort((a, b) => places.x[a] - places.x[b] || a - b);
      const at = order.indexOf(here);
      if (event.key === "Home") go(order[0]);
      else if (event.key === "End") go(order[last]);
      else if (event.key in steps) go(order[Math.min(Math.max(at + steps[event.key], 0), last)]);
      else if ((event.key === "Enter" || event.key === " ") && here >= 0)
        view.set({ case: String(now.shown[here] + 1) });
      else return;
      event.preventDefault();
    });

    /** The first rows of the table of what is shown. */
    function list() {
      if (!now) return;
      const { table, y, x, yTitle, xTitle, isMethod, shown } = now;
      /** @param {string} textContent @param {string} [className] */
      const head = (textContent, className = "num") => element("th", { scope: "col", className, textContent });
      const heads = [
        head("Case", ""),
        head(capital(table.attribute), ""),
        ...(table.sizes ? [head("True size, pixels")] : []),
      ];
      heads.push(head(`Dice, ${yTitle}`), ...(isMethod ? [head(`Dice, ${xTitle}`), head("Difference")] : []));
      find(root, "#cases thead").replaceChildren(element("tr", {}, ...heads));
      /** @param {string} textContent */
      const cell = (textContent) => element("td", { className: "num", textContent });
      const lines = shown.slice(0, rows).map((i) => {
        const button = element("button", { type: "button", textContent: nameOf(table, i) });
        button.addEventListener("click", () => {
          wanted = i;
          view.set({ case: String(i + 1) });
          if (picked === i) panel.focus();
        });
        const cells = [element("td", { textContent: groupOf(table, i) })];
        if (table.sizes) cells.push(cell(table.sizes[i].toLocaleString("en")));
        cells.push(cell(digits(y[i])), ...(isMethod ? [cell(digits(x[i])), cell(signed(y[i] - x[i]))] : []));
        return element("tr", {}, element("th", { scope: "row" }, button), ...cells);
      });
      find(root, "#cases tbody").replaceChildren(...lines);
      const note = find(root, "p.rest");
      note.replaceChildren(
        `${lines.length.toLocaleString("en")} of ${shown.length.toLocaleString("en")} cases are in the table. `,
      );
      if (lines.length === shown.length) return;
      const more = element("button", {
        type: "button",
        textContent: `Show ${Math.min(4 * ROWS, shown.length - lines.length)} more`,
      });
      more.addEventListener("click", () => {
        rows += 4 * ROWS;
        list();
        find(root, "p.rest").querySelector("button")?.focus();
      });
      note.append(more);
    }

    /** @param {number} i */
    async function pick(i) {
      if (!now || !(i >= 0 && i < now.table.cases)) {
        picked = -1;
        panel.hidden = true;
        point();
        return;
      }
      picked = i;
      point();
      const { table } = now;
      const names = table.methods.map((place) => board.methods[place].name);
      const first = [select("y").value, select("x").value, table.baseline];
      const chosen = [...new Set([...first, ...beside])].filter((name) => names.includes(name)).slice(0, BESIDE);
      const mine = asking;
      const dice = await Promise.all(chosen.map((name) => diceOf(name, table)));
      if (mine !== asking || picked !== i) return;
      const size = table.sizes ? `, ${table.sizes[i].toLocaleString("en")} pixels` : "";
      const title = `${nameOf(table, i)}, ${groupOf(table, i)}${size}`;
      const lines = chosen.map((name, m) => {
        const link = element("a", {
          href: datum(root, "root") + (byName.get(name)?.page ?? ""),
          textContent: byName.get(name)?.title ?? name,
        });
        const cells = [element("td", { className: "num", textContent: digits(dice[m][i]) })];
        return element("tr", {}, element("th", { scope: "row" }, link), ...cells);
      });
      const heads = [element("th", { scope: "col", textContent: "Method" })];
      heads.push(element("th", { scope: "col", className: "num", textContent: "Dice" }));
      const table_ = element("table", { className: "plain" }, element("thead", {}, element("tr", {}, ...heads)));
      table_.append(element("tbody", {}, ...lines));
      panel.hidden = false;
      panel.replaceChildren(element("h2", { textContent: capital(title) }), table_, ...adder(names, chosen, i));
      const maps = board.maps[table.attribute];
      if (wanted === i) panel.focus();
      wanted = -1;
      if (!table.pictured || !maps) return;
      const pictured = chosen.map((name) => ({ name, title: byName.get(name)?.title ?? name }));
      const from = { root: datum(root, "root"), maps, image: board.image, attribute: table.attribute };
      const shown = await samples.pictures(from, i, pictured);
      if (picked === i && mine === asking) panel.append(...shown);
    }

    /** What puts a further method into the panel. @param {string[]} names @param {string[]} chosen @param {number} i */
    function adder(names, chosen, i) {
      const left = names.filter((name) => !chosen.includes(name));
      if (!left.length || chosen.length >= BESIDE) return [];
      const options = left.map((name) =>
        element("option", { value: name, textContent: byName.get(name)?.title ?? name }),
      );
      const more = element(
        "select",
        { name: "beside" },
        element("option", { value: "", textContent: "choose" }),
        ...options,
      );
      more.addEventListener("change", () => {
        beside = [...beside, more.value];
        pick(i);
      });
      return [element("label", {}, "Beside it ", more)];
    }

    for (const name of ["table", "y", "x", "order"])
      select(name).addEventListener("change", () => {
        const gone = name === "table" ? { without: "", case: "" } : {};
        view.set({ [name]: select(name).value, ...gone });
      });
    for (const name of ["low", "high", "find"])
      input(name).addEventListener("input", () => view.set({ [name]: input(name).value }, true));
    find(root, "[name=reset]").addEventListener("click", () => {
      for (const name of ["low", "high", "find"]) input(name).value = "";
      location.hash = "";
    });
    new ResizeObserver(draw).observe(canvas);
    for (const media of ["print", "(prefers-color-scheme: dark)", "(forced-colors: active)"])
      matchMedia(media).addEventListener("change", draw);
    if (board.left)
      find(root, ".left").textContent =
        `Of ${board.methods.length + board.left} methods the ${board.methods.length} first in rank have their single cases here: those of all would make this site too large. Every case is here.`;
    view.onChange(show);
    view.tell();
  }

  /** @typedef {{low: number, high: number, ticks: number[], label: (v: number) => string}} Axis */
  /** An axis with round numbers that holds all values. @param {number[]} values @returns {Axis} */
  function axis(values) {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const value of values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low > high) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
    const room = (high - low) * 0.04;
    low -= room;
    high += room;
    const rough = (high - low) / 5;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * ([1, 2, 5, 10].find((n) => n * ten >= rough) ?? 10);
    const ticks = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++) ticks.push(n * step);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    /** @param {number} v */
    const label = (v) => v.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    return { low, high, ticks, label };
  }

  /** As the other figures have it: from the seventh group on a colour comes again with another shape. @param {number} code */
  const shapeOf = (code) => (code + Math.floor(code / 6)) % 6;

  root.hidden = false;
  given
    .get("board", datum(root, "board"))
    .then(start)
    .catch((error) => {
      said.textContent = error instanceof Error ? error.message : String(error);
    });
  return { receive: given.receive };
})(Board);
