"use strict";
// What is on the screen as CSV, JSON, LaTeX or BibTeX.
(() => {
  const tools = document.querySelector(".tools");
  if (!tools) return;

  const visible = () => [...document.querySelectorAll("section.board:not([hidden])")];

  // What a cell carries beside its value, and what that is called.
  const MORE = { low: "low", high: "high", floor: "noise floor", p: "p, adjusted", verdict: "verdict", gap: "gap", of: "of", bytes: "peak memory, bytes" };

  function columns(section) {
    return headsOf(section)
      .map((header, at) => ({
        at, key: header.dataset.key, off: header.hidden || header.dataset.key === "method",
        title: header.querySelector(".name").textContent + (header.dataset.unit ? `, ${header.dataset.unit}` : ""),
        shown: header.querySelector(".name").textContent,
      }))
      .filter((column) => !column.off);
  }

  const number = (text) => (text === "" || text === undefined || Number.isNaN(Number(text)) ? null : Number(text));

  function cell(td) {
    const found = { value: number(td.dataset.v) };
    for (const key of Object.keys(MORE)) if (td.dataset[key]) found[key] = number(td.dataset[key]) ?? td.dataset[key];
    const texts = { text: (td.querySelector("b") || td.firstChild || td).textContent.trim(), interval: "" };
    if ("low" in found && td.querySelector(".ci")) texts.interval = td.querySelector(".ci").textContent.trim();
    // Not enumerable: for the eye, and no part of the data.
    return Object.defineProperty(found, "texts", { value: texts });
  }

  function board(section) {
    const shown = columns(section);
    const rows = rowsOf(section).filter((row) => !row.hidden).map((row) => ({
      method: row.dataset.method, title: row.querySelector("th a").textContent, status: row.dataset.status,
      obtained: row.dataset.obtained, letters: row.dataset.letters, cells: shown.map((column) => cell(row.cells[column.at])),
    }));
    return { attribute: section.dataset.attribute, structure: section.dataset.structure, choices: "", columns: shown, rows };
  }

  // The ranking under the reader's own choices, where there are some.
  function whatIf(section) {
    const panel = section.querySelector("details.whatif[open] .panel[data-choices]");
    const table = panel && panel.querySelector("table");
    if (!table) return [];
    const own = new Map(rowsOf(section).map((row) => [row.dataset.method, row.dataset]));
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
    const rows = [...table.tBodies[0].rows].map((row) => {
      const { status, obtained } = own.get(row.dataset.method);
      const cells = [...row.cells].filter((one) => one.tagName === "TD").map(cell);
      return { method: row.dataset.method, title: row.querySelector("bdi").textContent, status, obtained, letters: "", cells };
    });
    const shown = heads.filter((head) => head !== "Method").map((head) => ({ key: head, title: head, shown: head }));
    const nothing = Object.defineProperty({ value: null }, "texts", { value: { text: "–", interval: "" } });
    const left = JSON.parse(panel.dataset.unranked).map(({ method, title, reason }) => ({
      method, title, status: reason, obtained: own.get(method).obtained, letters: "", cells: shown.map(() => nothing),
    }));
    return [{ attribute: section.dataset.attribute, structure: section.dataset.structure, choices: panel.dataset.choices, columns: shown, rows: [...rows, ...left] }];
  }

  const view = () => visible().flatMap((section) => [board(section), ...whatIf(section)]);

  // A text that a spreadsheet would take for a formula gets an apostrophe.
  function quoted(value) {
    if (typeof value === "number") return String(value);
    const text = String(value ?? "");
    return `"${(/^[=+\-@\t\r]/.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
  }

  const ABOUT = ["attribute", "structure", "choices", "method", "title", "status", "obtained", "letters"];

  // One header for all tables: a table without a column leaves it empty.
  function csv() {
    const heads = new Set();
    const lines = view().flatMap(({ attribute, structure, choices, columns: shown, rows }) => {
      shown.forEach((column, i) => {
        heads.add(column.title);
        for (const key of Object.keys(MORE)) if (rows.some((row) => key in row.cells[i])) heads.add(`${column.title}: ${MORE[key]}`);
      });
      return rows.map((row) => {
        const about = { attribute, structure, choices: choices || "the board's", ...row };
        const parts = row.cells.flatMap((one, i) => Object.entries(one).map(([key, value]) => [shown[i].title + (key === "value" ? "" : `: ${MORE[key]}`), value]));
        return { about, values: new Map(parts) };
      });
    });
    const text = lines.map(({ about, values }) => [...ABOUT.map((key) => about[key]), ...[...heads].map((head) => values.get(head))]);
    return [[...ABOUT, ...heads], ...text].map((line) => line.map(quoted).join(",") + "\r\n").join("");
  }

  function json() {
    const tables = view().map(({ columns: shown, rows, ...table }) => ({
      ...table,
      columns: Object.fromEntries(shown.map(({ key, title }) => [key, title])),
      rows: rows.map(({ cells, ...row }) => ({ ...row, cells: Object.fromEntries(cells.map((one, i) => [shown[i].key, one])) })),
    }));
    const head = { schema: "equity-leaderboard-view", schema_version: 2, protocol: tools.dataset.protocol, view: location.hash };
    return JSON.stringify({ ...head, tables }, null, 1) + "\n";
  }

  const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  const SIGNS = { "–": "--", "−": "$-$", "<": "$<$", "|": "$|$", ">": "$>$", "≥": "$\\geq$", "α": "$\\alpha$", "Σ": "$\\Sigma$", "σ": "$\\sigma$", "×": "$\\times$" };
  function tex(text) {
    return text
      .replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g, "")
      .replace(/[\\~^]|[&%$#_{}]/g, (c) => SPECIAL[c] || "\\" + c)
      .replace(/[–−<>|≥αΣσ×]/g, (c) => SIGNS[c]);
  }

  function latex() {
    return view().map((table) => {
      const lettered = table.rows.some((row) => row.letters);
      const lines = table.rows.map((row) => {
        const note = !/^\d+ seeds?$/.test(row.status) || row.obtained !== "run here" ? ` (${[row.status, row.obtained].filter(Boolean).join(", ")})` : "";
        const first = tex(row.title + note) + (row.letters ? `\\,\\textsuperscript{${tex(row.letters)}}` : "");
        const cells = row.cells.map(({ texts, p }) => {
          const small = [texts.interval, p === undefined ? "" : p < 0.001 ? "p < 0.001" : `p = ${Number(p.toPrecision(2))}`].filter(Boolean);
          return tex(texts.text) + (small.length ? ` {\\scriptsize [${tex(small.join("; "))}]}` : "");
        });
        return [first, ...cells].join(" & ") + " \\\\";
      });
      const caption = `${tools.dataset.title}: ${table.structure}, equity by ${table.attribute}${table.choices ? `, with choices other than the board's: ${table.choices}` : ""}.`;
      return [
        "% \\usepackage{booktabs}",
        "\\begin{table}", "\\centering", `\\begin{tabular}{l${"r".repeat(table.columns.length)}}`, "\\toprule",
        ["Method", ...table.columns.map((column) => tex(column.shown))].join(" & ") + " \\\\", "\\midrule", ...lines, "\\bottomrule", "\\end{tabular}",
        `\\caption{${tex(caption)}${lettered ? " Methods that share a letter cannot be told apart." : ""} In brackets 95\\% intervals, and adjusted p.}`,
        "\\end{table}", "",
      ].join("\n");
    }).join("\n");
  }

  function bibtex() {
    const shown = new Set(view().flatMap((table) => table.rows.map((row) => row.method)));
    const own = JSON.parse(tools.dataset.citations);
    return own.filter((entry) => entry.method === "" || shown.has(entry.method)).map((entry) => entry.bibtex).join("\n");
  }

  const KINDS = {
    csv: [csv, "text/csv"], json: [json, "application/json"], latex: [latex, "application/x-tex", "tex"], bibtex: [bibtex, "application/x-bibtex", "bib"],
  };

  function take(kind) {
    const [write, type, suffix = kind] = KINDS[kind];
    const url = URL.createObjectURL(new Blob([write()], { type: `${type};charset=utf-8` }));
    const link = element("a", { href: url, download: `${tools.dataset.protocol}.${suffix}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  tools.querySelectorAll("[name=take]").forEach((button) => button.addEventListener("click", () => take(button.value)));
})();
