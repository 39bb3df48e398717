// The list of problems and its filters. Only the rows in sight are elements, however many problems there are.

const ROW_HEIGHT = 58; // pixels, as in the style
const SPARE_ROWS = 6; // above and below what is in sight
let listed = [];

function drawList() {
  const list = byId("list");
  list.addEventListener("scroll", drawRows);
  addEventListener("resize", drawRows);
  onChange((shown, before) => {
    if (shown.view !== "samples") return;
    const benchmark = benchmarkOf(shown);
    if (!before || before.view !== "samples" || differs(before, "benchmark", "a", "b")) drawFilters(benchmark);
    followSearch(benchmark, shown, () => relist(benchmark));
    if (differs(before, ...FILTERS)) list.scrollTop = 0;
    relist(benchmark);
    if (differs(before, "problem", "view")) reveal(listed.findIndex((problem) => problem.id === shown.problem));
  });
}

/** Filter and sort again. */
function relist(benchmark) {
  listed = shownProblems(benchmark, state, search.hits);
  byId("found").textContent = `${listed.length} of ${counted(benchmark.problems.length, "problem")}`;
  drawProgress();
  drawFilterValues();
  byId("rows").style.height = `${listed.length * ROW_HEIGHT}px`;
  drawRows();
}

function drawRows() {
  const list = byId("list");
  const benchmark = benchmarkOf(state);
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
  const n = Math.ceil(list.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS;
  const runs = sides(benchmark, state);
  byId("rows").replaceChildren(...listed.slice(first, first + n).map((problem, i) => listRow(problem, first + i, runs)));
  const open = byId("open-problem");
  if (open) list.setAttribute("aria-activedescendant", "open-problem");
  else list.removeAttribute("aria-activedescendant");
}

function listRow(problem, place, runs) {
  const selected = problem.id === state.problem;
  const row = el(
    "div",
    {
      class: "row",
      role: "option",
      id: selected && "open-problem",
      "aria-selected": String(selected),
      "aria-posinset": place + 1,
      "aria-setsize": listed.length,
      onclick: () => openProblem(problem),
    },
    el("div", { class: "names" }, el("strong", {}, visible(problem.source)), el("span", { class: "tags" }, visible(tagText(problem)))),
    el("div", { class: "facts" }, runs.filter(Boolean).map((run) => tally(problem.counts[run.number], run)), badges(problem, runs)),
  );
  row.style.top = `${place * ROW_HEIGHT}px`;
  return row;
}

function tagText(problem) {
  return Object.entries(problem.tags).map(([name, value]) => `${name} ${value}`).join(" · ");
}

/** `12/16` and a bar of the same share. */
function tally(counts, run) {
  const text = counts.graded ? `${counts.correct}/${counts.n}` : `–/${counts.n}`;
  const bar = el("span", { class: "bar" }, el("span", { class: "filled" }));
  bar.firstChild.style.width = `${counts.graded ? 100 * share(counts) : 0}%`;
  return el("span", { class: "tally", title: `${run.label}: ${text} correct` }, text, bar);
}

function badges(problem, runs) {
  const flip = flipOf(problem, runs);
  const [cut, odd] = [sum(problem, runs, "truncated"), sum(problem, runs, "odd")];
  return [
    flip && el("span", { class: `badge ${flip}`, title: FLIPS[flip] }, flip === "gained" ? "▲ gained" : "▼ lost"),
    cut > 0 && el("span", { class: "badge", title: `${counted(cut, "sample")} truncated` }, `✂ ${cut}`),
    odd > 0 && el("span", { class: "badge", title: `strict and lenient disagree on ${counted(odd, "sample")}` }, `≠ ${odd}`),
    problem.blocks === null && el("span", { class: "badge", title: "its texts are not in this page" }, "no text"),
  ];
}

function openProblem(problem) {
  change({ problem: problem.id, ia: "", ib: "" }, true);
}

/** Open the problem so many places further down the list. */
function step(by) {
  const place = listed.findIndex((problem) => problem.id === state.problem);
  const next = listed[place < 0 ? 0 : Math.min(Math.max(place + by, 0), listed.length - 1)];
  if (next && next.id !== state.problem) openProblem(next);
}

function reveal(place) {
  const list = byId("list");
  const top = place * ROW_HEIGHT;
  if (place < 0 || (top >= list.scrollTop && top + ROW_HEIGHT <= list.scrollTop + list.clientHeight)) return;
  list.scrollTop = top - list.clientHeight / 2;
}
