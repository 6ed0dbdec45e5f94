// A long list of images of which only the visible part is in the page.
// Each group is a source image and its synthetic images; small groups share a line, large ones take several,
// with the source's column left free.

const MARGIN_LINES = 3; // lines that are drawn above and below the visible ones

export class List {
  // `draw(kind, index)` makes the element of a cell: kind is "source" or "synthetic".
  constructor(pane, space, draw, choose) {
    this.pane = pane;
    this.space = space;
    this.draw = draw;
    this.groups = [];
    this.lines = [];
    this.drawn = new Map();
    this.cells = new Map();
    pane.addEventListener("scroll", () => this.show(), { passive: true });
    pane.addEventListener("click", (event) => {
      const cell = event.target.closest(".synthetic");
      if (cell) choose(Number(cell.dataset.index));
    });
    new ResizeObserver(() => this.arrange()).observe(pane);
  }

  set(groups) {
    this.groups = groups;
    this.arrange(true);
  }

  arrange(fresh = false) {
    const width = parseFloat(getComputedStyle(this.pane).getPropertyValue("--cell"));
    const columns = Math.max(2, Math.floor(this.space.clientWidth / width));
    if (!fresh && columns === this.columns && width === this.width) return this.show();
    const kept = this.lines[Math.floor(this.pane.scrollTop / this.height)]?.find((cell) => cell.kind === "synthetic");
    [this.columns, this.width, this.height] = [columns, width, width + 17];
    this.pack();
    this.space.style.height = `${this.lines.length * this.height}px`;
    this.drawn.forEach((line) => line.remove());
    this.drawn.clear();
    this.cells.clear();
    if (!fresh && kept) this.pane.scrollTop = this.place.get(kept.index)[0] * this.height;
    this.show();
  }

  // Lines of cells, and for each synthetic image its line and its column.
  pack() {
    this.lines = [];
    this.place = new Map();
    let line = null;
    let column = this.columns;
    const next = (start) => {
      line = [];
      this.lines.push(line);
      column = start;
    };
    for (const { source, images } of this.groups) {
      const size = images.length + 1;
      if (!line || column + size > this.columns) next(0);
      line.push({ kind: "source", index: source, column: column++ });
      for (const index of images) {
        if (column >= this.columns) next(1);
        this.place.set(index, [this.lines.length - 1, column]);
        line.push({ kind: "synthetic", index, column: column++ });
      }
      if (size > this.columns) column = this.columns;
    }
  }

  show() {
    const top = this.pane.scrollTop;
    const first = Math.max(0, Math.floor(top / this.height) - MARGIN_LINES);
    const last = Math.min(this.lines.length, Math.ceil((top + this.pane.clientHeight) / this.height) + MARGIN_LINES);
    for (const [number, element] of this.drawn) {
      if ((number >= first && number < last) || number === this.kept) continue;
      element.querySelectorAll("img").forEach((image) => image.removeAttribute("src")); // stops its loading
      element.remove();
      this.drawn.delete(number);
      for (const cell of this.lines[number] ?? []) if (cell.kind === "synthetic") this.cells.delete(cell.index);
    }
    for (let number = first; number < last; number++) {
      if (!this.drawn.has(number)) this.put(number);
    }
  }

  // In the order of the lines, since that is how a screen reader goes through them.
  put(number) {
    const below = Math.min(...[...this.drawn.keys()].filter((other) => other > number));
    this.space.insertBefore(this.line(number), this.drawn.get(below) ?? null);
  }

  line(number) {
    const element = document.createElement("div");
    element.className = "line";
    element.role = "presentation";
    element.style.transform = `translateY(${number * this.height}px)`;
    for (const { kind, index, column } of this.lines[number]) {
      const cell = this.draw(kind, index);
      cell.style.left = `${column * this.width}px`;
      element.append(cell);
      if (kind === "synthetic") this.cells.set(index, cell);
    }
    this.drawn.set(number, element);
    return element;
  }

  // Scrolls an image into view; returns its element.
  reveal(index) {
    const place = this.place.get(index);
    if (!place) return null;
    this.kept = place[0]; // stays in the page, since the list names it as its active part
    const top = place[0] * this.height;
    const { scrollTop, clientHeight } = this.pane;
    if (top < scrollTop) this.pane.scrollTop = top;
    if (top + this.height > scrollTop + clientHeight) this.pane.scrollTop = top + this.height - clientHeight;
    this.show();
    return this.cells.get(index) ?? null;
  }

  // The image nearest in column, `count` lines further down (or up, below zero).
  beside(index, count) {
    const [start, column] = this.place.get(index);
    const step = Math.sign(count);
    const far = Math.max(0, Math.min(this.lines.length - 1, start + count));
    for (let number = far; number >= 0 && number < this.lines.length; number += step) {
      const cells = this.lines[number].filter((cell) => cell.kind === "synthetic");
      if (!cells.length) continue;
      const distance = (cell) => Math.abs(cell.column - column);
      return cells.reduce((best, cell) => (distance(cell) < distance(best) ? cell : best)).index;
    }
    return index;
  }

  linesPerScreen() {
    return Math.max(1, Math.floor(this.pane.clientHeight / this.height) - 1);
  }
}
