"use strict";
// The scores of a section by sample, read once when something on the page asks for them.
Board.scores = (({ page: { element }, equity }) => {
  /** @type {Record<string, (scores: Promise<Scores>) => void>} */
  const waiting = {};
  /** @type {Record<string, Promise<Scores>>} */
  const loaded = {};

  /** What a file of scores calls once it is there. @param {Packed} packed */
  function receive(packed) {
    waiting[packed.section](equity.load(packed));
  }

  /** @param {string} section @param {string} src */
  function get(section, src) {
    loaded[section] ??= new Promise((resolve, reject) => {
      waiting[section] = resolve;
      const script = element("script", { src });
      script.addEventListener("error", () => reject(new Error(`${src} cannot be read`)));
      document.head.append(script);
    });
    return loaded[section];
  }

  return { receive, get };
})(Board);
