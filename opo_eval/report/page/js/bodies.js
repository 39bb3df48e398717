// The responses' texts: compressed blocks further down the page, unpacked when they are asked for.

const KEPT_BLOCKS = 12;
const unpackedBlocks = new Map(); // the most recent last

/** The texts of one problem by some checkpoints: `run number → index → {seed, text, forking}`. */
async function responsesOf(benchmark, problem, runs) {
  const found = new Map(runs.map((run) => [run.number, new Map()]));
  for (const id of blocksWith(problem, runs)) {
    for (const [run, index, seed, text, forking] of await unpackedBlock(id)) {
      found.get(run)?.set(index, { seed, text, forking: forkingSpans(forking) });
    }
  }
  return found;
}

/** Whether the page has the texts of a problem at all. */
function hasResponses(problem) {
  return problem.blocks !== null;
}

function blocksWith(problem, runs) {
  const numbers = new Set(runs.map((run) => run.number));
  return (problem.blocks ?? []).filter(([, held]) => held.some((run) => numbers.has(run))).map(([id]) => id);
}

async function unpackedBlock(id) {
  const known = unpackedBlocks.get(id);
  unpackedBlocks.delete(id);
  unpackedBlocks.set(id, known ?? (await unpack(id)));
  if (unpackedBlocks.size > KEPT_BLOCKS) unpackedBlocks.delete(unpackedBlocks.keys().next().value);
  return unpackedBlocks.get(id);
}

async function unpack(id) {
  const element = await arrived(`block-${id}`);
  return JSON.parse(new TextDecoder().decode(bunzip2(fromBase85(element.textContent))));
}

/** An element that the browser may still be reading: it is whole once something follows it. */
async function arrived(id) {
  for (;;) {
    const element = byId(id);
    if (element && (element.nextElementSibling || document.readyState !== "loading")) return element;
    if (!element && document.readyState !== "loading") throw new Error(`this page lacks ${id}: it was cut off`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Pairs of start and end, from distances: to the start, to the end, to the next start, ... */
function forkingSpans(distances) {
  if (!distances) return null;
  const spans = [];
  let place = 0;
  for (let i = 0; i < distances.length; i += 2) {
    const start = place + distances[i];
    place = start + distances[i + 1];
    spans.push([start, place]);
  }
  return spans;
}

// --- looking for a text in all responses ------------------------------------------------------------

/** One search at a time: ids of problems with hits, and how far it is. */
const search = { key: "", hits: new Set(), done: 0, total: 0, running: false };

/** Begin, go on with or drop the search that the state asks for; `report` is called as it gets on. */
function followSearch(benchmark, shown, report) {
  const key = shown.deep && shown.q ? JSON.stringify([benchmark.name, shown.a, shown.b, shown.q.toLowerCase()]) : "";
  if (key === search.key) return;
  Object.assign(search, { key, hits: new Set(), done: 0, total: 0, running: false });
  if (key) runSearch(benchmark, sides(benchmark, shown).filter(Boolean), shown.q.toLowerCase(), key, report);
}

async function runSearch(benchmark, runs, wanted, key, report) {
  const problems = benchmark.problems.filter(hasResponses);
  Object.assign(search, { total: problems.length, running: problems.length > 0 });
  for (const problem of problems) {
    await pause();
    const found = await anyHolds(problem, runs, wanted).catch(() => false); // it says why when it is opened
    if (search.key !== key) return;
    if (found) search.hits.add(problem.id);
    search.done++;
    search.running = search.done < search.total;
    report();
  }
}

async function anyHolds(problem, runs, wanted) {
  const numbers = new Set(runs.map((run) => run.number));
  for (const id of blocksWith(problem, runs)) {
    const block = unpackedBlocks.get(id) ?? (await unpack(id));
    if (block.some(([run, , , text]) => numbers.has(run) && text.toLowerCase().includes(wanted))) return true;
  }
  return false;
}
