"use strict";
// Points of test cases on a canvas: drawn once, pointed at and gone through with the keyboard.

Board.cloud = (({ page: { counted } }) => {
  const NEAR = 24;
  const LEFT = 48;
  const FOOT = 44;
  const TOP = 12;
  /** A group's code where there is none. */
  const UNKNOWN = 255;

  const shapes = [...document.querySelectorAll("svg.marks path[id^=dot]")].map(
    (path) => new Path2D(path.getAttribute("d") ?? ""),
  );

  /** @typedef {{low: number, high: number, ticks: number[], label: (v: number) => string}} Axis */
  /** An axis with round numbers that holds all values. @param {number[]} values @returns {Axis} */
  function axis(values) {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const value of values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low > high) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
    const room = (high - low) * 0.04;
    low -= room;
    high += room;
    const rough = (high - low) / 5;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * ([1, 2, 5, 10].find((n) => n * ten >= rough) ?? 10);
    const ticks = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++) ticks.push(n * step);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    /** @param {number} v */
    const label = (v) => v.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    return { low, high, ticks, label };
  }

  /** A text that is no wider, cut where it has to be. @param {CanvasRenderingContext2D} pen @param {string} text @param {number} width */
  function cut(pen, text, width) {
    let short = text;
    while (short && pen.measureText(short === text ? text : `${short}…`).width > width)
      short = short.slice(0, -1).trimEnd();
    return short === text ? text : `${short}…`;
  }

  /** As the other figures have it: from the seventh group on a colour comes again with another shape. @param {number} code */
  const shapeOf = (code) => (code + Math.floor(code / 6)) % 6;

  /**
   * A canvas that shows cases. told: of the place among those shown that is pointed at, -1 for none; open: of the
   * case that was chosen.
   * @param {HTMLCanvasElement} canvas
   * @param {{told: (n: number) => void, open: (i: number) => void}} given
   */
  function make(canvas, { told, open }) {
    /** @type {Shown | null} */
    let now = null;
    let here = -1;
    let picked = -1;
    /** Where points are, in pixels of the page. @type {{x: Float64Array, y: Float64Array}} */
    let places = { x: new Float64Array(), y: new Float64Array() };
    const drawn = document.createElement("canvas");

    /** Draw all points once; what moves is drawn over them. */
    function draw() {
      if (!now) return;
      const ratio = window.devicePixelRatio || 1;
      const { clientWidth: width, clientHeight: height } = canvas;
      if (!width) return;
      for (const one of [canvas, drawn]) {
        one.width = Math.round(width * ratio);
        one.height = Math.round(height * ratio);
      }
      const pen = drawn.getContext("2d");
      if (!pen) return;
      pen.scale(ratio, ratio);
      const { table, x, y, shown, isMethod } = now;
      const up = axis(shown.map((i) => y[i]));
      const across = axis(shown.map((i) => x[i]));
      const both = isMethod ? axis(shown.flatMap((i) => [x[i], y[i]])) : null;
      const [ax, ay] = [both ?? across, both ?? up];
      const right = width - 12;
      const bottom = height - FOOT;
      /** @param {number} v */
      const px = (v) => LEFT + ((v - ax.low) / (ax.high - ax.low)) * (right - LEFT);
      /** @param {number} v */
      const py = (v) => bottom - ((v - ay.low) / (ay.high - ay.low)) * (bottom - TOP);
      const style = getComputedStyle(canvas);
      /** @param {string} name */
      const colour = (name) => style.getPropertyValue(`--${name}`).trim();
      frame(pen, { ax, ay, px, py, right, bottom, soft: colour("soft"), line: colour("line"), font: style.fontFamily });
      if (both) {
        pen.strokeStyle = colour("soft");
        pen.beginPath();
        pen.moveTo(px(both.low), py(both.low));
        pen.lineTo(px(both.high), py(both.high));
        pen.stroke();
      }
      places = { x: new Float64Array(shown.length), y: new Float64Array(shown.length) };
      pen.globalAlpha = shown.length > 2000 ? 0.5 : 0.75;
      const colours = new Map(
        [...new Set(table.codes)].map((code) => [code, colour(code === UNKNOWN ? "soft" : `g${code % 6}`)]),
      );
      shown.forEach((i, n) => {
        const [left, top] = [px(x[i]), py(y[i])];
        places.x[n] = left;
        places.y[n] = top;
        const code = table.codes[i];
        pen.fillStyle = colours.get(code) ?? "";
        pen.setTransform(ratio * 0.6, 0, 0, ratio * 0.6, left * ratio, top * ratio);
        pen.fill(shapes[code === UNKNOWN ? 0 : shapeOf(code)]);
      });
      point();
      const title = `${now.yTitle} against ${now.xTitle}, ${table.name}: ${counted(shown.length, "case")}`;
      canvas.setAttribute("aria-label", `${title}. Arrows go from case to case, Enter shows one.`);
    }

    /**
     * Lines and numbers of both axes, and what they are.
     * @param {CanvasRenderingContext2D} pen
     * @param {{ax: Axis, ay: Axis, px: (v: number) => number, py: (v: number) => number, right: number, bottom: number, soft: string, line: string, font: string}} given
     */
    function frame(pen, { ax, ay, px, py, right, bottom, soft, line, font }) {
      pen.font = `12px ${font}`;
      pen.fillStyle = soft;
      pen.strokeStyle = line;
      pen.textAlign = "center";
      for (const tick of ax.ticks) {
        pen.beginPath();
        pen.moveTo(px(tick), TOP);
        pen.lineTo(px(tick), bottom);
        pen.stroke();
        pen.fillText(ax.label(tick), px(tick), bottom + 16);
      }
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const tick of ay.ticks) {
        pen.beginPath();
        pen.moveTo(LEFT, py(tick));
        pen.lineTo(right, py(tick));
        pen.stroke();
        pen.fillText(ay.label(tick), LEFT - 6, py(tick));
      }
      pen.textAlign = "center";
      const below = now?.isMethod ? `Dice, ${now.xTitle}` : (now?.xTitle ?? "");
      pen.fillText(cut(pen, below, right - LEFT), (LEFT + right) / 2, bottom + 34);
      pen.save();
      pen.translate(10, (TOP + bottom) / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(cut(pen, `Dice, ${now?.yTitle}`, bottom - TOP), 0, 0);
      pen.restore();
    }

    /** Put the points on the page, with rings around the one pointed at and the one picked. */
    function point() {
      const pen = canvas.getContext("2d");
      if (!pen || !now || !drawn.width) return;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(drawn, 0, 0);
      const ratio = canvas.width / canvas.clientWidth;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.strokeStyle = getComputedStyle(canvas).color;
      for (const [n, width] of [
        [here, 1.5],
        [picked < 0 ? -1 : now.shown.indexOf(picked), 2.5],
      ]) {
        if (n < 0) continue;
        pen.lineWidth = width;
        pen.beginPath();
        pen.arc(places.x[n], places.y[n], 8, 0, 2 * Math.PI);
        pen.stroke();
      }
    }

    /** @param {number} n place among those shown */
    function go(n) {
      here = n;
      point();
      told(n);
    }

    /** @param {MouseEvent} event */
    function nearest(event) {
      let [best, far] = [-1, NEAR * NEAR];
      for (let n = 0; n < places.x.length; n++) {
        const away = (places.x[n] - event.offsetX) ** 2 + (places.y[n] - event.offsetY) ** 2;
        if (away < far) [best, far] = [n, away];
      }
      return best;
    }

    canvas.addEventListener("pointermove", (event) => {
      const n = nearest(event);
      if (n !== here) go(n);
    });
    canvas.addEventListener("click", (event) => {
      const n = nearest(event);
      if (n >= 0 && now) open(now.shown[n]);
    });
    canvas.addEventListener("keydown", (event) => {
      if (!now?.shown.length) return;
      const steps = /** @type {Record<string, number>} */ ({
        ArrowRight: 1,
        ArrowUp: 1,
        ArrowLeft: -1,
        ArrowDown: -1,
        PageDown: 10,
        PageUp: -10,
      });
      const last = now.shown.length - 1;
      // From left to right, whatever the order of the table below.
      const order = [...now.shown.keys()].sort((a, b) => places.x[a] - places.x[b] || a - b);
      const at = order.indexOf(here);
      if (event.key === "Home") go(order[0]);
      else if (event.key === "End") go(order[last]);
      else if (event.key in steps) go(order[Math.min(Math.max(at + steps[event.key], 0), last)]);
      else if ((event.key === "Enter" || event.key === " ") && here >= 0) open(now.shown[here]);
      else return;
      event.preventDefault();
    });

    new ResizeObserver(draw).observe(canvas);
    for (const media of ["print", "(prefers-color-scheme: dark)", "(forced-colors: active)"])
      matchMedia(media).addEventListener("change", draw);

    /** @param {Shown} shown */
    function show(shown) {
      now = shown;
      here = -1;
      draw();
    }

    /** Ring a case, -1 for none. @param {number} i */
    function pick(i) {
      picked = i;
      point();
    }

    return { show, pick };
  }

  return { make, shapeOf, UNKNOWN };
})(Board);
