// Samples by problem and checkpoint, from the columns in which the page holds them.

const page = JSON.parse(byId("page-data").textContent);
const hasSamples = page.benchmarks.length > 0;
const CORRECT = "correct";
const PATTERNS = {
  any: () => true,
  all: (counts) => counts.n > 0 && counts.correct === counts.n,
  some: (counts) => counts.correct > 0,
  none: (counts) => counts.n > 0 && counts.correct === 0,
};

/** The benchmark on show, its samples unpacked when it is first asked for. */
function benchmarkOf(shown) {
  const found = page.benchmarks.find((benchmark) => benchmark.name === shown.benchmark) ?? page.benchmarks[0];
  if (found && !found.ready) unpackSamples(found);
  return found;
}

function unpackSamples(benchmark) {
  benchmark.ready = true;
  benchmark.problems.forEach((problem, place) => {
    problem.place = place;
    problem.runs = benchmark.runs.map(() => []);
    problem.words = [problem.prompt, problem.source].join("\n").toLowerCase();
  });
  benchmark.runs.forEach((run, number) => {
    run.number = number;
    const { problem: places, ...columns } = run.samples;
    places.forEach((place, i) => benchmark.problems[place].runs[number].push(sampleAt(columns, i)));
  });
  for (const problem of benchmark.problems) {
    problem.counts = problem.runs.map(count);
    const answers = problem.runs.flat().map((sample) => sample.answer ?? "");
    problem.words += `\n${[...new Set(answers)].join("\n").toLowerCase()}`;
  }
}

function sampleAt(columns, i) {
  const named = (kind, column) => (column[i] < 0 ? null : page.words[kind][column[i]]);
  return {
    index: columns.index[i],
    verdict: named("verdict", columns.verdict),
    lenient: named("verdict", columns.lenient),
    reason: named("reason", columns.reason),
    finish: named("finish", columns.finish),
    answer: named("answer", columns.answer),
    characters: columns.characters[i],
    tokens: columns.tokens[i],
  };
}

/** Only one of strict and lenient says correct. */
function disagrees(sample) {
  return sample.lenient !== null && (sample.verdict === CORRECT) !== (sample.lenient === CORRECT);
}

function count(samples) {
  const tokens = samples.map((sample) => sample.tokens ?? sample.characters);
  return {
    n: samples.length,
    graded: samples.some((sample) => sample.verdict !== null),
    correct: samples.filter((sample) => sample.verdict === CORRECT).length,
    truncated: samples.filter((sample) => sample.finish === "length").length,
    odd: samples.filter(disagrees).length,
    length: tokens.reduce((sum, own) => sum + own, 0) / Math.max(tokens.length, 1),
  };
}

/** The two checkpoints side by side: the first run and the second, where the state names none. */
function sides(benchmark, shown) {
  const named = (name) => benchmark.runs.find((run) => run.checkpoint === name);
  const a = named(shown.a) ?? benchmark.runs[0];
  return [a, named(shown.b) ?? benchmark.runs.find((run) => run !== a) ?? null];
}

/** Which way a problem went from the first checkpoint to the second: whether most samples are right. */
function flipOf(problem, [a, b]) {
  if (!b) return null;
  const [before, after] = [a, b].map((run) => problem.counts[run.number]);
  if (!before.graded || !after.graded) return null;
  const [was, is] = [before, after].map((counts) => 2 * counts.correct > counts.n);
  if (was === is) return null;
  return is ? "gained" : "lost";
}

const SORTS = {
  order: { label: "benchmark's order", of: (problem) => problem.place },
  id: { label: "id", of: (problem) => problem.source },
  a: { label: "correct, left", of: (problem, [a]) => share(problem.counts[a.number]) },
  b: { label: "correct, right", of: (problem, [, b]) => (b ? share(problem.counts[b.number]) : 0) },
  change: {
    label: "change",
    of: (problem, [a, b]) => (b ? share(problem.counts[b.number]) - share(problem.counts[a.number]) : 0),
  },
  truncated: { label: "truncated", of: (problem, runs) => sum(problem, runs, "truncated") },
  length: { label: "length", of: (problem, runs) => sum(problem, runs, "length") },
};

function share(counts) {
  return counts.n ? counts.correct / counts.n : -1;
}

function sum(problem, runs, name) {
  return runs.reduce((total, run) => total + (run ? problem.counts[run.number][name] : 0), 0);
}

/** The problems that the filters leave, sorted. `hits`: ids of problems whose responses have the text. */
function shownProblems(benchmark, shown, hits) {
  const runs = sides(benchmark, shown);
  const wanted = shown.q.toLowerCase();
  const tags = tagFilters(shown);
  const kept = benchmark.problems.filter(
    (problem) =>
      PATTERNS[shown.pattern_a]?.(problem.counts[runs[0].number]) !== false &&
      (!runs[1] || PATTERNS[shown.pattern_b]?.(problem.counts[runs[1].number]) !== false) &&
      fitsFlip(shown.flip, flipOf(problem, runs)) &&
      (!shown.cut || sum(problem, runs, "truncated") > 0) &&
      (!shown.odd || sum(problem, runs, "odd") > 0) &&
      tags.every(([name, value]) => problem.tags[name] === value) &&
      (!wanted || problem.words.includes(wanted) || hits.has(problem.id)),
  );
  return sorted(kept, (SORTS[shown.sort] ?? SORTS.order).of, Boolean(shown.down), runs);
}

function fitsFlip(wanted, found) {
  return wanted === "any" || (wanted === "either" ? found !== null : wanted === found);
}

/** Tag → value of each filter. */
function tagFilters(shown) {
  return linesOf(shown.tags).map((line) => splitAt(line, "="));
}

function splitAt(text, mark) {
  const place = text.indexOf(mark);
  return place < 0 ? [text, ""] : [text.slice(0, place), text.slice(place + mark.length)];
}

/** Stable; numbers by size, text as people count: p2 before p10. */
function sorted(items, keyOf, down, ...more) {
  const keyed = items.map((item, place) => ({ item, place, key: keyOf(item, ...more) }));
  keyed.sort((x, y) => (down ? -1 : 1) * compareKeys(x.key, y.key) || x.place - y.place);
  return keyed.map(({ item }) => item);
}

function compareKeys(x, y) {
  if (typeof x === "number" && typeof y === "number") return x - y;
  return String(x).localeCompare(String(y), "en", { numeric: true });
}
