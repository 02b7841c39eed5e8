"use strict";
// Sorting and filtering of the table of trials; without a script it is whole, in the order of the trials.
const table = document.getElementById("trials");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const chosen = {};

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = (cell.querySelector("a, .words") ?? cell).textContent.trim();
  return "value" in cell.dataset ? Number(cell.dataset.value) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === typeof b) return a.localeCompare(b);
  return typeof a === "number" ? -1 : 1; // what is not known comes last
}

function sortBy(head) {
  const column = heads.indexOf(head);
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...body.rows];
  rows.sort((a, b) => {
    const [x, y] = [valueOf(a, column), valueOf(b, column)];
    const order = compare(x, y);
    return descending && typeof x === typeof y ? -order : order;
  });
  body.append(...rows);
}

function filter() {
  const words = document.getElementById("words").value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden =
      !words.every((word) => text.includes(word)) ||
      Object.entries(chosen).some(([key, value]) => value && row.dataset[key] !== value);
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${body.rows.length} shown`;
}

for (const head of heads) {
  head.querySelector("button").addEventListener("click", () => sortBy(head));
}
for (const choice of document.querySelectorAll("#filters select")) {
  const choose = () => {
    chosen[choice.name] = choice.value;
    filter();
  };
  choice.addEventListener("change", choose);
  choose();
}
document.getElementById("words").addEventListener("input", filter);
document.getElementById("filters").hidden = false;
