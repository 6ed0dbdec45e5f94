// The review page. Every name and caption comes from strangers and is set as text, never as markup.

import { List } from "./review-list.js";
import { Decisions } from "./review-decisions.js";

const find = (id) => document.getElementById(id);
const [ID, CLASS, SOURCE, REPEAT, LAMBDA, SCORE, PROMPT] = [0, 1, 2, 3, 4, 5, 6]; // columns of a row
const NAMES = { keep: "kept", reject: "rejected", "": "undecided" };
const SIGNS = { keep: "✓", reject: "✕", "": "" };
const NAMED = 5; // samples that the alert names
const number = new Intl.NumberFormat("en");
const score = (value) => (value === null || value === undefined ? "none" : value.toFixed(2));

let data = { rows: [], classes: [], sources: [], prompts: [] };
let own = null; // the samples' own scores, once they are known
let order = []; // samples as they are shown
let at = new Map(); // their places in that order
let selected = null;
let touched = false; // whether the person has begun: then nothing moves by itself

const list = new List(find("list"), find("space"), draw, (index) => select(index, true));
const decisions = new Decisions((changed) => {
  for (const index of changed) mark(index);
  count();
  if (selected !== null && changed.includes(selected)) describe();
}, warn);

function warn(fault, lost = []) {
  const names = lost.slice(0, NAMED).map(named);
  if (lost.length > NAMED) names.push(`${number.format(lost.length - NAMED)} more`);
  const text = [names.length && `Not saved: ${names.join("; ")}.`, fault].filter(Boolean).join(" ");
  find("alert").hidden = !text;
  find("retry").hidden = !lost.length;
  if (find("fault").textContent !== text) find("fault").textContent = text;
}

function named(index) {
  const row = data.rows[index];
  return `${data.classes[row[CLASS]]}, copy ${row[REPEAT] + 1} of ${data.sources[row[SOURCE]].name}`;
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
  image.src = `samples/${encodeURIComponent(data.rows[index][ID])}/small`;
  cell.role = "option";
  cell.id = `sample-${index}`;
  cell.dataset.index = index;
  cell.setAttribute("aria-setsize", order.length);
  cell.setAttribute("aria-posinset", at.get(index) + 1);
  dress(cell, index);
  return cell;
}

// What a cell shows of its sample's state.
function dress(cell, index) {
  const row = data.rows[index];
  const verdict = decisions.of(index);
  const lost = decisions.lost.has(index);
  cell.className = `cell sample ${verdict} ${lost ? "lost" : ""}`;
  cell.setAttribute("aria-selected", String(index === selected));
  const weight = `λ ${score(row[LAMBDA])}`;
  cell.lastChild.textContent = `${weight} ${lost ? "not saved" : SIGNS[verdict]}`;
  const said = [lost ? "not saved" : verdict && NAMES[verdict], weight, data.classes[row[CLASS]]];
  const about = `copy ${row[REPEAT] + 1}: ${data.prompts[row[PROMPT]]}`;
  cell.setAttribute("aria-label", [...said, about].filter(Boolean).join(", "));
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
  image("big-source", `sources/${encodeURIComponent(source.id)}/large`, `The source, ${source.name}`);
  image("big-sample", `samples/${encodeURIComponent(row[ID])}/large`, data.prompts[row[PROMPT]]);
  find("label").textContent = data.classes[row[CLASS]];
  find("prompt").textContent = data.prompts[row[PROMPT]];
  const verdict = decisions.of(selected);
  find("verdict").textContent = NAMES[verdict];
  find("verdict").className = verdict;
  const facts = { "λ, hold on the source": score(row[LAMBDA]), "source's score": score(row[SCORE]) };
  if (own) facts["own score"] = score(own[selected]);
  facts.copy = `${row[REPEAT] + 1} of ${source.name}`;
  find("facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => {
      const [pair, term, said] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      [term.textContent, said.textContent] = [name, value];
      pair.append(term, said);
      return pair;
    }),
  );
}

function image(id, address, alt) {
  const image = find(id);
  image.alt = alt;
  if (image.getAttribute("src") === address) return;
  image.removeAttribute("src"); // else the old image stays beside the new words until the new one is here
  image.src = address;
}

function count() {
  const { keep, reject } = decisions.counts();
  const left = data.rows.length - keep - reject;
  find("counter").textContent =
    `${number.format(keep)} kept, ${number.format(reject)} rejected, ${number.format(left)} undecided of ${number.format(data.rows.length)}`;
}

// ---- which samples are shown, in which order

function wanted() {
  const form = new FormData(find("filters"));
  const ranges = [["lambda", (row) => row[LAMBDA]], ["score", (row) => row[SCORE]]];
  if (own) ranges.push(["own", (_, index) => own[index]]);
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
    if (group) group.samples.push(index);
    else groups.set(row[SOURCE], { source: row[SOURCE], samples: [index] });
  });
  const shown = [...groups.values()];
  const doubt = (index) => (own ? own[index] : (data.rows[index][SCORE] ?? 1));
  if (by === "doubt") {
    for (const group of shown) {
      group.samples.sort((one, other) => doubt(one) - doubt(other));
      group.rank = doubt(group.samples[0]);
    }
    shown.sort((one, other) => one.rank - other.rank);
  } else if (by === "class") {
    for (const group of shown) group.samples.sort((one, other) => data.rows[one][LAMBDA] - data.rows[other][LAMBDA]);
    shown.sort((one, other) => data.sources[one.source].class - data.sources[other.source].class);
  }
  order = shown.flatMap((group) => group.samples);
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
  if (decisions.pending.size || decisions.lost.size) event.preventDefault(); // the browser asks first
});

// ---- beginning

async function askScores() {
  const answer = await fetch("api/scores").then((response) => response.json(), () => null);
  const note = find("scoring");
  note.hidden = !answer || answer.state === "done";
  if (answer?.state === "running") {
    note.textContent = "CLIP looks for doubtful samples; the terminal says how far it is";
  } else if (answer?.state === "missing") {
    note.textContent = `Doubtful first goes by the source's score, since the samples have none of their own: ${answer.reason}`;
  } else if (answer?.state === "done") {
    own = answer.scores;
    find("own-range").hidden = false;
    if (touched) find("sort-again").hidden = false;
    else arrange();
    describe();
  }
  if (!answer || answer.state === "running") setTimeout(askScores, 1000);
}

async function begin() {
  const response = await fetch("api/samples");
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
  setTimeout(askScores, 1500);
}

begin().catch(() => warn("The samples cannot be read: the server does not answer. Start dalda review again and reload."));
