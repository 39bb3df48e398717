// The report: what it comes to, and for each benchmark its tables and figures.

function drawReport() {
  const report = page.report;
  byId("report").append(
    el("p", { class: "scope" }, visible(report.scope)),
    report.overall.map((sentence) => el("p", { class: "overall" }, visible(sentence))),
    el("section", { "aria-label": "Verdict" }, report.verdicts.map(verdictLine), report.warnings.map(warning)),
    el("p", { class: "family" }, report.family.map((sentence) => [...visible(sentence), " "])),
    detail("notes", "How to read the numbers", el("ul", {}, report.notes.map((note) => el("li", {}, visible(note))))),
    ...report.sections.map(section),
    detail("definitions", "What every metric is", report.definitions.map(definition)),
  );
}

function verdictLine({ benchmark, a, b, reading, sentences }) {
  const [first, ...rest] = sentences;
  return el(
    "div",
    { class: `verdict ${reading}` },
    el("p", { class: "first" }, visible(first)),
    rest.length > 0 && el("p", {}, visible(rest.join(" "))),
    a && hasSamples && el("a", { href: `#${encoded({ ...DEFAULTS, view: "samples", benchmark, a, b, flip: "either" })}` }, "problems that flipped"),
  );
}

function warning(sentence) {
  return el("p", { class: "warning" }, visible(sentence));
}

function section({ title, id, tables, more, figures, absent }) {
  return el(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, visible(title)),
    tables.map(sortable),
    el("div", { class: "figures" }, figures.map(figure)),
    absent.length > 0 && el("ul", { class: "note" }, absent.map((line) => el("li", {}, visible(line)))),
    more.map((table) => detail(`${table.id}-more`, table.title, () => sortable({ ...table, title: "" }))),
  );
}

function figure({ id, title, image, data }) {
  return el(
    "figure",
    {},
    el("img", { src: image, alt: title, loading: "lazy" }),
    el("figcaption", {}, visible(title)),
    detail(id, "Data", () => sortable({ ...(data.samples === undefined ? data : sampleTable(data.samples)), id: `${id}-data` })),
  );
}

/** What figures of single samples are drawn from: the page has it for its list of problems already. */
function sampleTable(benchmarkName) {
  const benchmark = benchmarkOf({ benchmark: benchmarkName });
  const rows = benchmark.problems.flatMap((problem) =>
    problem.runs.flatMap((samples, run) => samples.map((sample) => sampleRow(benchmark.runs[run], problem, sample))),
  );
  return { columns: ["checkpoint", "problem", "index", "verdict", "finish", "characters", "tokens"], rows };
}

function sampleRow(run, problem, sample) {
  const numbers = [sample.characters, sample.tokens].map((value) => [value === null ? "—" : String(value), value]);
  return [run.label, problem.source, [String(sample.index), sample.index], sample.verdict ?? "—", sample.finish ?? "—", ...numbers];
}

function definition({ family, text }) {
  return [el("h3", {}, visible(family)), text.map((part) => el("p", {}, visible(part)))];
}

/** Something that opens; its content, where it is a function, is made when it first does. */
function detail(id, title, content) {
  const details = el("details", { id }, el("summary", {}, visible(title)));
  const make = () => {
    if (details.childElementCount === 1) details.append(...[typeof content === "function" ? content() : content].flat(2));
  };
  details.addEventListener("toggle", () => {
    if (details.open) make();
    const others = linesOf(state.open).filter((own) => own !== id);
    change({ open: (details.open ? [...others, id] : others).join("\n") });
  });
  onChange(() => {
    const open = linesOf(state.open).includes(id);
    if (open) make();
    if (details.open !== open) details.open = open;
  });
  return details;
}
