"use strict";
// The view as the part of the address after '#': a link to it is a link to the view.
const View = (() => {
  const listeners = [];

  // The section that an address without a view names, by its id alone; null where there is none.
  function named() {
    const text = decoded(location.hash.slice(1));
    if (!text || text.includes("=")) return null;
    const section = document.getElementById(text);
    return section && section.dataset.attribute ? section : null;
  }

  function read() {
    const section = named();
    if (section) return { attribute: section.dataset.attribute, structure: section.dataset.structure };
    return location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {};
  }

  function address(view) {
    const kept = Object.entries(view).filter(([, value]) => value !== "" && value != null);
    return "#" + new URLSearchParams(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  // `typing` replaces the entry in the history, so that the back button does not undo letter by letter.
  function set(changes, typing = false) {
    const next = address({ ...read(), ...changes });
    if (next === location.hash || (next === "#" && !location.hash)) return;
    if (typing) {
      history.replaceState(null, "", next);
      tell();
    } else {
      location.hash = next;
    }
  }

  function tell() {
    const view = read();
    listeners.forEach((listener) => listener(view));
    // The browser looked for it while it may have been hidden.
    named()?.scrollIntoView();
  }

  function onChange(listener) {
    listeners.push(listener);
  }

  window.addEventListener("hashchange", tell);
  return { read, set, tell, onChange, address };
})();

// null for what is no encoding: not every '%' begins a character.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function element(tag, properties = {}, ...children) {
  const { data = {}, attributes = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, data);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

// A section's own table; the panel below it has tables too.
const headsOf = (section) => [...section.querySelectorAll("table.scores thead th")];
const rowsOf = (section) => [...section.querySelectorAll("table.scores tbody tr")];

// As an address of its own "#main" would be a view: the default one.
document.querySelector("a.skip").addEventListener("click", (event) => {
  const main = document.getElementById("main");
  event.preventDefault();
  main.tabIndex = -1;
  main.focus();
});

const openMenus = () => [...document.querySelectorAll("details.menu[open]")];
document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    const inside = menu.contains(document.activeElement);
    menu.open = false;
    if (inside) menu.querySelector("summary").focus();
  }
});
