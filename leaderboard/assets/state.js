"use strict";
// The one name that the scripts share, and the page: its elements, and the view in its address.
// A script is a function called at once: it takes from Board what it needs, which scripts before it have put
// there, and puts there what it adds. Scripts that work from disk cannot be modules.
const Board = {};

/**
 * The view as the address has it: what is asked for, by name.
 * @typedef {{[name: string]: string | undefined}} View
 *
 * @typedef {{data?: Record<string, string>, attributes?: Record<string, string>}} Named
 */

Board.page = (() => {
  /** @type {((view: View) => void)[]} */
  const listeners = [];

  /**
   * The first element under `root` that fits, which has to be there.
   * @template {HTMLElement} [T=HTMLElement]
   * @param {ParentNode} root
   * @param {string} selector
   * @param {new () => T} [kind]
   */
  function find(root, selector, kind) {
    const found = all(root, selector, kind)[0];
    if (!found) throw new Error(`${selector} is not on this page`);
    return found;
  }

  /** "1 seed", or "2 seeds". @param {number} count @param {string} what */
  const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

  /**
   * Every element under `root` that fits.
   * @template {HTMLElement} [T=HTMLElement]
   * @param {ParentNode} root
   * @param {string} selector
   * @param {new () => T} [kind]
   * @returns {T[]}
   */
  function all(root, selector, kind) {
    const wanted = kind ?? HTMLElement;
    return /** @type {T[]} */ ([...root.querySelectorAll(selector)].filter((one) => one instanceof wanted));
  }

  /**
   * A new element, with what is in it; `data` and `attributes` are those that are no property of it.
   * @template {keyof HTMLElementTagNameMap} T
   * @param {T} tag
   * @param {Partial<Omit<HTMLElementTagNameMap[T], "attributes">> & Named} [properties]
   * @param {(Node | string)[]} children
   * @returns {HTMLElementTagNameMap[T]}
   */
  function element(tag, properties = {}, ...children) {
    const { data = {}, attributes = {}, ...rest } = properties;
    const made = document.createElement(tag);
    Object.assign(made, rest);
    Object.assign(made.dataset, data);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  /**
   * Files of data, which are scripts since pages work from disk: each is asked for once, by the name that it
   * hands its data over under.
   * @template T
   */
  function files() {
    /** @type {Record<string, (data: T | Promise<T>) => void>} */
    const waiting = {};
    /** @type {Record<string, Promise<T>>} */
    const loaded = {};
    /** @param {string} name @param {T | Promise<T>} data */
    const receive = (name, data) => waiting[name](data);
    /** @param {string} name @param {string} src */
    function get(name, src) {
      loaded[name] ??= new Promise((resolve, reject) => {
        waiting[name] = resolve;
        const script = element("script", { src });
        script.addEventListener("error", () => reject(new Error(`${src} cannot be read`)));
        document.head.append(script);
      });
      return loaded[name];
    }
    return { receive, get };
  }

  /** Bytes that travel packed, as text. @param {string} text @returns {Promise<Uint8Array>} */
  async function inflated(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** What `data-...` says, "" where it is not there. @param {HTMLElement} from @param {string} name */
  const datum = (from, name) => from.dataset[name] ?? "";

  // A section's own table; the panel below it has tables too.
  /** @param {HTMLElement} section */
  const headsOf = (section) => all(section, "table.scores thead th", HTMLTableCellElement);

  /** @type {WeakMap<HTMLElement, HTMLTableRowElement[]>} */
  const orders = new WeakMap();
  /** All rows in their order, those of a large table that are not in the page too. @param {HTMLElement} section */
  const rowsOf = (section) => orders.get(section) ?? all(section, "table.scores tbody tr", HTMLTableRowElement);
  /** Say which rows a large table has. @param {HTMLElement} section @param {HTMLTableRowElement[]} rows */
  const setRows = (section, rows) => orders.set(section, rows);

  /** A name for a sentence: one in Arabic or Hebrew letters must not turn the numbers beside it. @param {string} text */
  const isolated = (text) => (/[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(text) ? `\u2068${text}\u2069` : text);

  /** The words of a list in the address. @param {string | undefined} text */
  const words = (text) => (text ?? "").split(" ").filter(Boolean);

  /** null for what is no encoding: not every '%' begins a character. @param {string} text */
  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return null;
    }
  }

  // The section that an address without a view names, by its id alone; null where there is none.
  function named() {
    const text = decoded(location.hash.slice(1));
    if (!text || text.includes("=")) return null;
    const section = document.getElementById(text);
    return section?.dataset.attribute ? section : null;
  }

  /** @returns {View} */
  function read() {
    const section = named();
    if (section) return { attribute: section.dataset.attribute, structure: section.dataset.structure };
    return location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {};
  }

  /** @param {View} view */
  function address(view) {
    const kept = Object.entries(view).flatMap(([name, value]) => (value ? [[name, value]] : []));
    return `#${new URLSearchParams(kept.sort(([a], [b]) => (a < b ? -1 : 1)))}`;
  }

  /**
   * Change the view, at once. `typing` replaces the entry in the history, so that the back button does not undo
   * letter by letter.
   * @param {View} changes
   * @param {boolean} [typing]
   */
  function set(changes, typing = false) {
    go(address({ ...read(), ...changes }), typing);
  }

  /** As the page was when it came. */
  const reset = () => go("#", false);

  /** @param {string} next @param {boolean} typing */
  function go(next, typing) {
    if (next === location.hash || (next === "#" && !location.hash)) return;
    if (typing) history.replaceState(null, "", next);
    else history.pushState(null, "", next);
    tell();
  }

  function tell() {
    const view = read();
    for (const listener of listeners) listener(view);
    // The browser looked for it while it may have been hidden.
    named()?.scrollIntoView();
  }

  /** @param {(view: View) => void} listener */
  function onChange(listener) {
    listeners.push(listener);
  }

  // The back button, and whoever follows a link or types.
  window.addEventListener("hashchange", tell);

  // As an address of its own "#main" would be a view: the default one.
  find(document, "a.skip").addEventListener("click", (event) => {
    const main = find(document, "#main");
    event.preventDefault();
    main.tabIndex = -1;
    main.focus();
  });

  const openMenus = () => all(document, "details.menu[open]", HTMLDetailsElement);
  document.addEventListener("click", (event) => {
    for (const menu of openMenus()) if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of openMenus()) {
      const inside = menu.contains(document.activeElement);
      menu.open = false;
      if (inside) find(menu, "summary").focus();
    }
  });

  return {
    find,
    all,
    element,
    counted,
    files,
    inflated,
    datum,
    headsOf,
    rowsOf,
    setRows,
    words,
    isolated,
    decoded,
    view: { read, set, reset, tell, onChange },
  };
})();
