// Decisions: shown at once, sent in the order of the key presses, taken back if they cannot be saved;
// an image whose decision was not saved is named until it is decided again.
// The server's file decides; what other pages add to it is polled every two seconds.

const POLL_MILLISECONDS = 2000;
const NO_ANSWER = "The server does not answer. Start dalda review again; this page reconnects by itself.";

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
  // `changed(indices)` is called with the images whose state may have changed; `warn(problem, unsaved)` shows
  // what is wrong now, if anything, and the images whose decisions were not saved.
  constructor(changed, warn) {
    [this.changed, this.warn] = [changed, warn];
    this.author = author();
    this.saved = new Map(); // image -> {decision, author}, in the order of the file
    this.pending = new Map(); // image -> {decision}, in the order of the keys
    this.unsaved = new Map(); // image -> the decision that was not saved
    this.problem = "";
    this.read = 0; // lines of the file that this page has
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
    const decided = { decision };
    this.unsaved.delete(index);
    this.pending.delete(index);
    this.pending.set(index, decided);
    this.report(this.problem);
    this.changed([index]);
    this.queue = this.queue.then(() => this.send(index, decided));
  }

  // Sends again what was not saved.
  retry() {
    for (const [index, decision] of [...this.unsaved]) this.decide(index, decision);
  }

  // Takes back this page's last decision that still holds, else the given image's; returns which.
  undo(selected) {
    const mine = [...this.saved].filter(([index, { author }]) => author === this.author && !this.pending.has(index));
    const last = [...mine, ...this.pending].map(([index]) => index).filter((index) => this.of(index)).at(-1);
    const index = last ?? selected;
    if (index === null || !this.of(index)) return null;
    this.decide(index, "undo");
    return index;
  }

  async send(index, decided) {
    let problem = NO_ANSWER;
    const since = this.read;
    try {
      const response = await fetch(`api/decisions?since=${since}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ request_id: this.ids[index], decision: decided.decision, author: this.author }),
      });
      const answer = await response.json();
      problem = response.ok ? "" : answer.detail;
      if (response.ok) this.take(since, answer);
    } catch {
      // the server is gone: NO_ANSWER says so
    }
    if (this.pending.get(index) === decided) {
      this.pending.delete(index);
      if (problem) this.unsaved.set(index, decided.decision);
    }
    this.report(problem);
    this.changed([index]);
  }

  report(problem) {
    this.problem = problem;
    this.warn(problem, [...this.unsaved.keys()]);
  }

  async poll() {
    const since = this.read;
    try {
      const response = await fetch(`api/decisions?since=${since}`);
      const answer = await response.json();
      if (response.ok) this.take(since, answer);
      this.report(response.ok ? "" : answer.detail);
    } catch {
      // polled again
    }
    setTimeout(() => this.poll(), POLL_MILLISECONDS);
  }

  // Takes in the lines that are new here; a file that has become shorter is read from the start.
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
      this.unsaved.delete(index); // written after all, or decided by another page
      if (decision !== "undo") this.saved.set(index, { decision, author });
      changed.push(index);
    }
    this.read = Math.max(this.read, from + lines.length);
    this.changed(changed);
  }
}
