// Tables that sort by the numbers behind their cells, and can be saved.
// A cell is a text, or a text with the number that it shows (null where there is none).

const ROWS_AT_ONCE = 100;

/** A sortable table. `table`: {id, title, columns, rows, note?}. */
function sortable(table) {
  const body = el("tbody");
  const more = el("button", { class: "more", onclick: () => fill(body, more, table, body.rows.length + 10 * ROWS_AT_ONCE) });
  const heads = table.columns.map((name, column) => headCell(table, name, column));
  const shown = el(
    "div",
    { class: "table" },
    el("table", { id: table.id }, table.title && el("caption", {}, visible(table.title)), el("thead", {}, el("tr", {}, heads)), body),
  );
  onChange((_, before) => {
    if (!differs(before, "tables")) return;
    markSorted(heads, orderOf(table));
    fill(body, more, table, ROWS_AT_ONCE);
  });
  return [shown, el("div", { class: "under" }, more, saveButton(table), table.note && el("p", { class: "note" }, visible(table.note)))];
}

function headCell(table, name, column) {
  const sort = () => {
    const order = orderOf(table);
    const down = order?.column === column && !order.down;
    change({ tables: withOrder(table.id, column, down) });
  };
  const cell = el("th", { scope: "col", class: isNumeric(table, column) && "number" });
  cell.append(el("button", { onclick: sort }, visible(name)));
  return cell;
}

function isNumeric(table, column) {
  return table.rows.some((row) => Array.isArray(row[column]));
}

function fill(body, more, table, most) {
  const order = orderOf(table);
  const rows = order ? sortedRows(table.rows, order) : table.rows;
  body.replaceChildren(...rows.slice(0, most).map(bodyRow));
  more.hidden = rows.length <= most;
  more.textContent = `${counted(rows.length - most, "more row")}`;
}

/** Cells without a number come last, whichever way the others go. */
function sortedRows(rows, { column, down }) {
  const key = (row) => (Array.isArray(row[column]) ? row[column][1] : row[column]);
  const known = rows.filter((row) => key(row) !== null);
  return [...sorted(known, key, down), ...rows.filter((row) => key(row) === null)];
}

function bodyRow(row) {
  return el("tr", {}, row.map((cell) => (Array.isArray(cell) ? el("td", { class: "number" }, visible(cell[0])) : el("td", {}, visible(cell)))));
}

function markSorted(heads, order) {
  heads.forEach((head, column) => {
    if (order?.column === column) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

/** How a table is sorted: {column, down}; undefined: as it came. */
function orderOf(table) {
  const own = linesOf(state.tables).map((line) => splitAt(line, ":")).find(([id]) => id === table.id);
  return own && { column: Math.abs(Number(own[1])), down: own[1].startsWith("-") };
}

function withOrder(id, column, down) {
  const others = linesOf(state.tables).filter((line) => splitAt(line, ":")[0] !== id);
  return [...others, `${id}:${down ? "-" : ""}${column}`].join("\n");
}

function saveButton(table) {
  return el("button", { class: "save", onclick: () => saveAs(`${table.id}.csv`, csvOf(table)) }, "Save as CSV");
}

/** The numbers themselves, not as they are shown. */
function csvOf(table) {
  const raw = (cell) => (Array.isArray(cell) ? (cell[1] ?? "") : cell);
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return [table.columns, ...table.rows.map((row) => row.map(raw))].map((row) => `${row.map(quoted).join(",")}\n`).join("");
}
