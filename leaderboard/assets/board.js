"use strict";
// Filter, sort, search and choose columns: the tables are in the page, this shows and orders them.
(() => {
  const tools = document.querySelector(".tools");
  if (!tools) return;
  const sections = [...document.querySelectorAll("section.board")];
  const control = (name) => tools.querySelector(`[name="${name}"]`);
  const status = tools.querySelector("[role=status]");

  const score = control("score");
  const filters = { attribute: control("attribute"), structure: control("structure") };
  const preset = { attribute: "", structure: tools.dataset.structure };

  function addSortButtons(section) {
    for (const header of headsOf(section)) {
      const name = header.querySelector(".name");
      const button = element("button", { type: "button", className: "name", textContent: name.textContent });
      button.addEventListener("click", () => sortBy(header.dataset.key));
      name.replaceWith(button);
    }
  }

  function sortBy(key) {
    const view = View.read();
    const first = key === "rank" || key === "method" ? "up" : "down";
    const same = (view.sort || "rank") === key;
    const order = same && (view.order || first) === first ? (first === "up" ? "down" : "up") : first;
    View.set({ sort: key === "rank" && order === "up" ? "" : key, order: order === first ? "" : order });
  }

  function value(cell) {
    if (cell.dataset.v === undefined) return cell.textContent.trim().toLowerCase();
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  }

  function compare(a, b, sign) {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.at - b.at;
    return sign * (a.value < b.value ? -1 : a.value > b.value ? 1 : 0) || a.at - b.at;
  }

  function sort(section, key, order) {
    const all = headsOf(section);
    const column = all.findIndex((header) => header.dataset.key === key);
    // A column that this table lacks, as the groups of another attribute.
    if (column < 0) {
      if (key !== "rank") sort(section, "rank");
      return;
    }
    const up = (order || (key === "rank" || key === "method" ? "up" : "down")) === "up";
    all.forEach((header, i) => {
      if (i === column) header.setAttribute("aria-sort", up ? "ascending" : "descending");
      else header.removeAttribute("aria-sort");
    });
    const rows = rowsOf(section).map((row) => ({ row, value: value(row.cells[column]), at: Number(row.dataset.at) }));
    rows.sort((a, b) => compare(a, b, up ? 1 : -1));
    section.querySelector("table.scores tbody").append(...rows.map(({ row }) => row));
  }

  function search(section, text) {
    const wanted = text.trim().toLowerCase();
    let shown = 0;
    for (const row of rowsOf(section)) {
      row.hidden = wanted !== "" && !row.querySelector("th").textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    return shown;
  }

  function showColumns(section, hidden, wanted) {
    headsOf(section).forEach((header, i) => {
      const other = wanted !== "" && "metric" in header.dataset && header.dataset.metric !== wanted;
      const off = other || hidden.has(header.dataset.column || header.dataset.key);
      if (header.hidden === off) return;
      header.hidden = off;
      for (const row of rowsOf(section)) row.cells[i].hidden = off;
    });
  }

  // What the address asks for, else the preset; a name that is not there is said in `unknown`.
  function chosen(view, name, unknown) {
    if (!(name in view)) return preset[name];
    if ([...filters[name].options].some((option) => option.value === view[name]) || view[name] === "all") return view[name];
    unknown.push(`There is no ${name} “${view[name]}” here.`);
    return preset[name];
  }

  function show(view) {
    const unknown = [];
    const wanted = { attribute: chosen(view, "attribute", unknown), structure: chosen(view, "structure", unknown) };
    score.value = [...score.options].some((option) => option.value === view.score) ? view.score : "";
    if (view.score && !score.value) unknown.push(`There is no score “${view.score}” here.`);
    const elsewhere = filters.structure.dataset.elsewhere === "yes";
    const hidden = new Set((view.hide || "").split(" ").filter(Boolean));
    let shown = 0, most = 0;
    for (const section of sections) {
      const fits = (name) => elsewhere || wanted[name] === "all" || !wanted[name] || wanted[name] === section.dataset[name];
      section.hidden = !(fits("attribute") && fits("structure"));
      if (section.hidden) continue;
      sort(section, view.sort || "rank", view.order);
      showColumns(section, hidden, score.value);
      shown = search(section, view.search || "");
      most = rowsOf(section).length;
      Large.lay(section);
    }
    filters.attribute.value = elsewhere ? filters.attribute.dataset.here : wanted.attribute;
    filters.structure.value = elsewhere ? filters.structure.dataset.here : wanted.structure;
    if (document.activeElement !== control("search")) control("search").value = view.search || "";
    tools.querySelectorAll("[name=column]").forEach((box) => (box.checked = !hidden.has(box.value)));
    status.textContent = [...unknown, ...(view.search ? [`${shown} of ${most} methods`] : [])].join(" ");
  }

  function goTo(name) {
    const option = { ...Object.fromEntries(Object.entries(filters).map(([key, select]) => [key, select.value])) };
    const key = `${option.attribute}/${option.structure}`;
    const pages = JSON.parse(tools.dataset.pages);
    if (pages[key]) location.href = pages[key] + location.hash;
    else View.set({ [name]: option[name] === preset[name] ? "" : option[name] || "all" });
  }

  for (const [name, select] of Object.entries(filters)) select.addEventListener("change", () => goTo(name));
  score.addEventListener("change", () => View.set({ score: score.value }));
  control("search").addEventListener("input", (event) => View.set({ search: event.target.value }, true));
  tools.querySelectorAll("[name=column]").forEach((box) =>
    box.addEventListener("change", () => {
      const off = [...tools.querySelectorAll("[name=column]")].filter((b) => !b.checked).map((b) => b.value);
      View.set({ hide: off.join(" ") });
    }),
  );
  tools.querySelector("[name=reset]").addEventListener("click", () => (location.hash = ""));

  sections.forEach((section) => {
    rowsOf(section).forEach((row, i) => (row.dataset.at = i));
    addSortButtons(section);
  });
  tools.hidden = false;
  View.onChange(show);
  View.tell();
})();
