"use strict";
// A table of very many rows: each row is a grid of its own and is laid out only where it can be seen, so
// that a sort takes milliseconds. Widths are measured once, as the browser makes them for a plain table.
Board.large = (({ page: { find, all, datum, headsOf, rowsOf } }) => {
  const MANY = 200;
  /** @type {Record<string, string>} */
  const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

  /** @param {HTMLElement} element */
  function role(element) {
    if (!(element instanceof HTMLTableCellElement) || element.tagName !== "TH") return ROLES[element.tagName];
    return element.scope === "col" ? "columnheader" : "rowheader";
  }

  // A changed display could take a table's meaning from assistive software, so it is said again.
  /** @param {HTMLElement} table */
  function name(table) {
    for (const element of [table, ...all(table, "thead, tbody, tr, th, td")])
      element.setAttribute("role", role(element));
  }

  /** @param {HTMLElement} section */
  function lay(section) {
    if (rowsOf(section).length < MANY) return;
    const table = find(section, "table.scores");
    const shown = headsOf(section).filter((header) => !header.hidden);
    const columns = shown.map((header) => datum(header, "key")).join(" ");
    if (table.dataset.laid === columns) return;
    if (!table.dataset.laid) name(table);
    table.classList.remove("large");
    const widths = shown.map((header) => `${header.getBoundingClientRect().width}px`);
    table.style.setProperty("--columns", widths.join(" "));
    table.classList.add("large");
    table.dataset.laid = columns;
  }

  return { lay };
})(Board);
