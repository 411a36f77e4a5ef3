"use strict";
// A table of very many rows: the page has the first of them and a file the others, which are put in when asked for,
// so that a sort takes milliseconds. Each row is a grid of its own and is laid out only where it can be seen; widths
// are measured once, as the browser makes them for a plain table.

/**
 * @typedef {{bibtex: string, method: string}} Citation
 * @typedef {{rows: string[], citations: Citation[]}} Rest
 */

Board.large = (({ page: { find, all, element, inflated, datum, headsOf, rowsOf, setRows, view } }) => {
  const MANY = 200;
  const AT_ONCE = 100;
  /** Pixels that a row is high, or more. */
  const LEAST = 54;
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
  const bodyOf = (section) => find(section, "table.scores tbody");

  /** @param {HTMLElement} section */
  function lay(section) {
    if (bodyOf(section).childElementCount < MANY && !whole(section)) return;
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

  /** How many rows of a section the page has. @type {WeakMap<HTMLElement, number>} */
  const limits = new WeakMap();
  /** @type {Citation[]} */
  const citations = [];

  /** How many rows reach the lower edge of the screen, of a section that is about to change. @type {WeakMap<HTMLElement, number>} */
  const reaching = new WeakMap();

  /** Ahead of a change, while the page is laid out: its rows below the screen are then put in when the others are seen. @param {HTMLElement} section */
  function measure(section) {
    if (!whole(section) || section.hidden) return;
    const room = window.innerHeight - bodyOf(section).getBoundingClientRect().top;
    reaching.set(section, Math.max(1, Math.ceil(room / LEAST)));
  }

  /** The drawing of a section that was begun last: an earlier one puts nothing in any more. @type {WeakMap<HTMLElement, number>} */
  const turns = new WeakMap();

  /** Put the first rows that are not hidden into the table. @param {HTMLElement} section @param {number} [limit] */
  function draw(section, limit = limits.get(section) ?? AT_ONCE) {
    limits.set(section, limit);
    const turn = (turns.get(section) ?? 0) + 1;
    turns.set(section, turn);
    const shown = rowsOf(section).filter((row) => !row.hidden);
    const first = shown.slice(0, limit);
    const seen = first.slice(0, reaching.get(section) ?? first.length);
    reaching.delete(section);
    fill(section, seen);
    lay(section);
    tell(section, first.length, shown.length);
    if (seen.length < first.length)
      requestAnimationFrame(() =>
        setTimeout(() => {
          if (turns.get(section) === turn) fill(section, first);
        }),
      );
  }

  /** @param {HTMLElement} section @param {HTMLTableRowElement[]} rows */
  function fill(section, rows) {
    const off = headsOf(section).map((header) => Boolean(header.hidden));
    const { laid } = find(section, "table.scores").dataset;
    for (const row of rows) {
      showCells(row, off);
      if (laid && !row.hasAttribute("role")) nameRow(row);
    }
    put(bodyOf(section), rows);
  }

  /** Which of a row's cells are hidden, as it was told last. @type {WeakMap<HTMLTableRowElement, string>} */
  const cellsOff = new WeakMap();

  /** @param {HTMLTableRowElement} row @param {boolean[]} off */
  function showCells(row, off) {
    const told = off.join();
    if (cellsOff.get(row) === told) return;
    cellsOff.set(row, told);
    const { cells } = row;
    off.forEach((hidden, i) => {
      if (cells[i].hidden !== hidden) cells[i].hidden = hidden;
    });
  }

  /** Have these rows in the table and no others; one that stays is not laid out again. @param {HTMLElement} body @param {HTMLTableRowElement[]} rows */
  function put(body, rows) {
    /** @type {Set<Element>} */
    const staying = new Set(rows);
    for (const row of [...body.children]) if (!staying.has(row)) row.remove();
    let at = body.firstElementChild;
    for (const row of rows)
      if (row === at) at = at.nextElementSibling;
      else body.insertBefore(row, at);
  }

  /** @param {HTMLTableRowElement} row */
  function nameRow(row) {
    for (const element of [row, ...row.cells]) element.setAttribute("role", role(element));
  }

  /** Say how many rows there are, with what shows more. @param {HTMLElement} section @param {number} count @param {number} of */
  function tell(section, count, of) {
    const note = find(section, "p.rest");
    const held = note.contains(document.activeElement);
    const left = of - count;
    /** @param {string} textContent @param {number} limit */
    const button = (textContent, limit) => {
      const made = element("button", { type: "button", textContent });
      made.addEventListener("click", () => draw(section, limit));
      return made;
    };
    note.hidden = left === 0;
    note.replaceChildren(
      `${count} of ${of} methods are shown. `,
      button(`Show ${Math.min(AT_ONCE, left)} more`, count + AT_ONCE),
      " ",
      button("Show all", Number.POSITIVE_INFINITY),
    );
    if (held) note.querySelector("button")?.focus();
  }

  // The rows of a part of the file. Not in a table, a parser would leave them out.
  /** @param {string} html */
  function parsed(html) {
    const template = document.createElement("template");
    template.innerHTML = `<table><tbody>${html}</tbody></table>`;
    return [...document.importNode(template.content, true).querySelectorAll("tr")];
  }

  const pause = () => new Promise((go) => setTimeout(go));

  /** What a file of rows calls once it is there. @param {{section: string, packed: string}} given */
  async function receive({ section: id, packed }) {
    const section = find(document, `section[id="${CSS.escape(id)}"]`);
    /** @type {Rest} */
    const rest = JSON.parse(new TextDecoder().decode(await inflated(packed)));
    const rows = [];
    for (const part of rest.rows) {
      rows.push(...parsed(part));
      await pause();
    }
    const before = rowsOf(section);
    rows.forEach((row, i) => {
      row.dataset.at = String(before.length + i);
    });
    setRows(section, [...before, ...rows]);
    citations.push(...rest.citations);
    section.dataset.rest = "";
    view.tell();
  }

  // After the page has been painted: the first rows are there already.
  /** @param {HTMLElement} section */
  function load(section) {
    const src = datum(section, "rest");
    if (!src || section.dataset.asked) return;
    section.dataset.asked = "yes";
    const script = element("script", { src });
    script.addEventListener("error", () => find(section, "p.rest").append(" They cannot be read here."));
    requestAnimationFrame(() => setTimeout(() => document.head.append(script)));
  }

  /** Whether all rows of a large table are here, in the page or not. @param {HTMLElement} section */
  const whole = (section) => section.dataset.rest === "";

  // Paper has no buttons.
  const large = all(document, "section.board[data-rest]");
  window.addEventListener("beforeprint", () => {
    for (const section of large)
      if (whole(section) && !section.hidden) {
        section.dataset.before = String(limits.get(section));
        draw(section, Number.POSITIVE_INFINITY);
      }
  });
  window.addEventListener("afterprint", () => {
    for (const section of large) if (section.dataset.before) draw(section, Number(section.dataset.before));
  });

  return { lay, load, whole, measure, draw, receive, citations };
})(Board);
