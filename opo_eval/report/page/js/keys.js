// The keyboard, the two views, the theme and the help.

const KEYS = [
  ["j", "↓", "next problem"],
  ["k", "↑", "previous problem"],
  ["←", "→", "other sample on the left; with Shift on the right"],
  ["/", "", "search"],
  ["t", "", "TeX or its source"],
  ["r", "", "repeated n-grams: those of the whole response that Rep-n counts, over the tokens of 13a"],
  ["f", "", "forking tokens: the fifth drawn at the highest entropy"],
  ["g", "s", "report; samples"],
  ["d", "", "dark or light"],
  ["Esc", "", "leave a field, close this, back to the list"],
  ["?", "", "this help"],
];

const ON_KEY = {
  j: () => step(1),
  ArrowDown: () => step(1),
  k: () => step(-1),
  ArrowUp: () => step(-1),
  ArrowLeft: (event) => stepSample(event.shiftKey ? "ib" : "ia", -1),
  ArrowRight: (event) => stepSample(event.shiftKey ? "ib" : "ia", 1),
  "/": () => showSamples(() => byId("search").focus()),
  t: () => toggle("tex"),
  r: () => toggle("repeats"),
  f: () => toggle("forking"),
  g: () => change({ view: "report" }, true),
  s: () => showSamples(),
  d: () => otherTheme(),
  Escape: () => change({ problem: "" }),
  "?": () => byId("help").showModal(),
};
const IN_BOTH_VIEWS = new Set(["/", "g", "s", "d", "?"]);

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const own = ON_KEY[event.key];
    if (!own || !(state.view === "samples" || IN_BOTH_VIEWS.has(event.key))) return;
    // Arrows scroll what is in focus; in the list they move through it.
    if (event.key.startsWith("Arrow") && event.target.closest(".response, .table")) return;
    event.preventDefault();
    own(event);
  });
}

function showSamples(then) {
  if (!hasSamples) return;
  change({ view: "samples" }, state.view !== "samples");
  then?.();
}

function toggle(name) {
  change({ [name]: state[name] ? "" : "1" });
}

function stepSample(name, by) {
  const benchmark = benchmarkOf(state);
  const problem = benchmark.problems.find((own) => own.id === state.problem);
  const run = sides(benchmark, state)[name === "ib" ? 1 : 0];
  if (!problem || !run) return;
  const samples = problem.runs[run.number];
  const next = samples[samples.indexOf(openSample(problem, run, name)) + by];
  if (next) change({ [name]: String(next.index) });
}

function isDark() {
  return state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function otherTheme() {
  change({ theme: isDark() ? "light" : "dark" });
}

function drawFrame() {
  for (const view of ["report", "samples"]) byId(`to-${view}`).addEventListener("click", () => change({ view }, true));
  byId("to-samples").hidden = !hasSamples;
  byId("theme").addEventListener("click", otherTheme);
  byId("to-help").addEventListener("click", () => byId("help").showModal());
  byId("help-keys").append(
    ...KEYS.map(([key, other, does]) => el("div", {}, el("dt", {}, el("kbd", {}, key), other && [" ", el("kbd", {}, other)]), el("dd", {}, does))),
  );
  onChange((shown) => {
    document.documentElement.dataset.theme = shown.theme;
    document.body.dataset.view = hasSamples && shown.view === "samples" ? "samples" : "report";
    for (const view of ["report", "samples"]) byId(`to-${view}`).setAttribute("aria-current", String(document.body.dataset.view === view));
  });
}
