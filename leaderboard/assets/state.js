"use strict";
// The view as the part of the address after '#': a link to it is a link to the view.
const View = (() => {
  const listeners = [];

  function read() {
    const text = decodeURIComponent(location.hash.slice(1));
    if (text && !text.includes("=")) {
      const section = document.getElementById(text);
      if (section && section.dataset.attribute) {
        return { attribute: section.dataset.attribute, structure: section.dataset.structure };
      }
      return {};
    }
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
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
  }

  function onChange(listener) {
    listeners.push(listener);
  }

  window.addEventListener("hashchange", tell);
  return { read, set, tell, onChange, address };
})();

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
