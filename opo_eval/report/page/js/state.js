// What is on show, all of it in the address: a link opens the same view again.

const DEFAULTS = {
  view: "report",
  benchmark: "", // a name; the first one where it is empty
  problem: "", // its id
  a: "", // the checkpoints that are compared, by name
  b: "",
  ia: "", // index of the sample that is open on each side
  ib: "",
  pattern_a: "any", // any, all, some, none: how many of the samples have to be right
  pattern_b: "any",
  flip: "any", // any, either, gained, lost
  cut: "", // 1: only problems with a truncated sample
  odd: "", // 1: only those with samples on which the two verdicts disagree
  tags: "", // name=value, one a line
  q: "",
  deep: "", // 1: the text is looked for in responses too
  sort: "order",
  down: "",
  tex: "1",
  repeats: "",
  forking: "",
  theme: "",
  tables: "", // how tables are sorted: id:column, with - before a column that goes down
  open: "", // details that are open
};

let state = { ...DEFAULTS };
const listeners = [];

/** Call `draw(state, before)` now and after each change. */
function onChange(draw) {
  listeners.push(draw);
  draw(state, null);
}

/** Change what is on show; `visit`: a place to which the browser's Back returns. */
function change(patch, visit = false) {
  const before = state;
  state = { ...state, ...patch };
  const address = `#${encoded(state)}`;
  if (address !== location.hash) history[visit ? "pushState" : "replaceState"](null, "", address || "#");
  announce(before);
}

function readAddress() {
  const before = state;
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const known = Object.entries(given).filter(([name]) => name in DEFAULTS);
  state = { ...DEFAULTS, ...Object.fromEntries(known) };
  announce(before);
}

function announce(before) {
  for (const draw of listeners) draw(state, before);
}

function encoded(values) {
  const differing = Object.entries(values).filter(([name, value]) => value !== DEFAULTS[name]);
  return new URLSearchParams(differing).toString();
}

/** The address of this page with some of what is on show changed. */
function linkTo(patch) {
  return `#${encoded({ ...state, ...patch })}`;
}

/** The items of a list in the state: a line each. */
function linesOf(text) {
  return text ? text.split("\n") : [];
}

/** Whether any of these changed; at first everything has. */
function differs(before, ...names) {
  return !before || names.some((name) => state[name] !== before[name]);
}
