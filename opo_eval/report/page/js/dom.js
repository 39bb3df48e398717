// Elements. All text goes in as text nodes, so nothing that a model wrote is ever read as markup.

/** An element; `on…` are listeners, children may be strings; false, null and undefined are left out. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (isAbsent(value)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => !isAbsent(child)));
  return element;
}

function isAbsent(value) {
  return value === null || value === undefined || value === false;
}

// A line break and a tab look like what they are. Other control, format and surrogate characters are
// invisible or turn the text around: they are named instead.
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** The text as nodes in which every character can be seen. */
function visible(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > done) nodes.push(text.slice(done, match.index));
    nodes.push(el("span", { class: "unseen", title: "a character that cannot be seen" }, codePoint(match[0])));
    done = match.index + match[0].length;
  }
  if (done < text.length) nodes.push(text.slice(done));
  return nodes;
}

function codePoint(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

function byId(id) {
  return document.getElementById(id);
}

/** `1 problem`, `2 problems`. */
function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function percent(share, places = 1) {
  return `${(100 * share).toFixed(places)} %`;
}

/** A number of a file for programs, short enough for a table. */
function short(number) {
  return Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(6)));
}

/** What `_` stands for in a name. */
function words(name) {
  return name.replaceAll("_", " ");
}

/** Lets the page draw and answer before the work goes on. */
function pause() {
  return new Promise((resolve) => setTimeout(resolve));
}

function saveAs(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
