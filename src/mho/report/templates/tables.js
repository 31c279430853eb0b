"use strict";
// Tables of class "sortable": a click on a heading sorts, a field above filters. Without this script they are plain tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];

  function valueOf(cell) {
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = parseFloat(text.replace(/[\s\u202f,]/g, ""));
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b) {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  }

  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const direction = heading.ariaSort === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.ariaSort = direction;
      const sign = direction === "ascending" ? 1 : -1;
      rows.sort((a, b) => sign * compare(valueOf(a.cells[column]), valueOf(b.cells[column])));
      body.append(...rows);
    });
  });

  const field = document.createElement("label");
  field.className = "filter";
  field.innerHTML = '<span>Show rows with</span> <input type="search"> <output></output>';
  const [, input, output] = field.children;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    output.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
  table.parentElement.before(field);
}
