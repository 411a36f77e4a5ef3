"use strict";
// Filter, sort, search and choose columns: the tables are in the page, this shows and orders them.
(({ page: { find, all, element, counted, datum, headsOf, rowsOf, setRows, words, view }, large }) => {
  const tools = find(document, ".tools");
  const sections = all(document, "section.board");
  const boxes = all(tools, "[name=column]", HTMLInputElement);
  const every = find(tools, "[name=every]", HTMLInputElement);
  const status = find(tools, "[role=status]");
  const search = find(tools, "[name=search]", HTMLInputElement);
  const score = find(tools, "[name=score]", HTMLSelectElement);

  /** @typedef {"attribute" | "structure"} Filter */
  /** @type {Record<Filter, HTMLSelectElement>} */
  const filters = {
    attribute: find(tools, "[name=attribute]", HTMLSelectElement),
    structure: find(tools, "[name=structure]", HTMLSelectElement),
  };
  const NAMES = /** @type {Filter[]} */ (Object.keys(filters));
  /** @type {Record<Filter, string>} */
  const preset = { attribute: datum(tools, "attribute"), structure: datum(tools, "structure") };
  const elsewhere = filters.structure.dataset.elsewhere === "yes";

  /** @param {HTMLElement} section */
  function addSortButtons(section) {
    for (const header of headsOf(section)) {
      const name = find(header, ".name");
      const button = element("button", { type: "button", className: "name", textContent: name.textContent });
      button.addEventListener("click", () => sortBy(datum(header, "key")));
      name.replaceWith(button);
    }
  }

  /** How a column is ordered at first: the best above. @param {string} key */
  const usual = (key) =>
    document.querySelector(`table.scores th[data-key="${CSS.escape(key)}"]`)?.getAttribute("data-first") ?? "down";

  /** @param {string} key */
  function sortBy(key) {
    const asked = view.read();
    const first = usual(key);
    const same = (asked.sort || "rank") === key && (asked.order || first) === first;
    const order = same ? (first === "up" ? "down" : "up") : first;
    view.set({ sort: key === "rank" && order === "up" ? "" : key, order: order === first ? "" : order });
  }

  /** @typedef {{row: HTMLTableRowElement, value: number | string | null, at: number}} Line */

  /** @param {HTMLTableCellElement} cell */
  function value(cell) {
    if (cell.dataset.v === undefined) return (cell.textContent ?? "").trim().toLowerCase();
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  }

  /** Lines without a value are last either way. @param {Line} a @param {Line} b @param {number} sign */
  function compare(a, b, sign) {
    if (a.value === null || b.value === null) return Number(a.value === null) - Number(b.value === null) || a.at - b.at;
    return sign * (a.value < b.value ? -1 : a.value > b.value ? 1 : 0) || a.at - b.at;
  }

  /** By what a section's rows are in order, and how many they are. @type {WeakMap<HTMLElement, string>} */
  const sorted = new WeakMap();

  /** @param {HTMLElement} section @param {string} key @param {string} [order] */
  function sort(section, key, order) {
    const now = `${key} ${order ?? ""} ${rowsOf(section).length}`;
    if (sorted.get(section) === now) return;
    const heads = headsOf(section);
    const column = heads.findIndex((header) => header.dataset.key === key);
    // A column that this table lacks, as the groups of another attribute.
    if (column < 0) {
      if (key !== "rank") sort(section, "rank");
      return;
    }
    sorted.set(section, now);
    const up = (order || usual(key)) === "up";
    heads.forEach((header, i) => {
      if (i === column) header.setAttribute("aria-sort", up ? "ascending" : "descending");
      else header.removeAttribute("aria-sort");
    });
    const lines = rowsOf(section).map((row) => ({ row, value: value(row.cells[column]), at: Number(row.dataset.at) }));
    lines.sort((a, b) => compare(a, b, up ? 1 : -1));
    const rows = lines.map(({ row }) => row);
    if (large.whole(section)) setRows(section, rows);
    else find(section, "table.scores tbody").append(...rows);
  }

  /** What a row is found by: read once, since a thousand are asked at every letter. @typedef {{method: string, text: string}} Said */
  /** @type {WeakMap<HTMLElement, Said>} */
  const known = new WeakMap();
  /** @param {HTMLElement} row */
  function saidOf(row) {
    const before = known.get(row);
    if (before) return before;
    // What a table says once for all its rows is found in every one of them.
    const texts = [row.querySelector("th")?.textContent, datum(row, "status"), datum(row, "obtained")];
    const said = { method: datum(row, "method"), text: texts.join(" ").toLowerCase() };
    known.set(row, said);
    return said;
  }

  // Show the methods that have the text in their cell; a method may have a row in two tracks, and counts once.
  /** @param {HTMLElement} section @param {string} text @param {{found: Set<string>, there: Set<string>}} told */
  function findMethods(section, text, { found, there }) {
    const wanted = text.trim().toLowerCase();
    for (const row of rowsOf(section)) {
      const said = saidOf(row);
      const fits = said.text.includes(wanted);
      there.add(said.method);
      if (fits) found.add(said.method);
      if (row.hidden === fits) row.hidden = !fits;
    }
  }

  /** @typedef {{hide: Set<string>, show: Set<string>, score: string}} Asked of columns; score: shown alone, or "" */

  // A column that nobody asked for is not seen and still goes with the data; one that a reader hid does not.
  /** @param {HTMLElement} section @param {Asked} asked */
  function showColumns(section, { hide, show, score: wanted }) {
    headsOf(section).forEach((header, i) => {
      const { metric, more } = header.dataset;
      const key = datum(header, "column") || datum(header, "key");
      const left = (wanted !== "" && metric !== undefined && metric !== wanted) || hide.has(key);
      const asked = !more || show.has(key) || show.has("all") || (wanted !== "" && metric === wanted);
      const off = left || !asked;
      header.dataset.left = left ? "yes" : "";
      if (header.hidden === off) return;
      header.hidden = off;
      // The rows of a large table are told when they are put in.
      if (!large.whole(section)) for (const row of rowsOf(section)) row.cells[i].hidden = off;
    });
  }

  /** @param {HTMLSelectElement} select @param {string} asked */
  const offers = (select, asked) => [...select.options].some((option) => option.value === asked);

  /**
   * What the address asks for, else the preset; a name that is not there is said in `unknown`.
   * @param {View} asked
   * @param {Filter} name
   * @param {string[]} unknown
   */
  function chosen(asked, name, unknown) {
    const wanted = asked[name];
    if (wanted === undefined) return preset[name];
    if (wanted === "all" || offers(filters[name], wanted)) return wanted;
    unknown.push(`There is no ${name} “${wanted}” here.`);
    return preset[name];
  }

  // Which columns all tables show, as the address has it: who types a name does not change them.
  /** @type {string | null} */
  let shownColumns = null;

  /** @param {View} asked */
  function show(asked) {
    /** @type {string[]} */
    const unknown = [];
    const wanted = {
      attribute: chosen(asked, "attribute", unknown),
      structure: chosen(asked, "structure", unknown),
    };
    const text = asked.search ?? "";
    score.value = offers(score, asked.score ?? "") ? (asked.score ?? "") : "";
    if (asked.score && !score.value) unknown.push(`There is no score “${asked.score}” here.`);
    const columns = { hide: new Set(words(asked.hide)), show: new Set(words(asked.show)), score: score.value };
    const chosenColumns = [asked.hide, asked.show, score.value].join("\n");
    const others = chosenColumns !== shownColumns;
    shownColumns = chosenColumns;
    /** @type {{found: Set<string>, there: Set<string>}} */
    const told = { found: new Set(), there: new Set() };
    for (const section of sections) large.measure(section);
    for (const section of sections) {
      /** @param {Filter} name */
      const fits = (name) =>
        elsewhere || wanted[name] === "all" || !wanted[name] || wanted[name] === section.dataset[name];
      section.hidden = !NAMES.every(fits);
      if (others) showColumns(section, columns);
      // On paper there are no tabs: what the reader did not choose between is all there.
      section.dataset.aside = asked.attribute || asked.structure ? "" : "yes";
      if (section.hidden) continue;
      sort(section, asked.sort || "rank", asked.order);
      findMethods(section, text, told);
      if (large.whole(section)) large.draw(section);
      else large.lay(section);
      large.load(section);
    }
    for (const name of NAMES) filters[name].value = elsewhere ? datum(filters[name], "here") : wanted[name];
    if (document.activeElement !== search) search.value = text;
    every.checked = columns.show.has("all");
    for (const box of boxes)
      box.checked = !columns.hide.has(box.value) && (!isMore(box) || every.checked || columns.show.has(box.value));
    place();
    status.textContent = [
      ...unknown,
      ...(text ? [`${told.found.size} of ${counted(told.there.size, "method")}`] : []),
    ].join(" ");
  }

  /** Where each section has a page of its own, that page; else the section on this one. @param {Filter} name */
  function goTo(name) {
    /** @type {Record<string, string>} */
    const pages = JSON.parse(datum(tools, "pages"));
    const there = pages[`${filters.attribute.value}/${filters.structure.value}`];
    const value = filters[name].value;
    if (there) location.href = there + location.hash;
    else view.set({ [name]: value === preset[name] ? "" : value || "all" });
  }

  for (const name of NAMES) filters[name].addEventListener("change", () => goTo(name));
  score.addEventListener("change", () => view.set({ score: score.value }));
  search.addEventListener("input", () => view.set({ search: search.value }, true));
  /** Whether a column is there only when asked for. @param {HTMLInputElement} box */
  const isMore = (box) => box.dataset.atFirst === undefined;
  for (const box of boxes) {
    box.addEventListener("change", () => {
      const off = boxes.filter((one) => !one.checked && (every.checked || !isMore(one)));
      const more = every.checked ? [] : boxes.filter((one) => one.checked && isMore(one));
      const names = more.map((one) => one.value);
      view.set({ hide: off.map((one) => one.value).join(" "), show: every.checked ? "all" : names.join(" ") });
    });
  }
  every.addEventListener("change", () => view.set({ hide: "", show: every.checked ? "all" : "" }));
  find(tools, "[name=reset]").addEventListener("click", view.reset);

  // The tools stand between the verdict and the table of the first section that is shown.
  function place() {
    const slot = sections.find((section) => !section.hidden)?.querySelector(".slot");
    if (!slot || tools.parentElement === slot) return;
    const held = /** @type {HTMLElement | null} */ (
      tools.contains(document.activeElement) ? document.activeElement : null
    );
    slot.append(tools);
    held?.focus();
  }

  // A tab changes one thing of the view and keeps the rest; focus stays on it in the section that comes.
  /** @param {MouseEvent} event */
  function follow(event) {
    const link = event.target instanceof Element ? event.target.closest("nav.strip a") : null;
    if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.ariaCurrent) return;
    const { attribute = "", structure = "" } = link.dataset;
    if (elsewhere) {
      location.href = link.href.split("#")[0] + location.hash;
      return;
    }
    view.set({
      attribute: attribute === preset.attribute ? "" : attribute,
      structure: structure === preset.structure ? "" : structure,
    });
    const again = `section.board:not([hidden]) nav.strip a[data-attribute="${CSS.escape(attribute)}"]`;
    /** @type {HTMLElement | null} */ (
      document.querySelector(`${again}[data-structure="${CSS.escape(structure)}"][aria-current]`)
    )?.focus({ preventScroll: true });
  }
  find(document, "#main").addEventListener("click", follow);

  for (const section of sections) {
    rowsOf(section).forEach((row, i) => {
      row.dataset.at = String(i);
    });
    addSortButtons(section);
  }
  tools.hidden = false;
  view.onChange(show);
  view.tell();
})(Board);
