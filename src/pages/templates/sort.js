// Sorts a table by the column whose heading is pressed: by its first number where cells begin with one, else by text.
// A group is a tbody, whose first row counts.
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
