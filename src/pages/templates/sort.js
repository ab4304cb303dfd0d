// Sorts a table by the column whose heading is clicked: by the number that a cell starts with, otherwise by its text.
// Each tbody is one group of rows and is sorted by its first row.
const value = (body, column) => {
  const text = body.rows[0].cells[column].textContent.trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number * (text.endsWith("GB") ? 1e6 : text.endsWith("MB") ? 1e3 : 1);
};
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const bodies = [...table.tBodies].sort((one, other) => {
      const [a, b] = [value(one, column), value(other, column)];
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return descending ? -order : order;
    });
    table.append(...bodies);
  }));
}
