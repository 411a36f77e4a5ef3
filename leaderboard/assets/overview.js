"use strict";
// Filter the boards by cohort, backbone and attribute; a board without the attribute is left out.
(({ page: { find, all, view } }) => {
  const tools = find(document, ".tools");
  const boards = all(document, "section.protocol");
  const selects = all(tools, "select", HTMLSelectElement);

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
    let shown = 0;
    for (const board of boards) {
      const answers = all(board, "li.answer");
      for (const answer of answers) answer.hidden = !!wanted.attribute && wanted.attribute !== answer.dataset.attribute;
      /** @param {string} name */
      const fits = (name) => !wanted[name] || wanted[name] === board.dataset[name];
      board.hidden = !fits("cohort") || !fits("backbone") || answers.every((answer) => answer.hidden);
      shown += board.hidden ? 0 : 1;
    }
    find(tools, "[role=status]").textContent = [...unknown, `${shown} of ${boards.length} boards`].join(" ");
  }

  for (const select of selects) select.addEventListener("change", () => view.set({ [select.name]: select.value }));
  find(tools, "[name=reset]").addEventListener("click", () => {
    location.hash = "";
  });
  tools.hidden = false;
  view.onChange(show);
  show(view.read());
})(Board);
