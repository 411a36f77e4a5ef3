"use strict";
// Compare 2 to 4 methods side by side: the columns of the chosen rows, turned into rows.
(({ page: { find, all, element, datum, headsOf, rowsOf, words, decoded, view } }) => {
  const button = find(document, ".tools [name=compare]", HTMLButtonElement);
  const dialog = element("dialog", {
    className: "compare",
    attributes: { "aria-label": "Methods side by side", closedby: "any" },
  });
  document.body.append(dialog);

  const sections = all(document, "section.board");
  /** @type {WeakMap<HTMLTableRowElement, HTMLInputElement>} */
  const own = new WeakMap();
  const boxes = () => sections.flatMap(rowsOf).flatMap((row) => own.get(row) ?? []);
  const chosen = () => [...new Set(boxes().flatMap((box) => (box.checked ? [box.value] : [])))];
  /** @param {HTMLTableRowElement} row */
  const title = (row) => find(row, "th a").textContent ?? "";

  /** Of how many rows a section has had its boxes. @type {WeakMap<HTMLElement, number>} */
  const boxed = new WeakMap();

  /** @param {HTMLElement} section */
  function addBoxes(section) {
    const rows = rowsOf(section);
    if (boxed.get(section) === rows.length) return;
    boxed.set(section, rows.length);
    for (const row of rows) {
      if (own.has(row)) continue;
      const box = element("input", {
        type: "checkbox",
        name: "pick",
        value: datum(row, "method"),
        attributes: { "aria-label": `Compare ${title(row)}` },
      });
      box.addEventListener("change", () => pick(box.value, box.checked));
      own.set(row, box);
      row.querySelector("th")?.prepend(box);
    }
  }

  /** @param {string} method @param {boolean} on */
  function pick(method, on) {
    for (const box of boxes()) if (box.value === method) box.checked = on;
    const count = chosen().length;
    button.disabled = count < 2 || count > 4;
    if (count > 4) button.textContent = "Compare at most 4 methods";
    else button.textContent = count ? `Compare ${count} method${count > 1 ? "s" : ""}` : "Compare 2–4 methods";
  }

  // A track without any of them has nothing to show.
  /** @param {HTMLElement} section @param {string[]} methods */
  const has = (section, methods) => rowsOf(section).some((row) => methods.includes(datum(row, "method")));

  /** @param {HTMLElement} section @param {string[]} methods */
  function side(section, methods) {
    const rows = methods.flatMap((method) => rowsOf(section).filter((row) => row.dataset.method === method));
    const top = rows.map((row) => element("th", { scope: "col", textContent: title(row) }));
    /** @type {[string, (row: HTMLTableRowElement) => string][]} */
    const about = [
      ["Told apart?", (row) => apart(row, rows)],
      ["Finished", (row) => datum(row, "status")],
      ["Obtained", (row) => datum(row, "obtained")],
    ];
    const lines = about.map(([text, say]) => {
      const cells = rows.map((row) => element("td", { className: "num", textContent: say(row) || "–" }));
      return element("tr", {}, element("th", { scope: "row", textContent: text }), ...cells);
    });
    headsOf(section).forEach((head, i) => {
      if (head.dataset.key === "method") return;
      const cells = rows.map((row) => element("td", { className: "num" }, ...copies(row.cells[i])));
      lines.push(element("tr", {}, element("th", { scope: "row" }, ...copies(head)), ...cells));
    });
    const words = find(section, "h2").textContent ?? "";
    return element(
      "div",
      { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": words } },
      element("h3", { textContent: words }),
      element(
        "table",
        { className: "plain" },
        element("thead", {}, element("tr", {}, element("td"), ...top)),
        element("tbody", {}, ...lines),
      ),
    );
  }

  /**
   * By the letters, which are of the paired tests between all methods of the table.
   * @param {HTMLElement} row
   * @param {HTMLTableRowElement[]} rows
   */
  function apart(row, rows) {
    const others = rows.filter((other) => other !== row && other.dataset.letters);
    const own = datum(row, "letters");
    if (!own || !others.length) return "not tested";
    /** @param {HTMLElement} other */
    const shared = (other) => [...datum(other, "letters")].some((letter) => own.includes(letter));
    const names = others.filter((other) => !shared(other)).map(title);
    return names.length ? `from ${names.join(", ")}` : "from none of these";
  }

  /** What is in a cell once more; a button that sorts is only a name here. @param {HTMLElement} cell */
  function copies(cell) {
    return [...cell.childNodes].map((node) =>
      node.nodeName === "BUTTON"
        ? element("span", { className: "name", textContent: node.textContent ?? "" })
        : node.cloneNode(true),
    );
  }

  /** @param {View} asked */
  function show(asked) {
    for (const section of sections) addBoxes(section);
    if (!asked.compare && !dialog.open) return;
    const shown = sections.filter((section) => !section.hidden);
    const there = new Set(shown.flatMap(rowsOf).map((row) => row.dataset.method));
    const known = words(asked.compare).flatMap((word) => {
      const method = decoded(word);
      return method !== null && there.has(method) ? [method] : [];
    });
    if (known.length < 2 || known.length > 4) {
      if (dialog.open) dialog.close();
      return;
    }
    for (const method of new Set([...chosen(), ...known])) pick(method, known.includes(method));
    const close = element("button", { type: "button", textContent: "Close" });
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(
      element("div", { className: "bar" }, element("h2", { textContent: "Side by side" }), close),
      ...shown.filter((section) => has(section, known)).map((section) => side(section, known)),
    );
    if (!dialog.open) dialog.showModal();
  }

  button.addEventListener("click", () => view.set({ compare: chosen().map(encodeURIComponent).join(" ") }));
  dialog.addEventListener("close", () => {
    if (view.read().compare) view.set({ compare: "" });
  });
  view.onChange(show);
  show(view.read());
})(Board);
