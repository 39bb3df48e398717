// Formulas: where they are in a text, and setting them with KaTeX, as MathML that the browser draws.

const LONGEST_FORMULA = 2000; // characters; longer ones stay source
const DEEPEST_FORMULA = 24; // braces inside one another
const MOST_FORMULAS = 3000; // in one text
const SLICE_MS = 10;
const DELIMITERS = [
  { open: "$$", close: "$$", display: true },
  { open: "\\[", close: "\\]", display: true },
  { open: "\\(", close: "\\)", display: false },
  { open: "$", close: "$", display: false },
];
const CLOSERS = ["$$", "\\]", "\\)", "$"];

/** Whether formulas can be set: the library is an extra, without it their source is shown. */
const canSet = typeof katex !== "undefined";

/** Formulas of a text in order: {start, end, source, display}; reads the text once. */
function findFormulas(text) {
  const found = [];
  const next = Object.fromEntries(CLOSERS.map((closer) => [closer, 0]));
  const closerFrom = (closer, from) => {
    // A closer that was found is good until it is passed, so no stretch is searched twice.
    if (next[closer] >= 0 && next[closer] < from) next[closer] = text.indexOf(closer, from);
    return next[closer];
  };
  for (let place = 0; place < text.length && found.length < MOST_FORMULAS; ) {
    const delimiter = delimiterAt(text, place);
    const start = place + (delimiter ? delimiter.open.length : 1);
    const end = delimiter ? closerFrom(delimiter.close, start) : -1;
    if (delimiter && isFormula(text, delimiter, start, end)) {
      place = end + delimiter.close.length;
      found.push({ start: start - delimiter.open.length, end: place, source: text.slice(start, end), display: delimiter.display });
    } else {
      place = start;
    }
  }
  return found;
}

function delimiterAt(text, place) {
  const character = text[place];
  if (character !== "$" && character !== "\\") return undefined;
  return DELIMITERS.find(({ open }) => text.startsWith(open, place));
}

/** As pandoc has it: `$` is no money, so it touches its formula, and no digit follows the second. */
function isFormula(text, { open }, start, end) {
  if (end <= start || end - start > LONGEST_FORMULA) return false;
  if (open !== "$") return true;
  return !/\s/.test(text[start]) && !/\s/.test(text[end - 1]) && !/[0-9]/.test(text[end + 1] ?? "") && !text.slice(start, end).includes("\n\n");
}

/** KaTeX's settings: nothing that loads, links or styles, few expansions, small sizes. */
function settingsOf(display) {
  return {
    displayMode: display,
    output: "mathml",
    throwOnError: true,
    strict: "ignore",
    trust: false,
    maxExpand: 100,
    maxSize: 8,
    // These two would come as style attributes, which the page's policy forbids.
    macros: { "\\pmb": "\\boldsymbol{#1}", "\\fcolorbox": boxWithoutColours },
  };
}

/** Of `\\fcolorbox{border}{fill}{text}` the text in a box. */
function boxWithoutColours(context) {
  context.consumeArgs(2);
  return "\\fbox";
}

/** Put formulas in the place of their source, a few at a time, so that the page goes on answering. */
async function setFormulas(root) {
  await null; // until whoever called has put the text on the page
  let since = performance.now();
  for (const element of canSet ? root.querySelectorAll(".formula:not(.set)") : []) {
    if (performance.now() - since > SLICE_MS) {
      await pause();
      since = performance.now();
    }
    if (element.isConnected) setFormula(element);
  }
}

function setFormula(element) {
  const source = element.dataset.source;
  element.classList.add("set");
  try {
    if (depthOf(source) > DEEPEST_FORMULA) throw new Error("too deep");
    const set = el("span");
    katex.render(source, set, settingsOf(element.classList.contains("display")));
    element.title = source;
    element.replaceChildren(set);
  } catch {
    element.classList.add("unset"); // its source stays
  }
}

function depthOf(source) {
  let depth = 0;
  let deepest = 0;
  for (const character of source) {
    depth += (character === "{") - (character === "}");
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}
