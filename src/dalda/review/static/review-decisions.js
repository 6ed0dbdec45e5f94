// What was decided: shown at once, sent in the order of the key presses, taken back if it cannot be saved;
// what was taken back is named until it is decided again.
// The server's file is the truth; what other pages add to it is asked for every two seconds.

const PAUSE = 2000;
const SILENT = "The server does not answer. Start dalda review again; this page goes on by itself.";

// This page's name in the file; it survives a reload, and two tabs differ: also a duplicated one, which
// comes with the storage of the first.
function author() {
  const again = performance.getEntriesByType("navigation")[0]?.type === "reload";
  let name = again && sessionStorage.getItem("dalda-review");
  if (!name) {
    name = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem("dalda-review", name);
  }
  return name;
}

export class Decisions {
  // `changed(indices)` is called with the samples whose state may be another now; `warn(fault, lost)` shows
  // what is wrong now, if anything, and the samples whose decisions were not saved.
  constructor(changed, warn) {
    [this.changed, this.warn] = [changed, warn];
    this.author = author();
    this.saved = new Map(); // sample -> {decision, author}, by the order of the file
    this.pending = new Map(); // sample -> {decision}, by the order of the keys
    this.lost = new Map(); // sample -> the decision that was not saved
    this.fault = "";
    this.read = 0; // lines of the file that are known here
    this.queue = Promise.resolve();
  }

  async begin(ids) {
    this.ids = ids;
    this.index = new Map(ids.map((id, index) => [id, index]));
    await this.poll();
  }

  of(index) {
    const decision = (this.pending.get(index) ?? this.saved.get(index))?.decision ?? "";
    return decision === "undo" ? "" : decision;
  }

  counts() {
    const counts = { keep: 0, reject: 0 };
    for (const index of new Set([...this.saved.keys(), ...this.pending.keys()])) {
      const decision = this.of(index);
      if (decision) counts[decision] += 1;
    }
    return counts;
  }

  decide(index, decision) {
    const one = { decision };
    this.lost.delete(index);
    this.pending.delete(index);
    this.pending.set(index, one);
    this.say(this.fault);
    this.changed([index]);
    this.queue = this.queue.then(() => this.send(index, one));
  }

  // Sends again what was not saved.
  retry() {
    for (const [index, decision] of [...this.lost]) this.decide(index, decision);
  }

  // Takes back this page's last decision that still holds, else the given sample's; answers which.
  undo(selected) {
    const mine = [...this.saved].filter(([index, { author }]) => author === this.author && !this.pending.has(index));
    const last = [...mine, ...this.pending].map(([index]) => index).filter((index) => this.of(index)).at(-1);
    const index = last ?? selected;
    if (index === null || !this.of(index)) return null;
    this.decide(index, "undo");
    return index;
  }

  async send(index, one) {
    let fault = SILENT;
    const since = this.read;
    try {
      const response = await fetch(`api/decisions?since=${since}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ request_id: this.ids[index], decision: one.decision, author: this.author }),
      });
      const answer = await response.json();
      fault = response.ok ? "" : answer.error;
      if (response.ok) this.take(since, answer);
    } catch {
      // the server is gone: SILENT says so
    }
    if (this.pending.get(index) === one) {
      this.pending.delete(index);
      if (fault) this.lost.set(index, one.decision);
    }
    this.say(fault);
    this.changed([index]);
  }

  say(fault) {
    this.fault = fault;
    this.warn(fault, [...this.lost.keys()]);
  }

  async poll() {
    const since = this.read;
    try {
      const response = await fetch(`api/decisions?since=${since}`);
      const answer = await response.json();
      if (response.ok) this.take(since, answer);
      this.say(response.ok ? "" : answer.error);
    } catch {
      // asked again
    }
    setTimeout(() => this.poll(), PAUSE);
  }

  // Takes in the lines that are new here; a file that has become shorter is read anew.
  take(since, { from, lines }) {
    const changed = [];
    if (from < since) {
      changed.push(...this.saved.keys());
      this.saved.clear();
      this.read = 0;
    }
    for (const { request_id, decision, author } of lines.slice(Math.max(0, this.read - from))) {
      const index = this.index.get(request_id);
      if (index === undefined) continue;
      this.saved.delete(index);
      this.lost.delete(index); // written after all, or overtaken by another page
      if (decision !== "undo") this.saved.set(index, { decision, author });
      changed.push(index);
    }
    this.read = Math.max(this.read, from + lines.length);
    this.changed(changed);
  }
}
