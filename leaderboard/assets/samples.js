"use strict";
// Every point of a scatter of test cases opens its case: the numbers of chosen methods, and where they may be shown
// the image with the outlines of truth and predictions.

/**
 * @typedef {{name: string, side: number, cases: number[], packed: string}} PackedMaps
 * @typedef {{side: number, cases: number[], values: Uint8Array}} Maps
 *
 * Where pictures are. maps: method to its label maps, "" to the truth's; image: with CASE for the case's place.
 * @typedef {{root: string, maps: Record<string, string>, image: string, attribute: string}} Pictured
 */

Board.samples = (({ page: { all, element, files, inflated, datum }, equity, scores }) => {
  const SVG = "use[data-case]";
  const NEAR = 24;
  const MOST = 4;
  const TRUTH = "#00e5ff";
  const PREDICTION = "#ff3d8b";
  let share = 50;
  /** @type {ReturnType<typeof files<Maps>>} */
  const labelMaps = files();

  /** What a file of label maps calls once it is there. @param {PackedMaps} given */
  const receive = (given) => labelMaps.receive(given.name, unpacked(given));

  /** @param {PackedMaps} given @returns {Promise<Maps>} */
  async function unpacked({ side, cases, packed }) {
    return { side, cases, values: await inflated(packed) };
  }

  /** @param {number[]} values */
  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
  /** @param {number} value */
  const digits = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");

  /** Whether a pixel's label differs from that to the right of it or below. @param {Maps} maps @param {number} at */
  function isEdge({ side, values }, at) {
    const right = (at + 1) % side && values[at] !== values[at + 1];
    return right || (at + side < values.length && values[at] !== values[at + side]);
  }

  /**
   * Draw the outlines of a case's label map from one share of the width to another.
   * @param {CanvasRenderingContext2D} pen
   * @param {Maps} maps
   * @param {number} place
   * @param {string} colour
   * @param {[number, number]} between
   */
  function outline(pen, maps, place, colour, [from, to]) {
    const { side } = maps;
    const own = { ...maps, values: maps.values.subarray(place * side * side, (place + 1) * side * side) };
    const step = pen.canvas.width / side;
    pen.fillStyle = colour;
    for (let at = 0; at < side * side; at++) {
      const x = at % side;
      if (x / side >= from && x / side < to && isEdge(own, at))
        pen.fillRect(x * step, Math.floor(at / side) * step, step, step);
    }
  }

  /**
   * A case's image once a method, with the outlines of the truth and of what the method predicted.
   * @param {Pictured} from
   * @param {number} which
   * @param {{name: string, title: string}[]} methods
   */
  async function pictures({ root, maps, image: address, attribute }, which, methods) {
    const truth = await labelMaps.get("truth", root + maps[""]);
    const place = truth.cases.indexOf(which);
    if (place < 0)
      return [
        element("p", {
          className: "sub",
          textContent: "Of this many cases not each has its picture here; this one has none.",
        }),
      ];
    const image = new Image();
    image.src = root + address.replace("CASE", String(which));
    await image.decode();
    /** @type {(() => void)[]} */
    const draws = [];
    /** @type {HTMLElement[]} */
    const figures = [];
    /** @param {string} label @param {string} title @param {(pen: CanvasRenderingContext2D) => void} lines */
    function picture(label, title, lines) {
      const canvas = element("canvas", { width: 256, height: 256, attributes: { role: "img", "aria-label": label } });
      const pen = canvas.getContext("2d");
      if (!pen) return;
      draws.push(() => {
        pen.drawImage(image, 0, 0, canvas.width, canvas.height);
        lines(pen);
      });
      figures.push(element("li", {}, canvas, element("span", { textContent: title })));
    }
    const without = [];
    for (const { name, title } of methods) {
      if (!maps[name]) {
        without.push(title);
        continue;
      }
      const own = await labelMaps.get(`${name} ${attribute}`, root + maps[name]).catch(() => null);
      if (!own) continue;
      const at = own.cases.indexOf(which);
      if (at < 0) {
        without.push(title);
        continue;
      }
      picture(`Outlines of the truth and of what ${title} predicted`, title, (pen) => {
        outline(pen, truth, place, TRUTH, [0, share / 100]);
        outline(pen, own, at, PREDICTION, [share / 100, 1]);
        pen.fillStyle = "#fff";
        pen.fillRect((pen.canvas.width * share) / 100 - 0.5, 0, 1, pen.canvas.height);
      });
    }
    if (without.length)
      picture("The outline of the truth", "truth", (pen) => outline(pen, truth, place, TRUTH, [0, 1]));
    const lacking = without.length
      ? [
          element("p", {
            className: "sub",
            textContent: `Not drawn here, for the size of this site: ${without.join(", ")}.`,
          }),
        ]
      : [];
    const slider = element("input", { type: "range", min: "0", max: "100", value: String(share) });
    const redraw = () => {
      for (const draw of draws) draw();
    };
    slider.addEventListener("input", () => {
      share = Number(slider.value);
      redraw();
    });
    redraw();
    if (without.length === methods.length) return [element("ul", { className: "cases" }, ...figures), ...lacking];
    const key = element(
      "p",
      { className: "key" },
      element("span", { className: "truth", textContent: "truth" }),
      " left of the line, ",
      element("span", { className: "prediction", textContent: "prediction of the first finished seed" }),
      " right of it",
    );
    return [
      element("ul", { className: "cases" }, ...figures),
      element("label", { className: "slide" }, "Line ", slider),
      key,
      ...lacking,
    ];
  }

  /** @param {HTMLElement} explorer */
  function explore(explorer) {
    const panel = element("div", {
      className: "case",
      hidden: true,
      attributes: { role: "region", "aria-label": "A test case" },
    });
    const said = element("p", { className: "unseen", attributes: { role: "status" } });
    explorer.append(said, panel);
    const chosen = [...new Set([datum(explorer, "method"), datum(explorer, "baseline")])].filter(Boolean);
    /** @type {Record<string, string>} */
    const maps = JSON.parse(datum(explorer, "maps") || "{}");
    /** @param {SVGElement} point */
    const textOf = (point) => point.querySelector("title")?.textContent ?? "";

    /** @param {SVGElement} point */
    async function show(point) {
      const which = Number(point.dataset.case);
      for (const other of explorer.querySelectorAll(SVG))
        other.classList.toggle("shown", other.getAttribute("data-case") === point.dataset.case);
      const title = element("h4", { textContent: textOf(point).replace(/^c/, "C") });
      panel.hidden = false;
      panel.replaceChildren(title, element("p", { textContent: "Reading the scores …" }));
      try {
        const data = await scores.get(datum(explorer, "section"), datum(explorer, "scores"));
        panel.replaceChildren(title, ...numbers(data, which, () => show(point)));
        if (!maps[""]) return;
        const methods = chosen.map((name) => ({ name, title: data.titles[data.methods.indexOf(name)] ?? name }));
        const [root, image, attribute] = ["root", "image", "attribute"].map((name) => datum(explorer, name));
        panel.append(...(await pictures({ root, maps, image, attribute }, which, methods)));
      } catch (error) {
        panel.replaceChildren(
          title,
          element("p", { textContent: error instanceof Error ? error.message : String(error) }),
        );
      }
    }

    /** The case's Dice with each chosen method, and what adds one. @param {Scores} data @param {number} which @param {() => void} again */
    function numbers(data, which, again) {
      if (data.patients === null && data.weights !== null)
        return [
          element("p", {
            textContent:
              "This board is too large for the scores of single cases to be on its pages; leaderboard.csv has those of its groups.",
          }),
        ];
      /** @param {string} textContent */
      const head = (textContent) => element("th", { scope: "col", textContent });
      const lines = chosen
        .map((name) => data.methods.indexOf(name))
        .filter((m) => m >= 0)
        .map((m) => {
          const all = data.seeds.map((_, s) => equity.at(data, m, s, "dice", which));
          const there = all.filter((value) => !Number.isNaN(value));
          const cells = [mean(there), ...all].map((v) => element("td", { className: "num", textContent: digits(v) }));
          return element("tr", {}, element("th", { scope: "row", textContent: data.titles[m] }), ...cells);
        });
      const heads = ["Method", "Dice", ...data.seeds.map((seed) => `seed ${seed}`)].map(head);
      const table = element(
        "table",
        { className: "plain" },
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...lines),
      );
      const others = data.methods.flatMap((name, m) =>
        chosen.includes(name) ? [] : [element("option", { value: name, textContent: data.titles[m] })],
      );
      if (!others.length || chosen.length >= MOST) return [table];
      const select = element(
        "select",
        { name: "beside" },
        element("option", { value: "", textContent: "choose" }),
        ...others,
      );
      select.addEventListener("change", () => {
        chosen.push(select.value);
        again();
      });
      return [table, element("label", {}, "Beside it ", select)];
    }

    for (const svg of explorer.querySelectorAll("svg.scatter"))
      if (svg instanceof SVGElement)
        attend(svg, show, (point) => {
          said.textContent = textOf(point);
        });
  }

  /**
   * A click opens the nearest point; with the keyboard arrows go from left to right, Enter opens.
   * @param {SVGElement} svg
   * @param {(point: SVGElement) => void} show
   * @param {(point: SVGElement) => void} say
   */
  function attend(svg, show, say) {
    const points = [...svg.querySelectorAll(SVG)].filter((one) => one instanceof SVGElement);
    /** @param {SVGElement} point */
    const x = (point) => Number.parseFloat(point.getAttribute("x") ?? "0");
    const order = [...points].sort((a, b) => x(a) - x(b));
    let here = -1;
    /** @param {number} at */
    function go(at) {
      order[here]?.classList.remove("here");
      here = Math.min(Math.max(at, 0), order.length - 1);
      order[here].classList.add("here");
      say(order[here]);
    }
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "application");
    svg.setAttribute("aria-roledescription", "scatter of test cases");
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrows go from case to case, Enter shows one.`);
    svg.addEventListener("click", (event) => {
      /** @param {SVGElement} point */
      const away = (point) => {
        const box = point.getBoundingClientRect();
        return Math.hypot(box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY);
      };
      const far = order.map(away);
      const at = far.indexOf(Math.min(...far));
      if (far[at] > NEAR) return;
      go(at);
      show(order[at]);
    });
    svg.addEventListener("keydown", (event) => {
      const steps = /** @type {Record<string, number>} */ ({
        ArrowRight: 1,
        ArrowLeft: -1,
        ArrowUp: 1,
        ArrowDown: -1,
        PageDown: 10,
        PageUp: -10,
      });
      if (event.key === "Home") go(0);
      else if (event.key === "End") go(order.length - 1);
      else if (event.key in steps) go(here + steps[event.key]);
      else if ((event.key === "Enter" || event.key === " ") && order[here]) show(order[here]);
      else return;
      event.preventDefault();
    });
  }

  for (const explorer of all(document, "div.explorer")) explore(explorer);
  return { receive, pictures };
})(Board);
