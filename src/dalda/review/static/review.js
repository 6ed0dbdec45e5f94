// The review page. Names and captions come from strangers: they are set as text, never as markup.

import { List } from "./review-list.js";
import { Decisions } from "./review-decisions.js";

const find = (id) => document.getElementById(id);
const [ID, CLASS, SOURCE, REPEAT, SCALE, SOURCE_PROBABILITY, PROMPT] = [0, 1, 2, 3, 4, 5, 6]; // columns of a row
const NAMES = { keep: "kept", reject: "rejected", "": "undecided" };
const SIGNS = { keep: "✓", reject: "✕", "": "" };
const NAMED = 5; // images that the alert names
const number = new Intl.NumberFormat("en");
const decimal = (value) => (value === null || value === undefined ? "none" : value.toFixed(2));

let data = { rows: [], classes: [], sources: [], prompts: [] };
let probabilities = null; // CLIP's class probability of each synthetic image, once it is known
let order = []; // images as they are shown
let at = new Map(); // their places in that order
let selected = null;
let touched = false; // whether the person has started: then nothing is sorted by itself

const list = new List(find("list"), find("space"), draw, (index) => select(index, true));
const decisions = new Decisions((changed) => {
  for (const index of changed) mark(index);
  count();
  if (selected !== null && changed.includes(selected)) describe();
}, warn);

function warn(problem, unsaved = []) {
  const names = unsaved.slice(0, NAMED).map(named);
  if (unsaved.length > NAMED) names.push(`${number.format(unsaved.length - NAMED)} more`);
  const text = [names.length && `Not saved: ${names.join("; ")}.`, problem].filter(Boolean).join(" ");
  find("alert").hidden = !text;
  find("retry").hidden = !unsaved.length;
  if (find("problem").textContent !== text) find("problem").textContent = text;
}

function named(index) {
  const row = data.rows[index];
  return `${data.classes[row[CLASS]]}, image ${row[REPEAT] + 1} of ${data.sources[row[SOURCE]].name}`;
}

function draw(kind, index) {
  const cell = document.createElement("div");
  cell.className = `cell ${kind}`;
  const image = document.createElement("img");
  const text = document.createElement("span");
  image.alt = "";
  image.decoding = "async";
  cell.append(image, text);
  if (kind === "source") {
    cell.role = "presentation";
    image.src = `sources/${encodeURIComponent(data.sources[index].id)}/small`;
    text.textContent = data.classes[data.sources[index].class];
    text.title = text.textContent;
    return cell;
  }
  image.src = `images/${encodeURIComponent(data.rows[index][ID])}/small`;
  cell.role = "option";
  cell.id = `image-${index}`;
  cell.dataset.index = index;
  cell.setAttribute("aria-setsize", order.length);
  cell.setAttribute("aria-posinset", at.get(index) + 1);
  dress(cell, index);
  return cell;
}

// A cell shows the state of its image.
function dress(cell, index) {
  const row = data.rows[index];
  const verdict = decisions.of(index);
  const unsaved = decisions.unsaved.has(index);
  cell.className = `cell synthetic ${verdict} ${unsaved ? "unsaved" : ""}`;
  cell.setAttribute("aria-selected", String(index === selected));
  const scale = `scale ${decimal(row[SCALE])}`;
  cell.lastChild.textContent = `${scale} ${unsaved ? "not saved" : SIGNS[verdict]}`;
  const parts = [unsaved ? "not saved" : verdict && NAMES[verdict], scale, data.classes[row[CLASS]]];
  const about = `image ${row[REPEAT] + 1}: ${data.prompts[row[PROMPT]]}`;
  cell.setAttribute("aria-label", [...parts, about].filter(Boolean).join(", "));
}

function mark(index) {
  const cell = list.cells.get(index);
  if (cell) dress(cell, index);
}

function select(index, byHand = false) {
  const before = selected;
  selected = index;
  touched ||= byHand;
  if (before !== null) mark(before);
  const cell = index === null ? null : list.reveal(index);
  if (cell) {
    mark(index);
    find("list").setAttribute("aria-activedescendant", cell.id);
  } else {
    find("list").removeAttribute("aria-activedescendant");
  }
  describe();
}

function describe() {
  find("detail").hidden = selected === null;
  if (selected === null) return;
  const row = data.rows[selected];
  const source = data.sources[row[SOURCE]];
  image("big-source", `sources/${encodeURIComponent(source.id)}/large`, `The source image, ${source.name}`);
  image("big-synthetic", `images/${encodeURIComponent(row[ID])}/large`, data.prompts[row[PROMPT]]);
  find("label").textContent = data.classes[row[CLASS]];
  find("prompt").textContent = data.prompts[row[PROMPT]];
  const verdict = decisions.of(selected);
  find("verdict").textContent = NAMES[verdict];
  find("verdict").className = verdict;
  const facts = { "IP-Adapter scale": decimal(row[SCALE]), "CLIP class probability, source": decimal(row[SOURCE_PROBABILITY]) };
  if (probabilities) facts["CLIP class probability, synthetic"] = decimal(probabilities[selected]);
  facts.image = `${row[REPEAT] + 1} of ${source.name}`;
  find("facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => {
      const [pair, term, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      [term.textContent, text.textContent] = [name, value];
      pair.append(term, text);
      return pair;
    }),
  );
}

function image(id, address, alt) {
  const image = find(id);
  image.alt = alt;
  if (image.getAttribute("src") === address) return;
  image.removeAttribute("src"); // else the old image stays beside the new text until the new one is loaded
  image.src = address;
}

function count() {
  const { keep, reject } = decisions.counts();
  const undecided = data.rows.length - keep - reject;
  find("counter").textContent =
    `${number.format(keep)} kept, ${number.format(reject)} rejected, ${number.format(undecided)} undecided of ${number.format(data.rows.length)}`;
}

// ---- which images are shown, in which order

function wanted() {
  const form = new FormData(find("filters"));
  const ranges = [["scale", (row) => row[SCALE]], ["source", (row) => row[SOURCE_PROBABILITY]]];
  if (probabilities) ranges.push(["synthetic", (_, index) => probabilities[index]]);
  const tests = [];
  for (const [name, value] of ranges) {
    for (const [end, sign] of [["low", 1], ["high", -1]]) {
      const bound = parseFloat(form.get(`${name}-${end}`));
      if (!Number.isNaN(bound)) tests.push((row, index) => (value(row, index) ?? -1) * sign >= bound * sign);
    }
  }
  if (form.get("class")) tests.push((row) => row[CLASS] === Number(form.get("class")));
  const decision = form.get("decision");
  if (decision) tests.push((_, index) => (decisions.of(index) || "none") === decision);
  return { tests, order: form.get("order") };
}

function arrange() {
  const { tests, order: by } = wanted();
  const groups = new Map();
  data.rows.forEach((row, index) => {
    if (!tests.every((test) => test(row, index))) return;
    const group = groups.get(row[SOURCE]);
    if (group) group.images.push(index);
    else groups.set(row[SOURCE], { source: row[SOURCE], images: [index] });
  });
  const shown = [...groups.values()];
  const doubt = (index) => (probabilities ? probabilities[index] : (data.rows[index][SOURCE_PROBABILITY] ?? 1));
  if (by === "doubt") {
    for (const group of shown) {
      group.images.sort((left, right) => doubt(left) - doubt(right));
      group.rank = doubt(group.images[0]);
    }
    shown.sort((left, right) => left.rank - right.rank);
  } else if (by === "class") {
    for (const group of shown) group.images.sort((left, right) => data.rows[left][SCALE] - data.rows[right][SCALE]);
    shown.sort((left, right) => data.sources[left.source].class - data.sources[right.source].class);
  }
  order = shown.flatMap((group) => group.images);
  at = new Map(order.map((index, place) => [index, place]));
  const all = order.length === data.rows.length;
  find("filter-note").textContent = all ? "" : `: ${number.format(order.length)} of ${number.format(data.rows.length)} shown`;
  list.set(shown);
  find("list").scrollTop = 0;
  select(order.find((index) => !decisions.of(index)) ?? order[0] ?? null);
}

// ---- decisions by key or button

function decide(verdict) {
  if (selected === null) return;
  touched = true;
  const index = selected;
  decisions.decide(index, verdict);
  const place = at.get(index) + 1;
  if (place < order.length) select(order[place]);
}

function undo() {
  touched = true;
  const index = decisions.undo(selected);
  if (index !== null && at.has(index)) select(index);
}

function nextUndecided() {
  touched = true;
  const start = selected === null ? 0 : at.get(selected) + 1;
  const rest = [...order.slice(start), ...order.slice(0, start)];
  const found = rest.find((index) => !decisions.of(index) && index !== selected);
  if (found !== undefined) select(found);
}

function move(key) {
  const place = at.get(selected);
  const screen = list.linesPerScreen();
  const moves = {
    ArrowLeft: () => order[Math.max(0, place - 1)],
    ArrowRight: () => order[Math.min(order.length - 1, place + 1)],
    ArrowUp: () => list.beside(selected, -1),
    ArrowDown: () => list.beside(selected, 1),
    PageUp: () => list.beside(selected, -screen),
    PageDown: () => list.beside(selected, screen),
    Home: () => order[0],
    End: () => order[order.length - 1],
  };
  if (!(key in moves) || selected === null) return false;
  select(moves[key](), true);
  return true;
}

const KEYS = { k: () => decide("keep"), r: () => decide("reject"), u: undo, n: nextUndecided };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, summary")) return;
  const act = KEYS[event.key.toLowerCase()];
  const held = event.repeat && act && act !== nextUndecided; // a key held down is one decision
  if (act) held || act();
  else if (event.key === " " && event.target.closest("button")) return;
  else if (event.key === " ") nextUndecided();
  else if (!move(event.key)) return;
  event.preventDefault();
});
for (const [id, key] of [["keep", "k"], ["reject", "r"], ["undo", "u"], ["next", "n"]]) {
  find(id).addEventListener("click", KEYS[key]);
}
find("retry").addEventListener("click", () => decisions.retry());
find("filters").addEventListener("input", arrange);
find("filters").addEventListener("submit", (event) => event.preventDefault());
find("filters").addEventListener("reset", () => setTimeout(arrange));
find("sort-again").addEventListener("click", () => {
  find("sort-again").hidden = true;
  arrange();
});
document.addEventListener("load", (event) => {
  if (event.target.tagName === "IMG") event.target.classList.toggle("tiny", event.target.naturalWidth <= 96);
}, true);
document.addEventListener("error", (event) => {
  if (event.target.tagName === "IMG") event.target.alt = "image missing or changed";
}, true);

addEventListener("beforeunload", (event) => {
  if (decisions.pending.size || decisions.unsaved.size) event.preventDefault(); // the browser asks first
});

// ---- start

async function loadProbabilities() {
  const answer = await fetch("api/clip-probabilities").then((response) => response.json(), () => null);
  const note = find("clip-note");
  note.hidden = !answer || answer.state === "done";
  if (answer?.state === "running") {
    note.textContent = "CLIP is looking for doubtful images; the terminal shows the progress";
  } else if (answer?.state === "missing") {
    note.textContent = `Sorted by the CLIP class probability of the source images, since there is none of the synthetic ones: ${answer.reason}`;
  } else if (answer?.state === "done") {
    probabilities = answer.values;
    find("synthetic-range").hidden = false;
    if (touched) find("sort-again").hidden = false;
    else arrange();
    describe();
  }
  if (!answer || answer.state === "running") setTimeout(loadProbabilities, 1000);
}

async function begin() {
  const response = await fetch("api/images");
  data = await response.json();
  data.rows.forEach((row) => (data.sources[row[SOURCE]].class = row[CLASS]));
  document.title = `Review of ${data.folder}`;
  find("folder").textContent = data.folder;
  const classes = find("filters").elements.namedItem("class");
  data.classes.forEach((name, index) => classes.add(new Option(name, index)));
  find("filter-box").open = matchMedia("(min-width: 761px)").matches;
  await decisions.begin(data.rows.map((row) => row[ID]));
  arrange();
  find("list").focus();
  setTimeout(loadProbabilities, 1500);
}

begin().catch(() => warn("The images cannot be loaded: the server does not answer. Start dalda review again and reload."));
