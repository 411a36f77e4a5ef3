"use strict";
// What is on the screen as CSV, JSON, LaTeX or BibTeX.
(() => {
  const tools = document.querySelector(".tools");
  if (!tools) return;

  const visible = () => [...document.querySelectorAll("section.board:not([hidden])")];

  function columns(section) {
    return headsOf(section)
      .map((header, at) => ({ at, key: header.dataset.key, title: header.querySelector(".name").textContent, off: header.hidden }))
      .filter((column) => !column.off);
  }

  function cell(row, column) {
    const found = row.cells[column.at];
    if (column.key === "method") return { text: found.querySelector("a").textContent };
    const main = found.querySelector("b");
    return {
      text: (main || found).textContent.trim(),
      interval: (found.querySelector(".ci") || { textContent: "" }).textContent.trim(),
      letters: (found.querySelector(".letters") || { textContent: "" }).textContent.trim(),
    };
  }

  function view() {
    return visible().map((section) => {
      const shown = columns(section);
      const rows = rowsOf(section).filter((row) => !row.hidden);
      return {
        attribute: section.dataset.attribute,
        structure: section.dataset.structure,
        columns: shown.map((column) => column.title),
        rows: rows.map((row) => ({ id: row.dataset.method, cells: shown.map((column) => cell(row, column)) })),
      };
    });
  }

  // A cell that a spreadsheet would take for a formula gets an apostrophe.
  function quoted(text) {
    const safe = /^[=+\-@\t]/.test(text) && Number.isNaN(Number(text.replace("−", "-"))) ? "'" + text : text;
    return `"${safe.replaceAll('"', '""')}"`;
  }

  function csv() {
    const lines = [];
    for (const table of view()) {
      lines.push(["attribute", "structure", "id", ...table.columns.flatMap((title) => [title, `${title}: interval`])].map(quoted));
      for (const row of table.rows) {
        const cells = row.cells.flatMap((c) => [c.text, c.interval || ""]);
        lines.push([table.attribute, table.structure, row.id, ...cells].map(quoted));
      }
    }
    return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
  }

  function json() {
    return JSON.stringify({ schema_version: 1, protocol: tools.dataset.protocol, view: location.hash, tables: view() }, null, 1) + "\n";
  }

  const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  function tex(text) {
    return text
      .replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g, "")
      .replace(/[\\~^]|[&%$#_{}]/g, (c) => SPECIAL[c] || "\\" + c)
      .replaceAll("–", "--").replaceAll("−", "$-$").replaceAll("<", "$<$").replaceAll(">", "$>$").replaceAll("≥", "$\\geq$");
  }

  function latex() {
    return view().map((table) => {
      const lines = table.rows.map((row) =>
        row.cells.map((c) => tex(c.text) + (c.letters ? `\\,\\textsuperscript{${tex(c.letters)}}` : "") +
          (c.interval ? ` {\\scriptsize [${tex(c.interval)}]}` : "")).join(" & ") + " \\\\");
      const format = table.columns.map((title) => (title === "Method" ? "l" : "r")).join("");
      return [
        "% \\usepackage{booktabs}",
        "\\begin{table}", "\\centering", `\\begin{tabular}{${format}}`, "\\toprule",
        table.columns.map(tex).join(" & ") + " \\\\", "\\midrule", ...lines, "\\bottomrule", "\\end{tabular}",
        `\\caption{${tex(`${tools.dataset.title}: ${table.structure}, equity by ${table.attribute}.`)} ` +
          "Methods that share a letter cannot be told apart; in brackets 95\\% intervals.}",
        "\\end{table}", "",
      ].join("\n");
    }).join("\n");
  }

  function bibtex() {
    const shown = new Set(view().flatMap((table) => table.rows.map((row) => row.id)));
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
