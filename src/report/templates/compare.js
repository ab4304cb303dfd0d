// Sorts the table by the column whose heading is pressed: by its first number where cells begin with one, else by text.
const table = document.getElementById("groups");
const headings = [...table.tHead.rows[0].cells];
const value = (row, column) => {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number * (text.endsWith("GB") ? 1000 : 1);
};
headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  headings.forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const [a, b] = [value(one, column), value(other, column)];
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
}));
