// Repeated n-grams, as Rep-n counts them: over the tokens of mteval's 13a, which is sacrebleu's default.

const DIGIT = /[0-9]/;
const MARKS = new Set('!"#$%&()*+/:;<=>?@[\\]^_`{|}~.,');
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/; // Python's
const ENTITIES = [["&quot;", '"'], ["&amp;", "&"], ["&lt;", "<"], ["&gt;", ">"]];

/** Spans of text that repeat an earlier n-gram, and the share of the n-grams that do (null: too short). */
function repeatedNgrams(text, n) {
  const tokens = tokens13a(text);
  const seen = new Set();
  const spans = [];
  let repeats = 0;
  for (let i = 0; i + n <= tokens.length; i++) {
    const ngram = tokens.slice(i, i + n).map((token) => token.text).join("\n");
    if (seen.has(ngram)) {
      repeats++;
      addSpan(spans, tokens[i].start, tokens[i + n - 1].end);
    }
    seen.add(ngram);
  }
  const total = tokens.length - n + 1;
  return { spans, share: total > 0 ? repeats / total : null };
}

function addSpan(spans, start, end) {
  const last = spans.at(-1);
  if (last && start <= last[1]) last[1] = Math.max(last[1], end);
  else spans.push([start, end]);
}

/** Tokens with their places in the text: {text, start, end}. */
function tokens13a(text) {
  const { line, at } = prepared(text);
  const kept = keptMarks(line);
  const tokens = [];
  let begun = -1;
  const finish = (end) => {
    if (begun >= 0) tokens.push({ text: line.slice(begun, end), start: at[begun], end: at[end - 1] + 1 });
    begun = -1;
  };
  for (let i = 0; i < line.length; i++) {
    const character = line[i];
    const dash = character === "-" && DIGIT.test(line[i - 1] ?? "");
    if (SPACES.test(character)) {
      finish(i);
    } else if (dash || (MARKS.has(character) && !kept.has(i))) {
      finish(i);
      begun = i;
      finish(i + 1);
    } else {
      if (kept.get(i) === "begins") finish(i);
      if (begun < 0) begun = i;
    }
  }
  finish(line.length);
  return tokens;
}

/** The text without what 13a drops, and where each of its characters was. */
function prepared(text) {
  let line = text.replace(new RegExp(`${SPACES.source}+$`), "");
  let at = Int32Array.from({ length: line.length }, (_, i) => i);
  const replace = (found, put) => ([line, at] = replaced(line, at, found, put));
  replace("<skipped>", "");
  replace("-\n", "");
  replace("\n", " ");
  replace("\r", " ");
  for (const [entity, character] of ENTITIES) replace(entity, character);
  return { line, at };
}

function replaced(line, at, found, put) {
  if (!line.includes(found)) return [line, at];
  const pieces = line.split(found);
  const places = [];
  let place = 0;
  pieces.forEach((piece, i) => {
    for (let j = 0; j < piece.length; j++) places.push(at[place + j]);
    place += piece.length;
    // What stands for several characters ends where they do.
    if (i < pieces.length - 1 && put) places.push(at[place + found.length - 1]);
    place += found.length;
  });
  return [pieces.join(put), Int32Array.from(places)];
}

/** Points and commas that stay with a number: "inside" it, or it "begins" with them. */
function keptMarks(line) {
  const kept = new Map();
  // In a run of several before a digit, mteval pads pairs from the left and never looks at one again.
  for (const { 0: run, index } of line.matchAll(/[.,]{2,}(?=[0-9])/g)) {
    if ((run.length + DIGIT.test(line[index - 1] ?? "")) % 2 === 0) kept.set(index + run.length - 1, "begins");
  }
  for (const { index } of line.matchAll(/(?<=[0-9])[.,](?=[0-9])/g)) {
    if (!kept.has(index)) kept.set(index, "inside");
  }
  return kept;
}
