"use strict";
// Filter the boards, and the columns of the table over all of them, by cohort, backbone and attribute, and both and
// its rows by words; a board without the attribute is left out.
(({ page: { find, all, counted, view } }) => {
  const tools = find(document, ".tools");
  const boards = all(document, "section.protocol");
  const selects = all(tools, "select", HTMLSelectElement);
  const words = all(tools, "input[name=find]", HTMLInputElement);
  const grid = all(document, "section.grid");
  const columns = all(document, "section.grid thead th[data-attribute]");
  const rows = all(document, "section.grid tbody tr");

  /** @param {string} text */
  const plain = (text) => text.toLowerCase();

  /** @param {View} address */
  function show(address) {
    /** @type {View} */
    const wanted = {};
    /** @type {string[]} */
    const unknown = [];
    for (const select of selects) {
      const asked = address[select.name] ?? "";
      select.value = [...select.options].some((option) => option.value === asked) ? asked : "";
      if (select.value !== asked) unknown.push(`There is no ${select.name} “${asked}” here.`);
      wanted[select.name] = select.value;
    }
    const sought = plain(address.find ?? "");
    for (const input of words) if (document.activeElement !== input) input.value = address.find ?? "";
    /** @param {HTMLElement} element @param {string} name */
    const fits = (element, name) => !wanted[name] || wanted[name] === element.dataset[name];
    // Words of a method choose rows, words of a board choose boards; both may be in one.
    /** @param {HTMLElement} row */
    const named = (row) => plain(row.dataset.words ?? "").includes(sought);
    const methods = rows.filter(named).length;
    let shown = 0;
    for (const board of boards) {
      const answers = all(board, "li.answer");
      for (const answer of answers) answer.hidden = !fits(answer, "attribute");
      const told = methods > 0 || plain(board.textContent ?? "").includes(sought);
      board.hidden =
        !told || !fits(board, "cohort") || !fits(board, "backbone") || answers.every((answer) => answer.hidden);
      shown += board.hidden ? 0 : 1;
    }
    for (const row of rows) row.hidden = methods > 0 && !named(row);
    columns.forEach((column, i) => {
      const told = methods > 0 || named(column);
      column.hidden = !told || !["cohort", "backbone", "attribute"].every((name) => fits(column, name));
      for (const row of rows) {
        const cell = row.children[i + 1];
        if (cell instanceof HTMLElement) cell.hidden = column.hidden;
      }
    });
    for (const one of grid) one.hidden = columns.every((column) => column.hidden);
    const there = `${shown} of ${counted(boards.length, "board")}`;
    const found = sought && methods ? `${there}, ${methods} of ${counted(rows.length, "method")}` : there;
    find(tools, "[role=status]").textContent = [...unknown, found].join(" ");
  }

  for (const select of selects) select.addEventListener("change", () => view.set({ [select.name]: select.value }));
  for (const input of words) input.addEventListener("input", () => view.set({ find: input.value }, true));
  find(tools, "[name=reset]").addEventListener("click", () => {
    for (const input of words) input.value = "";
    view.reset();
  });
  tools.hidden = false;
  view.onChange(show);
  show(view.read());
})(Board);
