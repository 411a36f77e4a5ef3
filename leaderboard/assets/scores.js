"use strict";
// The scores of a section by sample, read once when something on the page asks for them.
Board.scores = (({ page: { files }, equity }) => {
  /** @type {ReturnType<typeof files<Scores>>} */
  const ofSections = files();

  /** What a file of scores calls once it is there. @param {Packed} packed */
  const receive = (packed) => ofSections.receive(packed.section, equity.load(packed));

  return { receive, get: ofSections.get };
})(Board);
