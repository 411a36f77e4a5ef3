"use strict";
// Every test case of a board, found by number or name, by group and by score, with one method against another: as a
// point of the cloud and as a row. A method's scores are read when it is chosen.

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
 * @property {PackedCaseTable[]} tables
 * @property {Record<string, Record<string, string>>} maps
 * @property {string} image
 *
 * @typedef {{at: number, codes: Uint8Array, sizes: Uint32Array | null}} OfCases at: where a method's values of it begin
 * @typedef {Omit<PackedCaseTable, keyof OfCases> & OfCases} CaseTable
 *
 * What is shown: x and y hold a number a case, NaN where there is none.
 * @typedef {{what: string, table: CaseTable, y: Float64Array, x: Float64Array, yTitle: string, xTitle: string, isMethod: boolean, shown: number[], orders: Map<string, number[]>}} Shown
 */

Board.explorer = (({ page: { find, all, element, files, datum, inflated, isolated, view }, cloud, samples }) => {
  const NONE = 65535;
  const { UNKNOWN, shapeOf } = cloud;
  const ROWS = 25;
  const BESIDE = 4;
  /** @param {number} n */
  const casesOf = (n) => `${n.toLocaleString("en")} case${n === 1 ? "" : "s"}`;
  const NO_GROUP = "group not known or too small";

  const root = find(document, "#cases");
  const panel = find(root, ".case");
  const said = find(root, ".said");
  /** @param {string} name */
  const select = (name) => find(root, `select[name=${name}]`, HTMLSelectElement);
  /** @param {string} name */
  const input = (name) => find(root, `input[name=${name}]`, HTMLInputElement);

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
    /** Which cases are drawn and listed, and in what order. */
    let listed = "";
    let asking = 0;
    let picked = -1;
    /** What the panel shows: a case of a table with some methods, "" for none. */
    let opened = "";
    /** The case that was asked for from the table, from where the panel may not be seen. */
    let wanted = -1;
    /** @type {string[]} */
    let beside = [];
    const points = cloud.make(find(root, "canvas", HTMLCanvasElement), {
      told: (n) => {
        said.textContent = n < 0 || !now ? "" : sentence(now.shown[n]);
      },
      open: (i) => view.set({ case: String(i + 1) }),
    });

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

    /** Options are made again only where their key is another. @param {HTMLSelectElement} into @param {string} key @param {() => [string, string][]} options @param {string} value */
    function offer(into, key, options, value) {
      if (into.dataset.key !== key) {
        const made = options().map(([name, textContent]) => element("option", { value: name, textContent }));
        into.replaceChildren(...made);
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

    /**
     * @param {string} what
     * @param {CaseTable} table
     * @param {Float64Array} y
     * @param {Float64Array | null} other of the method that it stands against, null for none
     * @param {string} yTitle
     * @param {string} otherTitle
     * @returns {Shown}
     */
    function shownOf(what, table, y, other, yTitle, otherTitle) {
      const sizes = table.sizes ?? Float64Array.from({ length: table.cases }, (_, i) => i + 1);
      const x = other ?? Float64Array.from(sizes);
      const xTitle = otherTitle || (table.sizes ? "true size, pixels" : "number of the case");
      return { what, table, y, x, yTitle, xTitle, isMethod: other !== null, shown: [], orders: new Map() };
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
      offer(select("table"), "tables", () => tables.map(({ anchor, name }) => [anchor, name]), table.anchor);
      offer(select("y"), table.anchor, () => names.map(option), y);
      offer(select("x"), `${table.anchor} ${y}`, () => [...ways, ...others.map(option)], x);
      offerGroups(table);
      const what = [table.anchor, y, x].join("\n");
      if (now?.what === what) {
        filter(asked);
        return;
      }
      try {
        const [dice, other] = await Promise.all([diceOf(y, table), x ? diceOf(x, table) : null]);
        if (mine !== asking) return;
        now = shownOf(what, table, dice, other, option(y)[1], x && option(x)[1]);
        filter(asked);
      } catch (error) {
        said.textContent = error instanceof Error ? error.message : String(error);
      }
    }

    /** All cases that have both values, in order: the same whatever of them is shown. @param {Shown} of @param {string} order */
    function inOrder(of, order) {
      const before = of.orders.get(order);
      if (before) return before;
      const { table, x, y, isMethod } = of;
      const sign = { high: -1, better: -1 }[order] ?? 1;
      const difference = isMethod && ["worse", "better"].includes(order);
      const weights = order === "number" ? null : difference ? y.map((value, i) => value - x[i]) : y;
      const known = [...y.keys()].filter((i) => i < table.cases && !Number.isNaN(y[i]) && !Number.isNaN(x[i]));
      if (weights) known.sort((a, b) => sign * (weights[a] - weights[b]) || a - b);
      of.orders.set(order, known);
      return known;
    }

    /** @param {View} asked */
    function filter(asked) {
      if (!now) return;
      const { table, y, isMethod } = now;
      const off = new Set((asked.without ?? "").split(" "));
      const low = Number.parseFloat(asked.low ?? "");
      const high = Number.parseFloat(asked.high ?? "");
      const text = (asked.find ?? "").trim().toLowerCase();
      const numbered = text.match(/^(?:case|#)\s*(\d+)$/)?.[1];
      const sought = numbered ?? text;
      const hidden = Uint8Array.from({ length: 256 }, (_, code) => Number(off.has(String(code))));
      /** @param {number} i */
      const fits = (i) =>
        !hidden[table.codes[i]] &&
        !(y[i] < low || y[i] > high) &&
        (!sought ||
          sought === String(i + 1) ||
          (!numbered && Boolean(table.samples?.[i].toLowerCase().includes(sought))));
      const known = inOrder(now, asked.order ?? "");
      const shown = known.filter(fits);
      now.shown = shown;
      for (const name of ["low", "high", "find"])
        if (document.activeElement !== input(name)) input(name).value = asked[name] ?? "";
      for (const box of all(root, "input[name=group]", HTMLInputElement)) box.checked = !off.has(box.value);
      select("order").value = asked.order ?? "";
      for (const option of all(select("order"), "option[value=worse], option[value=better]", HTMLOptionElement))
        option.disabled = !isMethod;
      const every = casesOf(known.length);
      find(root, ".status").textContent =
        shown.length === known.length ? `Shown: ${every}` : `Shown: ${shown.length.toLocaleString("en")} of ${every}`;
      const asks = [now.what, asked.order, asked.without, low, high, text].join("\n");
      // Who opens a case keeps the rows that they have asked for, and their place among them.
      if (asks !== listed) {
        listed = asks;
        rows = ROWS;
        points.show(now);
        list();
      }
      pick(Number.parseInt(asked.case ?? "", 10) - 1);
    }

    /** @param {number} i */
    function sentence(i) {
      if (!now) return "";
      const { table, y, x, yTitle, xTitle, isMethod } = now;
      const size = table.sizes ? `, ${table.sizes[i].toLocaleString("en")} pixels` : "";
      const other = isMethod ? `; ${isolated(xTitle)} ${digits(x[i])}` : "";
      const group = isolated(groupOf(table, i));
      return `${nameOf(table, i)}, ${group}${size}: ${isolated(yTitle)} ${digits(y[i])}${other}`;
    }

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
      note.replaceChildren(`In the table: ${lines.length.toLocaleString("en")} of ${casesOf(shown.length)}. `);
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
      const there = now !== null && i >= 0 && i < now.table.cases;
      picked = there ? i : -1;
      points.pick(picked);
      if (!now || !there) {
        opened = "";
        panel.hidden = true;
        return;
      }
      const { table } = now;
      const names = table.methods.map((place) => board.methods[place].name);
      const first = [select("y").value, select("x").value, table.baseline];
      const chosen = [...new Set([...first, ...beside])].filter((name) => names.includes(name)).slice(0, BESIDE);
      const mine = [table.anchor, i, ...chosen].join("\n");
      if (opened === mine) return;
      opened = mine;
      const dice = await Promise.all(chosen.map((name) => diceOf(name, table)));
      if (opened !== mine) return;
      const size = table.sizes ? `, ${table.sizes[i].toLocaleString("en")} pixels` : "";
      const title = `${nameOf(table, i)}, ${isolated(groupOf(table, i))}${size}`;
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
      if (opened === mine) panel.append(...shown);
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
      view.reset();
    });
    view.onChange(show);
    view.tell();
  }

  root.hidden = false;
  given
    .get("board", datum(root, "board"))
    .then(start)
    .catch((error) => {
      said.textContent = error instanceof Error ? error.message : String(error);
    });
  return { receive: given.receive };
})(Board);
