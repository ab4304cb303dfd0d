// Draws words and attention maps from the data in the page, as chosen in its controls.
"use strict";
const { sides } = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const state = { side: 0, map: 0, row: 0 };
const several = sides.length > 1, names = sides.map((side) => side.title);
const ORANGE = [213, 94, 0];
const BLUE = matchMedia("(prefers-color-scheme: dark)").matches && !matchMedia("print").matches ? [86, 180, 233] : [0, 114, 178];
// At least `count` decimals, and enough for `count` significant digits of the largest value (`scale`).
const digits = (value, scale, count) => Math.abs(value).toFixed(Math.max(count, count - 1 - Math.floor(Math.log10(scale || 1))));
const signed = (value, scale = 1) => (value < 0 ? "−" : "+") + digits(value, scale, 3);
const plain = (value, scale) => (value < 0 ? "−" : "") + digits(value, scale, 4);
const add = (parent, tag, text = "", attributes = {}) => {
  const made = parent.appendChild(document.createElement(tag));
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
// Places in a text count whole characters, of which some are two units of a JavaScript string.
for (const side of sides) side.characters = [...side.text];
const part = (side, begin, end) => side.characters.slice(begin, end).join("");
const fill = (select, options) => options.forEach((text, i) => add(select, "option", text, { value: i }));

// The displayed units: a word with its tokens, or a token.
const units = (side) => {
  const whole = element("unit").value === "words", special = element("special").checked, found = [];
  const spans = new Map(side.spans.map(([word, ...span]) => [word, span]));
  side.tokens.forEach((name, token) => {
    if (side.special[token]) {
      if (special) found.push({ name, key: `special ${name}`, special: true, members: [token] });
    } else if (whole && found.length && found.at(-1).word === side.words[token]) {
      found.at(-1).members.push(token);
    } else {
      const [begin, end] = spans.get(side.words[token]);
      const key = whole ? `word ${side.words[token]}` : `token ${token}`;
      found.push({ name: whole ? part(side, begin, end) : name, key, word: side.words[token], begin, end, members: [token] });
    }
  });
  return found;
};
const sameTokens = () => several && sides[0].tokens.join(" ") === sides[1].tokens.join(" ");

// Importance of each unit under one run.
const importance = (side) => {
  const method = side.methods[Object.keys(side.methods)[element("method").value]];
  const label = side.labels.indexOf(element("label").selectedOptions[0].textContent);
  if (label < 0) return null;
  return units(side).map((unit) => ({ ...unit, value: unit.members.reduce((sum, t) => sum + method.values[label][t], 0) }));
};
const colour = (value, scale) => {
  const share = scale ? Math.min(1, Math.abs(value) / scale) : 0;
  return share < 0.02 ? "transparent" : `rgb(var(--${value > 0 ? "for" : "against"}) / ${(0.08 + 0.6 * share).toFixed(3)})`;
};
// Text before or behind the words: of a document in windows, others read it up to `side.read`.
const leftOut = (text, side, begin, end) => {
  const read = side.read === null ? begin : Math.min(Math.max(begin, side.read), end);
  for (const [shown, kind, title] of [[part(side, begin, read), "elsewhere", "in another window"], [part(side, read, end), "unread", "not read"]])
    if (shown.trim()) add(text, "span", shown, { class: kind, title });
    else text.append(shown);
};
const panel = (parent, title, side, items, scale) => {
  const section = add(parent, "section");
  if (title) add(section, "h3", title);
  if (!items) return add(section, "p", "This label was not explained for this run.", { class: "note" });
  const text = add(section, "p", "", { class: "reading" });
  const whole = element("unit").value === "words";
  let place = 0;
  for (const item of items) {
    if (whole && !item.special) {
      if (place) add(text, "span", part(side, place, item.begin));
      else leftOut(text, side, 0, item.begin);
      place = item.end;
    }
    const kind = item.special ? "special" : Math.abs(item.value) < 0.02 * scale ? "" : item.value > 0 ? "for" : "against";
    const shown = add(text, "span", item.name, { class: kind, title: `${item.name}: ${signed(item.value, scale)}` });
    shown.style.backgroundColor = colour(item.value, scale);
    if (!whole) text.append(" ");
  }
  if (whole) leftOut(text, side, place, side.characters.length);
  const sorted = element("order").value === "by importance" ? [...items].sort((a, b) => b.value - a.value) : items;
  const box = add(section, "div", "", { class: "bars", tabindex: "0", role: "region", "aria-label": "Importance as a table" });
  const table = add(box, "table");
  const head = add(add(table, "thead"), "tr");
  const pair = side.second !== null;
  for (const name of [...(pair ? ["text"] : []), whole ? "word" : "subword", "importance", ""]) add(head, "th", name, { scope: "col", class: name === "importance" ? "number" : "" });
  const body = add(table, "tbody");
  for (const item of sorted) {
    const row = add(body, "tr");
    if (pair) add(row, "td", item.special ? "" : item.begin < side.second ? "first" : "second");
    add(row, "td", item.name);
    add(row, "td", signed(item.value, scale), { class: "number" });
    const bar = add(add(add(row, "td", "", { class: "bar" }), "div"), "i", "", { class: item.value < 0 ? "minus" : "plus" });
    bar.style.width = `${scale ? (50 * Math.abs(item.value)) / scale : 0}%`;
  }
  return section;
};
const largest = (items) => Math.max(0, ...items.map((item) => Math.abs(item.value)));

const drawWords = () => {
  const box = element("words");
  if (!box) return;
  box.replaceChildren();
  const found = sides.map(importance);
  const scale = Math.max(...found.map((items) => (items ? largest(items) : 0)));
  sides.forEach((side, i) => panel(box, several && names[i], side, found[i], scale));
  const comparable = element("unit").value === "words" || sameTokens();
  if (several && found[0] && found[1] && comparable) {
    const other = new Map(found[1].map((item) => [item.key, item.value]));
    const both = found[0].filter((item) => other.has(item.key)).map((item) => ({ ...item, value: item.value - other.get(item.key) }));
    panel(box, "Difference: A minus B", sides[0], both, largest(both));
  }
  const name = Object.keys(sides[0].methods)[element("method").value];
  const label = element("label").selectedOptions[0].textContent;
  element("method-note").textContent = sides.map((side, i) => {
    const method = side.methods[name], place = side.labels.indexOf(label);
    if (place < 0) return "";
    const sum = method.values[place].reduce((a, b) => a + b, 0);
    const steps = method.steps ? `, with ${method.steps} steps` : "";
    return `${names[i]}: the sum of the values is ${signed(sum)}${side.regression ? "" : " logits"}; from the fully masked text to the text, the ` +
      `score of ${label} changes by ${signed(method.change[place])} (difference ${(100 * method.missing[place]).toFixed(1)}%${steps}).`;
  }).join(" ") + (name === "integrated_gradients" ? "" : " Only for integrated gradients must both be equal.");
};

// Attention: every map is tokens x tokens levels; the highest level is the map's maximum.
let weights = null; // of each side, once unpacked
const unpack = async (text) => {
  const content = atob(text), packed = new Uint8Array(content.length);
  for (let i = 0; i < packed.length; i++) packed[i] = content.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer()), found = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < found.length; i++) found[i] = bytes[i] + 256 * bytes[found.length + i]; // low bytes, then high ones
  return found;
};
const mapNames = (side) => {
  const { layers, columns, extra } = side.attention;
  return [...layers.flatMap((layer) => columns.map((column) => `layer ${layer}, ${column}`)), ...extra];
};
const oneMap = (index, name, shown) => {
  const side = sides[index], map = mapNames(side).indexOf(name), size = side.tokens.length;
  if (map < 0) return null;
  const levels = weights[index].subarray(map * size * size), unit = side.attention.peaks[map] / side.attention.levels;
  return shown.map((row) => shown.map((column) => {
    let sum = 0;
    for (const i of row.members) for (const j of column.members) sum += levels[i * size + j];
    return (sum * unit) / row.members.length;
  }));
};
const matrix = (name, shown) => {
  if (state.side < sides.length) return oneMap(state.side, name, shown);
  const [one, other] = [oneMap(0, name, shown), oneMap(1, name, shown)];
  return one && other && one.map((row, i) => row.map((value, j) => value - other[i][j]));
};
const drawn = () => sides[state.side < sides.length ? state.side : 0];
const peakOf = (values) => values.reduce((peak, row) => row.reduce((most, value) => Math.max(most, Math.abs(value)), peak), 1e-12);
const paint = (canvas, values) => {
  const size = values.length, image = canvas.getContext("2d").createImageData(size, size), difference = state.side === sides.length;
  const peak = peakOf(values);
  let place = 0;
  for (const row of values) {
    for (const value of row) {
      const [red, green, blue] = difference && value > 0 ? ORANGE : BLUE;
      image.data[place++] = red;
      image.data[place++] = green;
      image.data[place++] = blue;
      // The square root shows small weights too; the tables have the numbers.
      image.data[place++] = 255 * Math.sqrt(Math.abs(value) / peak);
    }
  }
  canvas.width = canvas.height = size;
  canvas.getContext("2d").putImageData(image, 0, 0);
};
const choose = (map) => { state.map = map; drawMap(); markMaps(); };
const markMaps = () => document.querySelectorAll("#maps button, #extra button").forEach((button) =>
  button.setAttribute("aria-pressed", String(Number(button.dataset.map) === state.map)));

const drawMaps = () => {
  const side = drawn(), shown = units(side), all = mapNames(side), table = element("maps"), extra = element("extra");
  const { layers, columns, heads } = side.attention;
  table.replaceChildren();
  extra.replaceChildren();
  const head = add(add(table, "thead"), "tr");
  add(head, "td");
  for (const column of columns) add(head, "th", column, { scope: "col" });
  const body = add(table, "tbody");
  layers.forEach((layer, l) => {
    const row = add(body, "tr");
    add(row, "th", `layer ${layer}`, { scope: "row" });
    columns.forEach((column, c) => {
      const map = l * columns.length + c, values = matrix(all[map], shown);
      const summary = heads.find((h) => h.layer === layer && `head ${h.head}` === column);
      const note = summary ? `, entropy ${summary.entropy.toFixed(2)} bits` : "";
      const button = add(add(row, "td"), "button", "", { type: "button", "aria-label": all[map] + note, title: all[map] + note, "data-map": map });
      button.addEventListener("click", () => choose(map));
      if (values) paint(add(button, "canvas"), values);
    });
  });
  side.attention.extra.forEach((name, i) => {
    const map = layers.length * columns.length + i;
    add(extra, "button", name, { type: "button", "data-map": map }).addEventListener("click", () => choose(map));
  });
  markMaps();
};

const NOTES = {
  rollout: "Attention through all layers, averaged over heads, with the residual path (Abnar & Zuidema 2020).",
  gradient: "Attention times the gradient of the label's score, where positive, through all layers (Chefer et al. 2021).",
};
const drawMap = () => {
  const side = drawn(), shown = units(side), name = mapNames(side)[state.map], values = matrix(name, shown);
  const box = element("map");
  box.replaceChildren();
  element("map-title").textContent = (several ? `${names[state.side] ?? "A minus B"}, ` : "") + name;
  element("map-note").textContent = [NOTES[name.split("-")[0]], names[state.side] ? "" :
    "Orange, solid lines: higher for A; blue, dashed lines: higher for B."].filter(Boolean).join(" ");
  element("map-table").querySelector("div").replaceChildren();
  if (!values) { element("arcs").replaceChildren(); return; }
  if (element("map-table").open) fillTable();
  state.row = Math.min(state.row, shown.length - 1);
  const cell = Math.max(13, Math.min(26, Math.floor(520 / shown.length)));
  add(box, "span");
  const tops = add(box, "div", "", { class: "tops", "aria-hidden": "true" });
  for (const unit of shown) add(tops, "span", unit.name).style.width = `${cell}px`;
  const rows = add(box, "div", "", { class: "rows" });
  shown.forEach((unit, i) => {
    const button = add(rows, "button", unit.name, { type: "button", title: `attention of ${unit.name}` });
    button.style.height = `${cell}px`;
    button.addEventListener("click", () => focusRow(i));
  });
  const peak = peakOf(values);
  const canvas = add(box, "canvas", "", { role: "img", "aria-label": `${name}; the table below has its values` });
  paint(canvas, values);
  canvas.style.width = canvas.style.height = `${cell * shown.length}px`;
  const at = (event) => {
    const edge = canvas.getBoundingClientRect();
    const place = (offset) => Math.min(shown.length - 1, Math.max(0, Math.floor(offset / cell)));
    return [place(event.clientY - edge.top), place(event.clientX - edge.left)];
  };
  canvas.addEventListener("mousemove", (event) => {
    const [i, j] = at(event);
    element("reading").textContent = `${shown[i].name} → ${shown[j].name}: ${plain(values[i][j], peak)}`;
  });
  canvas.addEventListener("click", (event) => focusRow(at(event)[0]));
  focusRow(state.row);
};

const focusRow = (row) => {
  state.row = row;
  const shown = units(drawn()), values = matrix(mapNames(drawn())[state.map], shown)[row];
  document.querySelectorAll("#map .rows button").forEach((button, i) => button.setAttribute("aria-pressed", String(i === row)));
  const total = values.reduce((a, b) => a + b, 0);
  element("reading").textContent = `${shown[row].name} attends to the words on the right` +
    (names[state.side] ? `; sum of the shown values: ${total.toFixed(2)}.` : "; values are A minus B.");
  const box = element("arcs"), height = 18;
  box.replaceChildren();
  const left = add(box, "div"), svg = box.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "svg")), right = add(box, "div");
  svg.setAttribute("width", 130);
  svg.setAttribute("height", height * shown.length);
  svg.setAttribute("aria-hidden", "true");
  const peak = peakOf([values]);
  shown.forEach((unit, i) => {
    add(left, "span", unit.name, { class: i === row ? "chosen" : "" }).style.height = `${height}px`;
    const target = add(right, "span", "", {});
    target.style.height = `${height}px`;
    add(target, "small", plain(values[i], peak));
    target.append(` ${unit.name}`);
    const share = Math.abs(values[i]) / peak;
    if (share < 0.02) return;
    const path = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    const [from, to] = [(row + 0.5) * height, (i + 0.5) * height];
    path.setAttribute("d", `M4 ${from} C65 ${from} 65 ${to} 126 ${to}`);
    path.setAttribute("stroke-width", 0.5 + 5 * share);
    path.setAttribute("opacity", 0.25 + 0.75 * share);
    if (values[i] < 0) path.setAttribute("class", "minus");
  });
};

const fillTable = () => {
  const shown = units(drawn()), values = matrix(mapNames(drawn())[state.map], shown), peak = peakOf(values ?? []);
  const table = add(element("map-table").querySelector("div"), "table");
  const head = add(add(table, "thead"), "tr");
  add(head, "td");
  for (const unit of shown) add(head, "th", unit.name, { scope: "col", class: "number" });
  const body = add(table, "tbody");
  (values ?? []).forEach((line, i) => {
    const row = add(body, "tr");
    add(row, "th", shown[i].name, { scope: "row" });
    for (const value of line) add(row, "td", plain(value, peak), { class: "number" });
  });
};

const draw = () => {
  drawWords();
  if (weights) { drawMaps(); drawMap(); }
};
if (element("words")) {
  fill(element("method"), Object.keys(sides[0].methods).map((name) => name.replaceAll("_", " ")));
  fill(element("label"), [...new Set(sides.flatMap((side) => side.labels))]);
  for (const id of ["method", "label", "order"]) element(id).addEventListener("change", drawWords);
}
for (const id of ["unit", "special"]) element(id)?.addEventListener("change", draw);
if (element("maps")) {
  fill(element("side"), [...names, ...(sameTokens() ? ["A minus B"] : [])]);
  element("side").addEventListener("change", () => {
    state.side = Number(element("side").value);
    state.map = Math.min(state.map, mapNames(drawn()).length - 1); // another backbone may have fewer layers
    draw();
  });
  const { layers, columns } = sides[0].attention;
  state.map = layers.length * columns.length - 2; // the last layer's mean
  element("map-table").addEventListener("toggle", () => {
    if (weights && element("map-table").open && !element("map-table").querySelector("table")) fillTable();
  });
  Promise.all(sides.map((side) => unpack(side.attention.packed))).then((found) => { weights = found; draw(); });
}
draw();
