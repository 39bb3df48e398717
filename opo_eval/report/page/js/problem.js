// One problem: its statement and gold, and the samples of both checkpoints side by side.

const VERDICTS = {
  correct: { sign: "✓", kind: "right" },
  wrong: { sign: "✗", kind: "wrong" },
  no_answer: { sign: "∅", kind: "none" },
  timed_out: { sign: "⏱", kind: "none" },
  grader_error: { sign: "!", kind: "none" },
};
const SIDES = ["ia", "ib"]; // left and right, by the name in the state of the sample that is open
const UNGRADED = { sign: "·", kind: "none" };
const OF_BOTH_SIDES = ["view", "benchmark", "problem", "a", "b", "tex", "repeats", "forking", "q", "deep"];
let opening = 0; // of the texts that are being unpacked only the last are drawn

function drawProblems() {
  onChange((shown, before) => {
    document.body.classList.toggle("has-problem", shown.view === "samples" && shown.problem !== "");
    if (shown.view !== "samples") return;
    if (differs(before, ...OF_BOTH_SIDES)) drawProblem(before);
    else for (const name of ["ia", "ib"]) if (differs(before, name)) redrawSide(name);
  });
}

function openBenchmarkAndProblem() {
  const benchmark = benchmarkOf(state);
  return [benchmark, benchmark.problems.find((problem) => problem.id === state.problem)];
}

function drawProblem(before) {
  const [benchmark, problem] = openBenchmarkAndProblem();
  const panel = byId("problem");
  const focused = document.activeElement?.dataset?.state;
  panel.replaceChildren(...(problem ? problemParts(benchmark, problem) : [nothingOpen(benchmark)]));
  if (focused) panel.querySelector(`[data-state="${focused}"]`)?.focus();
  if (differs(before, "problem")) panel.scrollTop = 0;
  if (problem) drawTexts(benchmark, problem, SIDES.slice(0, sides(benchmark, state).filter(Boolean).length));
}

/** Another sample of one side; the other stays as it is, where its reader has scrolled it to. */
function redrawSide(name) {
  const [benchmark, problem] = openBenchmarkAndProblem();
  const run = sides(benchmark, state)[SIDES.indexOf(name)];
  const old = byId(`side-${name}`);
  if (!problem || !run || !old) return;
  const hadFocus = old.contains(document.activeElement);
  old.replaceWith(sidePanel(problem, run, name));
  if (hadFocus) byId(`side-${name}`).querySelector('[aria-pressed="true"]')?.focus();
  drawTexts(benchmark, problem, [name]);
}

function nothingOpen(benchmark) {
  const said = state.problem ? "This benchmark has no such problem." : "Choose a problem from the list.";
  return el("p", { class: "empty" }, `${said} `, byKey(), benchmark.problems.length ? "" : " No problem is listed.");
}

function byKey() {
  return el("span", { class: "keys" }, el("kbd", {}, "j"), " next, ", el("kbd", {}, "k"), " previous, ", el("kbd", {}, "?"), " all keys.");
}

function problemParts(benchmark, problem) {
  const runs = sides(benchmark, state).filter(Boolean);
  return [
    el(
      "header",
      {},
      el("button", { class: "back", onclick: () => change({ problem: "" }) }, "← problems"),
      el("h2", {}, visible(problem.source)),
      el("span", { class: "tags" }, visible(tagText(problem))),
      badges(problem, sides(benchmark, state)),
      el("button", { class: "link", onclick: copyLink }, "Copy link"),
    ),
    el("div", { class: "asked" }, statement(problem.prompt), el("p", { class: "gold" }, "Gold: ", answer(problem.answer))),
    el("div", { class: "switches" }, toggles()),
    el("div", { class: `sides of-${runs.length}` }, runs.map((run, side) => sidePanel(problem, run, SIDES[side]))),
  ];
}

function toggles() {
  return [
    box(canSet ? "TeX" : "TeX (its source: the library is not in this page)", "tex"),
    box(`repeated ${page.rep_order}-grams`, "repeats"),
    page.has_forking && box("forking tokens", "forking"),
    page.forking_note && el("span", { class: "note" }, visible(page.forking_note)),
    el("span", { class: "note legend" }, "✓ correct  ✗ wrong  ∅ no answer · line above: strict and lenient disagree · line below: truncated"),
  ];
}

function answer(text) {
  return el("bdi", { class: "answer" }, text === null ? "none" : visible(text));
}

// --- one checkpoint's samples -----------------------------------------------------------------------

/** The sample that is open on a side: the one in the address, or the first. */
function openSample(problem, run, name) {
  const samples = problem.runs[run.number];
  return samples.find((sample) => String(sample.index) === state[name]) ?? samples[0];
}

function sidePanel(problem, run, name) {
  const samples = problem.runs[run.number];
  const open = openSample(problem, run, name);
  return el(
    "section",
    { class: "one-side", id: `side-${name}`, "aria-label": run.label },
    el("h3", {}, visible(run.label), tally(problem.counts[run.number], run)),
    el("div", { class: "chips", role: "group", "aria-label": "samples" }, samples.map((sample) => chip(sample, sample === open, name))),
    open ? sampleFacts(open) : el("p", { class: "empty" }, "no samples"),
    el("div", { class: "response", id: `text-${name}`, tabindex: 0, dir: "ltr" }),
  );
}

function chip(sample, isOpen, name) {
  const { sign, kind } = VERDICTS[sample.verdict] ?? UNGRADED;
  const cut = sample.finish === "length" ? ", truncated" : "";
  const odd = disagrees(sample) ? `, lenient: ${words(sample.lenient)}` : "";
  const title = `sample ${sample.index}: ${words(sample.verdict ?? "not graded")}${odd}${cut}`;
  const classes = ["chip", kind, cut && "cut", odd && "odd"].filter(Boolean).join(" ");
  const open = () => change({ [name]: String(sample.index) });
  return el("button", { class: classes, title, "aria-label": title, "aria-pressed": String(isOpen), onclick: open }, sign);
}

function sampleFacts(sample) {
  const verdict = (found) => {
    const { sign, kind } = VERDICTS[found] ?? UNGRADED;
    return el("span", { class: `verdict-word ${kind}` }, `${sign} ${words(found ?? "not graded")}`);
  };
  const facts = {
    sample: String(sample.index),
    answer: answer(sample.answer),
    strict: [verdict(sample.verdict), sample.reason ? ` (${words(sample.reason)})` : ""],
    ...(sample.lenient === null ? {} : { lenient: verdict(sample.lenient) }),
    finish: FINISHES[sample.finish] ?? "not known",
    length: [sample.tokens === null ? "" : `${counted(sample.tokens, "token")}, `, counted(sample.characters, "character")],
  };
  const pairs = Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return el("dl", { class: "sample" }, pairs);
}

const FINISHES = { stop: "stopped by itself", length: "truncated at the limit", aborted: "aborted" };

// --- their texts ------------------------------------------------------------------------------------

async function drawTexts(benchmark, problem, names) {
  const own = names.length > 1 ? ++opening : opening;
  const runs = sides(benchmark, state);
  try {
    if (!hasResponses(problem)) throw new Error(leftOut());
    const asked = names.map((name) => runs[SIDES.indexOf(name)]);
    const responses = await responsesOf(benchmark, problem, asked);
    if (own !== opening) return;
    names.forEach((name, i) => drawText(problem, asked[i], name, responses.get(asked[i].number)));
  } catch (error) {
    if (own !== opening) return;
    for (const name of names) byId(`text-${name}`)?.replaceChildren(el("p", { class: "note" }, error.message));
  }
}

function leftOut() {
  return `The page is limited in size and has no text of this problem. ${page.left_out}`;
}

function drawText(problem, run, name, responses) {
  const open = openSample(problem, run, name);
  const response = open && responses.get(open.index);
  if (!response) return;
  const repeated = repeatedNgrams(response.text, page.rep_order);
  const marks = {
    repeated: state.repeats ? repeated.spans : [],
    forking: state.forking ? (response.forking ?? []) : [],
    hit: hitSpans(response.text, state.q.toLowerCase()),
  };
  const target = byId(`text-${name}`);
  target.replaceChildren(...markedText(response.text, canSet && state.tex ? findFormulas(response.text) : [], marks));
  setFormulas(target);
  addFacts(target.parentElement.querySelector("dl"), response, repeated.share);
}

/** What is known of a sample once its text is there. */
function addFacts(list, response, repeatedShare) {
  const facts = {
    ...(response.seed === null ? {} : { seed: String(response.seed) }),
    [`Rep-${page.rep_order}`]: repeatedShare === null ? "too short" : percent(repeatedShare),
    ...(page.has_forking && response.forking === null ? { "forking tokens": "not known" } : {}),
  };
  list.append(...Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  list.append(el("div", {}, el("button", { onclick: () => navigator.clipboard?.writeText(response.text) }, "Copy text")));
}

async function copyLink(event) {
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "It is in the address bar";
  }
}
