"use strict";
// Compare 2 to 4 methods side by side: the columns of the chosen rows, turned into rows.
(() => {
  const tools = document.querySelector(".tools");
  if (!tools) return;
  const button = tools.querySelector("[name=compare]");
  const dialog = element("dialog", { className: "compare", attributes: { "aria-label": "Methods side by side", closedby: "any" } });
  document.body.append(dialog);

  const chosen = () => [...new Set([...document.querySelectorAll("[name=pick]:checked")].map((box) => box.value))];

  function addBoxes() {
    for (const row of document.querySelectorAll("table.scores tbody tr")) {
      const cell = row.querySelector("th");
      const name = cell.querySelector("a").textContent;
      const box = element("input", {
        type: "checkbox", name: "pick", value: row.dataset.method,
        attributes: { "aria-label": `Compare ${name}` },
      });
      box.addEventListener("change", () => pick(box.value, box.checked));
      cell.prepend(box);
    }
  }

  function pick(method, on) {
    for (const box of document.querySelectorAll("[name=pick]")) if (box.value === method) box.checked = on;
    const picked = chosen();
    button.disabled = picked.length < 2 || picked.length > 4;
    button.textContent = picked.length ? `Compare ${picked.length} method${picked.length > 1 ? "s" : ""}` : "Compare 2–4 methods";
    if (picked.length > 4) button.textContent = "Compare at most 4 methods";
  }

  function side(section, methods) {
    const rows = methods.map((method) => rowsOf(section).find((row) => row.dataset.method === method));
    const heads = headsOf(section);
    const table = element("table", { className: "plain" });
    const top = element("tr", {}, element("td"));
    rows.forEach((row) => top.append(element("th", { scope: "col", textContent: row.querySelector("th a").textContent })));
    table.append(element("thead", {}, top));
    const body = element("tbody");
    for (const [words, say] of [["Told apart?", (row) => apart(row, rows)], ["Finished", (row) => row.dataset.status], ["Obtained", (row) => row.dataset.obtained]]) {
      const cells = rows.map((row) => element("td", { className: "num", textContent: say(row) || "–" }));
      body.append(element("tr", {}, element("th", { scope: "row", textContent: words }), ...cells));
    }
    heads.forEach((head, i) => {
      if (head.dataset.key === "method") return;
      const line = element("tr", {}, element("th", { scope: "row" }, ...[...head.childNodes].map((node) => plain(node))));
      rows.forEach((row) => line.append(element("td", { className: "num" }, ...[...row.cells[i].childNodes].map((n) => n.cloneNode(true)))));
      body.append(line);
    });
    table.append(body);
    const title = section.querySelector("h2").textContent;
    return element("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": title } }, element("h3", { textContent: title }), table);
  }

  // By the letters, which are of the paired tests between all methods of the table.
  function apart(row, rows) {
    const others = rows.filter((other) => other !== row && other.dataset.letters);
    if (!row.dataset.letters || !others.length) return "not tested";
    const shared = (other) => [...other.dataset.letters].some((letter) => row.dataset.letters.includes(letter));
    const names = others.filter((other) => !shared(other)).map((other) => other.querySelector("th a").textContent);
    return names.length ? `from ${names.join(", ")}` : "from none of these";
  }

  function plain(node) {
    if (node.nodeName !== "BUTTON") return node.cloneNode(true);
    return element("span", { className: "name", textContent: node.textContent });
  }

  function show(view) {
    const methods = (view.compare || "").split(" ").filter(Boolean).map(decoded);
    const sections = [...document.querySelectorAll("section.board:not([hidden])")];
    const known = methods.filter((m) => sections.some((section) => rowsOf(section).some((row) => row.dataset.method === m)));
    if (known.length < 2 || known.length > 4) {
      if (dialog.open) dialog.close();
      return;
    }
    [...new Set([...chosen(), ...known])].forEach((method) => pick(method, known.includes(method)));
    const close = element("button", { type: "button", textContent: "Close" });
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(
      element("div", { className: "bar" }, element("h2", { textContent: "Side by side" }), close),
      ...sections.map((section) => side(section, known)),
    );
    if (!dialog.open) dialog.showModal();
  }

  addBoxes();
  button.addEventListener("click", () => View.set({ compare: chosen().map(encodeURIComponent).join(" ") }));
  dialog.addEventListener("close", () => View.read().compare && View.set({ compare: "" }));
  View.onChange(show);
  show(View.read());
})();
