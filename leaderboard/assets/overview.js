"use strict";
// Filter the boards by cohort, backbone and attribute; a board without the attribute is left out.
(() => {
  const tools = document.querySelector(".tools");
  const boards = [...document.querySelectorAll("section.protocol")];
  const selects = [...tools.querySelectorAll("select")];

  function show(address) {
    const view = {}, unknown = [];
    for (const select of selects) {
      const wanted = address[select.name] || "";
      select.value = [...select.options].some((option) => option.value === wanted) ? wanted : "";
      if (select.value !== wanted) unknown.push(`There is no ${select.name} “${wanted}” here.`);
      view[select.name] = select.value;
    }
    let shown = 0;
    for (const board of boards) {
      const answers = [...board.querySelectorAll("li.answer")];
      for (const answer of answers) answer.hidden = !!view.attribute && view.attribute !== answer.dataset.attribute;
      const fits = (name) => !view[name] || view[name] === board.dataset[name];
      board.hidden = !fits("cohort") || !fits("backbone") || answers.every((answer) => answer.hidden);
      shown += !board.hidden;
    }
    tools.querySelector("[role=status]").textContent = [...unknown, `${shown} of ${boards.length} boards`].join(" ");
  }

  for (const select of selects) select.addEventListener("change", () => View.set({ [select.name]: select.value }));
  tools.querySelector("[name=reset]").addEventListener("click", () => (location.hash = ""));
  tools.hidden = false;
  View.onChange(show);
  show(View.read());
})();
