"use strict";
// What is on the screen as CSV, JSON, LaTeX or BibTeX.

/**
 * A cell to take away. data: its value and what it carries beside it; text and interval: for the eye.
 * @typedef {{data: Record<string, number | string | null>, text: string, interval: string}} Taken
 * @typedef {{key: string, title: string, shown: string}} Column
 * @typedef {{method: string, title: string, status: string, obtained: string, letters: string, cells: Taken[]}} Row
 * @typedef {{attribute: string, structure: string, track: string, choices: string, columns: Column[], rows: Row[]}} Table
 */

(({ page: { find, all, element, datum, headsOf, rowsOf }, large }) => {
  const tools = find(document, ".tools");

  // What a cell carries beside its value, and what that is called.
  /** @type {Record<string, string>} */
  const MORE = {
    low: "low",
    high: "high",
    floor: "noise floor",
    p: "p, adjusted",
    verdict: "verdict",
    gap: "gap",
    of: "of",
    bytes: "peak memory, bytes",
  };

  /** @param {Element | ChildNode | null} node */
  const textOf = (node) => (node?.textContent ?? "").trim();

  /** @param {string | undefined} text */
  const number = (text) => (text === "" || text === undefined || Number.isNaN(Number(text)) ? null : Number(text));

  /** @param {HTMLElement} td @returns {Taken} */
  function cell(td) {
    /** @type {Taken["data"]} */
    const data = { value: number(td.dataset.v) };
    for (const key of Object.keys(MORE)) if (td.dataset[key]) data[key] = number(td.dataset[key]) ?? datum(td, key);
    const text = textOf(td.querySelector("b") ?? td.firstChild ?? td);
    return { data, text, interval: "low" in data ? textOf(td.querySelector(".ci")) : "" };
  }

  /** @param {HTMLElement} section */
  const named = (section) => ({
    attribute: datum(section, "attribute"),
    structure: datum(section, "structure"),
    track: datum(section, "track"),
  });

  /** Data has every column that the reader did not hide; a table to read has those that are seen. */
  /** @param {HTMLElement} section @param {boolean} seen @returns {Table} */
  function board(section, seen) {
    const heads = headsOf(section).flatMap((header, at) =>
      (seen ? header.hidden : header.dataset.left) || header.dataset.key === "method" ? [] : [{ header, at }],
    );
    const columns = heads.map(({ header }) => {
      const shown = find(header, ".name").textContent ?? "";
      return {
        key: datum(header, "key"),
        title: shown + (header.dataset.unit ? `, ${header.dataset.unit}` : ""),
        shown,
      };
    });
    const rows = rowsOf(section)
      .filter((row) => !row.hidden)
      .map((row) => ({
        method: datum(row, "method"),
        title: find(row, "th a").textContent ?? "",
        status: datum(row, "status"),
        obtained: datum(row, "obtained"),
        letters: datum(row, "letters"),
        cells: heads.map(({ at }) => cell(row.cells[at])),
      }));
    return { ...named(section), choices: "", columns, rows };
  }

  // The ranking under the reader's own choices, where there are some.
  /** @param {HTMLElement} section @returns {Table[]} */
  function whatIf(section) {
    const [panel] = all(section, "details.whatif[open] .panel[data-choices]");
    if (!panel?.querySelector("table")) return [];
    const own = new Map(rowsOf(section).map((row) => [row.dataset.method, row]));
    /** @param {string} method @param {string} key */
    const boards = (method, key) => datum(/** @type {HTMLElement} */ (own.get(method)), key);
    const rows = all(panel, "tbody tr").map((row) => ({
      method: datum(row, "method"),
      title: find(row, "bdi").textContent ?? "",
      status: boards(datum(row, "method"), "status"),
      obtained: boards(datum(row, "method"), "obtained"),
      letters: "",
      cells: all(row, "td").map(cell),
    }));
    const heads = all(panel, "thead th")
      .map((head) => head.textContent ?? "")
      .filter((head) => head !== "Method");
    /** @type {Unranked[]} */
    const unranked = JSON.parse(datum(panel, "unranked"));
    const left = unranked.map(({ method, title, reason }) => ({
      method,
      title,
      status: reason,
      obtained: boards(method, "obtained"),
      letters: "",
      cells: heads.map(() => ({ data: { value: null }, text: "–", interval: "" })),
    }));
    const columns = heads.map((head) => ({ key: head, title: head, shown: head }));
    return [{ ...named(section), choices: datum(panel, "choices"), columns, rows: [...rows, ...left] }];
  }

  /** @param {boolean} [seen] */
  const tables = (seen = false) =>
    all(document, "section.board:not([hidden])").flatMap((section) => [board(section, seen), ...whatIf(section)]);

  // A text that a spreadsheet would take for a formula gets an apostrophe.
  /** @param {number | string | null | undefined} value */
  function quoted(value) {
    if (typeof value === "number") return String(value);
    const text = String(value ?? "");
    return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  }

  /** @param {Column} column @param {string} key */
  const headOf = ({ title }, key) => (key === "value" ? title : `${title}: ${MORE[key]}`);

  /** One header for all tables: a table without a column leaves it empty. */
  function csv() {
    const about = ["attribute", "structure", "track", "choices", "method", "title", "status", "obtained", "letters"];
    /** @type {Set<string>} */
    const heads = new Set();
    const lines = tables().flatMap(({ attribute, structure, track, choices, columns, rows }) => {
      columns.forEach((column, i) => {
        const carried = Object.keys(MORE).filter((key) => rows.some((row) => key in row.cells[i].data));
        for (const key of ["value", ...carried]) heads.add(headOf(column, key));
      });
      return rows.map(({ method, title, status, obtained, letters, cells }) => {
        const named = cells.flatMap(({ data }, i) => Object.keys(data).map((key) => ({ i, key, value: data[key] })));
        return {
          first: [attribute, structure, track, choices || "the board's", method, title, status, obtained, letters],
          values: new Map(named.map(({ i, key, value }) => [headOf(columns[i], key), value])),
        };
      });
    });
    const text = lines.map(({ first, values }) => [...first, ...[...heads].map((head) => values.get(head))]);
    return [[...about, ...heads], ...text].map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  }

  function json() {
    const taken = tables().map(({ columns, rows, ...table }) => ({
      ...table,
      columns: Object.fromEntries(columns.map(({ key, title }) => [key, title])),
      rows: rows.map(({ cells, ...row }) => ({
        ...row,
        cells: Object.fromEntries(cells.map(({ data }, i) => [columns[i].key, data])),
      })),
    }));
    const head = {
      schema: "equity-leaderboard-view",
      schema_version: 2,
      protocol: tools.dataset.protocol,
      view: location.hash,
    };
    return `${JSON.stringify({ ...head, tables: taken }, null, 1)}\n`;
  }

  /** @type {Record<string, string>} */
  const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  /** @type {Record<string, string>} */
  const SIGNS = {
    "–": "--",
    "−": "$-$",
    "<": "$<$",
    "|": "$|$",
    ">": "$>$",
    "≥": "$\\geq$",
    α: "$\\alpha$",
    Σ: "$\\Sigma$",
    σ: "$\\sigma$",
    "×": "$\\times$",
    "±": "$\\pm$",
  };
  /** @param {string} text */
  function tex(text) {
    return text
      .replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g, "")
      .replace(/[\\~^]|[&%$#_{}]/g, (c) => SPECIAL[c] ?? `\\${c}`)
      .replace(/[–−<>|≥αΣσ×±]/g, (c) => SIGNS[c]);
  }

  /** @param {Row} row */
  function texLine(row) {
    const usual = /^\d+ seeds?$/.test(row.status) && row.obtained === "run here";
    const note = usual ? "" : ` (${[row.status, row.obtained].filter(Boolean).join(", ")})`;
    const first = tex(row.title + note) + (row.letters ? `\\,\\textsuperscript{${tex(row.letters)}}` : "");
    const cells = row.cells.map(({ data: { p }, text, interval }) => {
      const value = typeof p !== "number" ? "" : p < 0.001 ? "p < 0.001" : `p = ${Number(p.toPrecision(2))}`;
      const small = [interval, value].filter(Boolean);
      return tex(text) + (small.length ? ` {\\scriptsize [${tex(small.join("; "))}]}` : "");
    });
    return `${[first, ...cells].join(" & ")} \\\\`;
  }

  /** @param {Table} table */
  function texTable({ attribute, structure, track, choices, columns, rows }) {
    const told = track === "at-test" ? `, with ${attribute} read at test time` : "";
    const other = choices ? `, with choices other than the board's: ${choices}` : "";
    const caption = `${tools.dataset.title}: ${structure}, equity by ${attribute}${told}${other}.`;
    const lettered = rows.some((row) => row.letters) ? " Methods that share a letter cannot be told apart." : "";
    return [
      "% \\usepackage{booktabs}",
      "\\begin{table}",
      "\\centering",
      `\\begin{tabular}{l${"r".repeat(columns.length)}}`,
      "\\toprule",
      `${["Method", ...columns.map((column) => tex(column.shown))].join(" & ")} \\\\`,
      "\\midrule",
      ...rows.map(texLine),
      "\\bottomrule",
      "\\end{tabular}",
      `\\caption{${tex(caption)}${lettered} In brackets 95\\% intervals, and adjusted p.}`,
      "\\end{table}",
      "",
    ].join("\n");
  }

  const latex = () => tables(true).map(texTable).join("\n");

  function bibtex() {
    const shown = new Set(tables().flatMap((table) => table.rows.map((row) => row.method)));
    /** @type {{method: string, bibtex: string}[]} */
    const entries = JSON.parse(datum(tools, "citations"));
    // A method in two large tables came with each.
    return [...new Map([...entries, ...large.citations].map((entry) => [entry.method, entry])).values()]
      .filter(({ method }) => method === "" || shown.has(method))
      .map((entry) => entry.bibtex)
      .join("\n");
  }

  /** @type {Record<string, {write: () => string, type: string, suffix: string}>} */
  const KINDS = {
    csv: { write: csv, type: "text/csv", suffix: "csv" },
    json: { write: json, type: "application/json", suffix: "json" },
    latex: { write: latex, type: "application/x-tex", suffix: "tex" },
    bibtex: { write: bibtex, type: "application/x-bibtex", suffix: "bib" },
  };

  /** @param {string} kind */
  function take(kind) {
    const { write, type, suffix } = KINDS[kind];
    const url = URL.createObjectURL(new Blob([write()], { type: `${type};charset=utf-8` }));
    element("a", { href: url, download: `${tools.dataset.protocol}.${suffix}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  for (const button of all(tools, "[name=take]", HTMLButtonElement))
    button.addEventListener("click", () => take(button.value));
})(Board);
