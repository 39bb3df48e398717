// A response as elements: its text, with formulas, repeated n-grams, forking tokens and hits marked.

/** `marks`: class → spans, each sorted and disjoint; `formulas`: spans that are kept whole. */
function markedText(text, formulas, marks) {
  const nodes = [];
  const layers = Object.entries(marks).map(([name, spans]) => ({ name, spans, next: 0 }));
  let place = 0;
  for (const formula of [...formulas, { start: text.length, end: text.length }]) {
    pushMarked(nodes, text, place, formula.start, layers);
    if (formula.end > formula.start) nodes.push(formulaElement(text, formula, layers));
    place = formula.end;
  }
  return nodes;
}

function pushMarked(nodes, text, from, end, layers) {
  for (let place = from; place < end; ) {
    const names = [];
    let stop = end;
    for (const layer of layers) {
      const [start, until] = spanAt(layer, place);
      if (start <= place) names.push(layer.name);
      stop = Math.min(stop, start <= place ? until : start);
    }
    const piece = visible(text.slice(place, stop));
    nodes.push(...(names.length ? [el("mark", { class: names.join(" ") }, piece)] : piece));
    place = stop;
  }
}

/** The first span of a layer that ends after a place; layers are gone through once, from left to right. */
function spanAt(layer, place) {
  while (layer.next < layer.spans.length && layer.spans[layer.next][1] <= place) layer.next++;
  return layer.spans[layer.next] ?? [Infinity, Infinity];
}

function formulaElement(text, { start, end, source, display }, layers) {
  const touched = layers.filter((layer) => spanAt(layer, start)[0] < end).map((layer) => layer.name);
  const classes = ["formula", display ? "display" : "", ...touched].filter(Boolean).join(" ");
  return el("span", { class: classes, "data-source": source }, visible(text.slice(start, end)));
}

/** A statement: its text with its formulas set. */
function statement(text) {
  const element = el("div", { class: "statement", dir: "ltr" });
  element.append(...markedText(text, canSet && state.tex ? findFormulas(text) : [], {}));
  setFormulas(element);
  return element;
}

/** Where a text holds what is looked for, whatever its case. */
function hitSpans(text, wanted) {
  const low = text.toLowerCase();
  if (!wanted || low.length !== text.length) return [];
  const spans = [];
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, at + wanted.length)) {
    spans.push([at, at + wanted.length]);
  }
  return spans;
}
