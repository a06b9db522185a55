// Draws what a reader chooses. All data stand in the page: nothing is asked of the network.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const MOST_SHOWN = 24; // samples of a list

// Rows of a packed table, as objects.
function unpack(table) {
  const names = Object.keys(table);
  const length = names.length ? table[names[0]].at.length : 0;
  const value = ({ words, per, at }, row) => (words ? words[at[row]] : at[row] === null ? null : at[row] / per);
  return Array.from({ length }, (_, row) => Object.fromEntries(names.map((name) => [name, value(table[name], row)])));
}

const rows = Object.fromEntries(Object.entries(data.tables).map(([name, table]) => [name, unpack(table)]));
const words = (name) => name.replaceAll("_", " ");

// What the controls of a form say: selects by name, and the checked boxes as a set.
function choice(form) {
  const said = Object.fromEntries([...form.querySelectorAll("select")].map((select) => [select.name, select.value]));
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  return { said, checked: boxes.length ? new Set(boxes.filter((box) => box.checked).map((box) => box.value)) : null };
}

const drawn = new Map(); // what stands in each chart, to be let go of
let turn = 0;

async function draw(form) {
  const name = form.dataset.chart;
  const target = document.getElementById(`chart-${name}`);
  const status = document.getElementById(`status-${name}`);
  const { said, checked } = choice(form);
  const matches = (row) => Object.entries(said).every(([key, value]) => String(row[key]) === value);
  const chosen = rows[name].filter((row) => matches(row) && (!checked || checked.has(row.detector)));
  const mine = (target.dataset.turn = String((turn += 1)));
  status.textContent = chosen.length ? "" : "There are no numbers for this choice.";
  target.hidden = !chosen.length;
  if (!chosen.length) return;
  const values = chosen.map((row) => ({ ...row, ...data.looks[name]?.[row[data.looked[name]]] }));
  const spec = structuredClone(data.charts[name]);
  spec.datasets = { rows: values };
  spec.description = `${target.dataset.title}: ${Object.entries(said).map(([key, value]) => `${key} ${value}`).join(", ")}`;
  if (name === "layers") spec.height = Math.min(900, Math.max(140, 10 * new Set(values.map((row) => row.layer)).size));
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const holder = document.createElement("div");
  holder.className = "chart";
  const live = document.createElement("div");
  live.append(holder);
  target.classList.add("live");
  target.replaceChildren(live);
  const view = await vegaEmbed(holder, spec, { actions: false, renderer: "svg", ast: true, tooltip: { theme } });
  if (target.dataset.turn !== mine) return view.finalize();
  drawn.get(name)?.finalize();
  drawn.set(name, view);
}

// Histograms ----------------------------------------------------------------------------------------------------------

const keyOf = (...parts) => JSON.stringify(parts.map(String));
const views = new Map(data.views.map((view) => [keyOf(...view.pair, view.model, view.detector, view.b, view.epoch), view]));
const number = (value) => (value === null ? "∞" : Number(value).toPrecision(4).replace("-", "−"));

function thumbs(dataset, group, b) {
  const gallery = data.galleries[dataset];
  const places = data.groups[dataset][b].slice(group * b, group * b + b);
  const cells = places.map((place) => gallery.cells[place]);
  if (cells.some((cell) => cell === undefined)) return null;
  const item = document.createElement("span");
  item.className = "group";
  cells.forEach((cell, of) => {
    const each = document.createElement(gallery.texts ? "code" : "span");
    if (gallery.texts) {
      each.className = "excerpt";
      each.textContent = gallery.texts[cell];
    } else {
      each.className = `thumb s${gallery.number}`;
      each.style.backgroundPosition = `${-48 * (cell % data.columns)}px ${-48 * Math.floor(cell / data.columns)}px`;
      each.setAttribute("role", "img");
      each.setAttribute("aria-label", `${dataset} ${places[of]}`);
    }
    item.append(each);
  });
  return item;
}

// A heading with a count, and as many of the groups as there are pictures and room for.
function list(title, dataset, groups, b) {
  const part = document.createElement("div");
  const heading = document.createElement("h3");
  const items = document.createElement("ul");
  items.className = "thumbs";
  for (const group of groups) {
    if (items.children.length >= MOST_SHOWN) break;
    const shown = thumbs(dataset, group, b);
    if (shown) {
      const item = document.createElement("li");
      item.append(shown);
      items.append(item);
    }
  }
  const kept = data.galleries[dataset].cells ? `, ${items.children.length} shown` : "";
  heading.textContent = `${title}: ${groups.length}${groups.length ? kept : ""}`;
  part.append(heading, items);
  return part;
}

// Places of the letters that a test picks, in the order of their bars.
function picked(word, test) {
  const found = [...word].flatMap((letter, place) => (test(letter) ? [[letter.toLowerCase(), place]] : []));
  return found.sort(([one, a], [other, b]) => (one < other ? -1 : one > other ? 1 : a - b)).map(([, place]) => place);
}

const isOver = (letter) => letter === letter.toUpperCase();

function histogram(form) {
  const { said } = choice(form);
  const [own, ood] = data.pairs[Number(said.pair)];
  const b = Number(said.b);
  const view = views.get(keyOf(own, ood, said.model, said.detector, b, said.epoch));
  const bars = document.getElementById("bars");
  const shown = document.getElementById("behind");
  const status = document.getElementById("status-scores");
  const axis = document.getElementById("axis");
  bars.replaceChildren();
  axis.replaceChildren();
  shown.replaceChildren();
  const there = Boolean(view);
  for (const button of form.querySelectorAll("button")) button.disabled = !there;
  if (!there) {
    status.textContent = "There are no scores for this choice, or they were left out to keep the page small.";
    return;
  }
  const words = [view.words[own], view.words[ood]];
  const missed = picked(words[1], (letter) => !isOver(letter));
  const alarms = picked(words[0], isOver);
  status.textContent =
    `Above ${number(view.threshold)} (shaded) lie ${alarms.length} of ${words[0].length} of ${own}, false alarms; ` +
    `below it ${missed.length} of ${words[1].length} of ${ood}, missed.`;
  const counts = words.map((word) => {
    const count = Array(data.bins).fill(0);
    for (const letter of word) count[letter.toLowerCase().charCodeAt(0) - 97] += 1;
    return count;
  });
  const highest = Math.max(...counts.flatMap((count, set) => count.map((each) => each / words[set].length)));
  const show = (bar) => {
    const letter = String.fromCharCode(97 + bar);
    const here = words.map((word) => picked(word, (each) => each.toLowerCase() === letter));
    const [low, high] = [view.edges[bar], view.edges[bar + 1]].map(number);
    const title = document.createElement("p");
    title.textContent = `Scores ${bar ? `from ${low}` : `below ${high}`}${!bar ? "" : bar === data.bins - 1 ? " on" : ` to ${high}`}`;
    shown.replaceChildren(title, list(`ID ${own}`, own, here[0], b), list(`OOD ${ood}`, ood, here[1], b));
  };
  const press = (bar, focus) => {
    [...bars.children].forEach((button, place) => {
      button.setAttribute("aria-pressed", String(place === bar));
      button.tabIndex = place === bar ? 0 : -1;
    });
    show(bar);
    if (focus) bars.children[bar].focus();
  };
  for (let bar = 0; bar < data.bins; bar += 1) {
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = bar ? -1 : 0;
    button.setAttribute("aria-pressed", "false");
    button.setAttribute(
      "aria-label",
      `scores ${number(view.edges[bar])} to ${number(view.edges[bar + 1])}: ${counts[0][bar]} of ID, ${counts[1][bar]} of OOD`,
    );
    button.title = button.getAttribute("aria-label");
    if (view.edges[bar] >= view.threshold) button.className = "over";
    counts.forEach((count, set) => {
      const part = document.createElement("span");
      part.className = set ? "down" : "up";
      part.style.height = `${(100 * count[bar]) / words[set].length / (highest || 1)}%`;
      button.append(part);
    });
    button.addEventListener("click", () => press(bar, false));
    button.addEventListener("focus", () => button.matches(":focus-visible") && press(bar, false));
    button.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: bar - 1, ArrowRight: bar + 1, Home: 0, End: data.bins - 1 }[event.key];
      if (to === undefined || to < 0 || to >= data.bins) return;
      event.preventDefault();
      press(to, true);
    });
    bars.append(button);
  }
  for (const place of [0, data.bins / 2, data.bins]) {
    const tick = document.createElement("span");
    tick.textContent = number(view.edges[place]);
    axis.append(tick);
  }
  form.querySelector("[name=missed]").onclick = () => shown.replaceChildren(list(`Missed, of ${ood}`, ood, missed, b));
  form.querySelector("[name=alarms]").onclick = () =>
    shown.replaceChildren(list(`False alarms, of ${own}`, own, alarms.reverse(), b));
}

for (const form of document.querySelectorAll("form[data-chart]")) {
  const redraw = form.dataset.chart === "scores" ? histogram : draw;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => redraw(form));
  redraw(form);
}
