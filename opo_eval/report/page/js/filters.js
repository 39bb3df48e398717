// What the list of problems is narrowed by.

const FLIPS = {
  gained: "most samples are right on the right side, and were not on the left",
  lost: "most samples were right on the left side, and are not on the right",
};
const FILTERS = ["benchmark", "pattern_a", "pattern_b", "flip", "cut", "odd", "tags", "q", "deep", "sort", "down"];
const PATTERN_NAMES = { any: "any number", all: "all correct", some: "at least one correct", none: "none correct" };
const SEARCH_PAUSE_MS = 150;

function drawFilters(benchmark) {
  const [a, b] = sides(benchmark, state);
  byId("filters").replaceChildren(
    searchField(),
    ...(page.benchmarks.length > 1 ? [choice("Benchmark", "benchmark", labelled(page.benchmarks, "name"), benchmark.name)] : []),
    ...(b ? [sideChoice(benchmark, "Left", "a", a), sideChoice(benchmark, "Right", "b", b)] : []),
    b ? choice("Flips", "flip", { any: "all problems", either: "flipped", gained: "gained", lost: "lost" }) : "",
    choice(b ? "Left solves" : "Solves", "pattern_a", PATTERN_NAMES),
    b ? choice("Right solves", "pattern_b", PATTERN_NAMES) : "",
    ...tagNames(benchmark).map((name) => tagChoice(benchmark, name)),
    el("div", { class: "boxes" }, box("truncated", "cut"), box("strict ≠ lenient", "odd")),
    el("div", { class: "sorting" }, choice("Sort by", "sort", labelled(Object.entries(SORTS).map(([name, own]) => ({ name, ...own })), "name")), box("descending", "down")),
    el("button", { class: "clear", onclick: clearFilters }, "Clear filters"),
  );
}

function searchField() {
  let waiting = 0;
  const type = (event) => {
    const q = event.target.value;
    clearTimeout(waiting);
    waiting = setTimeout(() => change({ q, ...(q ? {} : { deep: "" }) }), SEARCH_PAUSE_MS);
  };
  return el(
    "div",
    { class: "search" },
    el("input", { type: "search", id: "search", "data-state": "q", placeholder: "Search prompts, ids, answers ( / )", "aria-label": "Search prompts, ids and answers", oninput: type }),
    box("in responses too", "deep"),
    el("div", { id: "progress", role: "status" }),
  );
}

function drawProgress() {
  const stop = el("button", { onclick: () => change({ deep: "" }) }, "stop");
  const text = `${search.done} of ${counted(search.total, "problem")} searched, ${search.hits.size} with hits `;
  byId("progress")?.replaceChildren(...(search.key ? [text, ...(search.running ? [stop] : [])] : []));
}

/** A name before a select whose value is in the state. */
function choice(label, name, options, value) {
  const select = el("select", { "data-state": name, onchange: (event) => change({ [name]: event.target.value, ...forgets(name) }) });
  select.append(...Object.entries(options).map(([key, text]) => el("option", { value: key }, visible(text))));
  select.value = value ?? state[name];
  return el("label", { class: `of-${name}` }, label, select);
}

/** A benchmark has its own problems and checkpoints, a checkpoint its own samples. */
function forgets(name) {
  if (name === "benchmark") return { problem: "", tags: "", ia: "", ib: "" };
  return name === "a" || name === "b" ? { [`i${name}`]: "" } : {};
}

function labelled(items, key) {
  return Object.fromEntries(items.map((item) => [item[key], item.label]));
}

function sideChoice(benchmark, label, name, run) {
  if (benchmark.runs.length < 3) return el("div", { class: "side" }, `${label}: `, el("b", {}, visible(run.label)));
  return choice(label, name, labelled(benchmark.runs, "checkpoint"), run.checkpoint);
}

function box(label, name) {
  const input = el("input", { type: "checkbox", "data-state": name, onchange: (event) => change({ [name]: event.target.checked ? "1" : "" }) });
  input.checked = Boolean(state[name]);
  return el("label", { class: "box" }, input, label);
}

function tagNames(benchmark) {
  return [...new Set(benchmark.problems.flatMap((problem) => Object.keys(problem.tags)))];
}

function tagChoice(benchmark, name) {
  const values = new Set(benchmark.problems.map((problem) => problem.tags[name]).filter((value) => value !== undefined));
  const select = el("select", { "data-tag": name, onchange: (event) => change({ tags: withTag(name, event.target.value) }) });
  const options = sorted([...values], (value) => value, false).map((value) => el("option", { value: `=${value}` }, visible(value)));
  select.append(el("option", { value: "" }, "any"), ...options);
  return el("label", {}, visible(name), select);
}

/** The lines of the state's tags with this one changed; the value of an option begins with `=`. */
function withTag(name, value) {
  const others = tagFilters(state).filter(([own]) => own !== name).map(([own, its]) => `${own}=${its}`);
  return [...others, ...(value ? [name + value] : [])].join("\n");
}

/** Fields that are there already take what the state now says. */
function drawFilterValues() {
  for (const field of byId("filters").querySelectorAll("[data-state]")) {
    const value = state[field.dataset.state];
    if (field.type === "checkbox") field.checked = Boolean(value);
    else if (field.tagName === "SELECT" && value && value !== field.value) field.value = value;
    else if (field.type === "search" && field !== document.activeElement) field.value = value;
  }
  const chosen = new Map(tagFilters(state));
  for (const field of byId("filters").querySelectorAll("[data-tag]")) {
    field.value = chosen.has(field.dataset.tag) ? `=${chosen.get(field.dataset.tag)}` : "";
  }
}

function clearFilters() {
  const cleared = FILTERS.filter((name) => name !== "benchmark").map((name) => [name, DEFAULTS[name]]);
  change(Object.fromEntries(cleared));
  byId("search").value = "";
}
