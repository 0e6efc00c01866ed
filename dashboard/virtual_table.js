// A table of which only the rows in sight are in the document: its time does not grow with the number of rows. It asks for more
// rows as its end comes near.
//
// Rows lie in a block as high as all of them together, each at its place and with a layout of its own (style.css): of a scroll by three
// rows, three are written and laid out, and nothing else.
//
// One tab stop (role grid): arrows, Page Up and Down, Home and End move, Enter opens, Space selects.
import {h, replace} from "./dom.js";

const ROW = 30,
  SPARE = 8,
  HEAD = 32,
  SELECT = 34,
  PADDING = 20,
  WIDEST = 13, // of a letter; a text that may be longer than its cell is cut off, which costs a layer of its own
  SETTLED_MS = 150;

// columns: [{id, name, width, numeric, text(row), title(row), element(row, old)}]; element may give the cell's old one, changed
// on: {sort(column), open(row), select(row), more()}; isSelected(row)
export class VirtualTable {
  constructor(label, on) {
    this.on = on;
    this.rows = [];
    this.columns = [];
    this.first = 0;
    this.drawnOf = 0; // so many rows there were
    this.active = 0;
    this.head = h("tr", {role: "row"});
    this.body = h("tbody", {role: "rowgroup"});
    this.grid = h(
      "table",
      {role: "grid", tabindex: 0, "aria-label": label, "aria-multiselectable": "true"},
      h("thead", {role: "rowgroup"}, this.head),
      this.body,
    );
    this.element = h("div", {class: "virtual"}, this.grid);
    this.pool = [];
    this.element.addEventListener("scroll", () => this.draw(), {passive: true});
    this.grid.addEventListener("keydown", (event) => this.onKey(event));
    this.body.addEventListener("click", (event) => this.onClick(event));
    this.body.addEventListener("mouseover", (event) => this.explain(event.target.closest("td, th")));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  setColumns(columns, sorted) {
    this.columns = columns;
    const widths = columns.map((column, at) => (at ? column.width + "px" : `minmax(${column.width}px, 1fr)`));
    this.grid.style.setProperty("--columns", SELECT + "px " + widths.join(" "));
    this.grid.style.minWidth = columns.reduce((sum, column) => sum + column.width, SELECT) + "px";
    replace(
      this.head,
      h("th", {role: "columnheader", scope: "col"}, h("span", {class: "hidden"}, "Selected")),
      columns.map((column) =>
        h(
          "th",
          {
            role: "columnheader",
            scope: "col",
            class: column.numeric && "num",
            "aria-sort": sorted?.id === column.id ? (sorted.descending ? "descending" : "ascending") : undefined,
          },
          h(
            "button",
            {type: "button", title: column.name, disabled: column.unsorted, onclick: () => this.on.sort(column)},
            column.name + (sorted?.id === column.id ? (sorted.descending ? " ↓" : " ↑") : ""),
          ),
        ),
      ),
    );
    this.grid.setAttribute("aria-colcount", columns.length + 1);
    this.pool = [];
    replace(this.body);
    this.draw(true);
  }

  // `complete`: there are no more than these. Where more were only added to the same list, what is drawn stays as it is.
  setRows(rows, complete) {
    const added = rows === this.rows && rows.length >= this.drawnOf;
    this.rows = rows;
    this.complete = complete;
    this.active = Math.min(this.active, Math.max(0, rows.length - 1));
    this.grid.setAttribute("aria-rowcount", complete ? rows.length + 1 : -1);
    this.draw(!added);
  }

  toTop() {
    this.element.scrollTop = 0;
    this.active = 0;
  }

  makeRow() {
    const cells = this.columns.map((column, at) =>
      h(at === 0 ? "th" : "td", {role: at === 0 ? "rowheader" : "gridcell", class: column.numeric && "num"}),
    );
    const box = h("input", {type: "checkbox", tabindex: -1});
    const row = h("tr", {role: "row"}, h("td", {role: "gridcell"}, box), cells);
    const entry = {row, box, cells, shown: -1};
    row.entry = entry;
    this.body.append(row);
    return entry;
  }

  draw(all = false) {
    if (!this.columns.length) return;
    const height = this.element.clientHeight || 600,
      top = Math.max(0, this.element.scrollTop - HEAD);
    const wanted = Math.min(this.rows.length, Math.ceil(height / ROW) + 2 * SPARE);
    const first = Math.max(0, Math.min(Math.floor(top / ROW) - SPARE, this.rows.length - wanted));
    // Who scrolls gets more well before the end; who only looks at the first rows, none.
    const ahead = top > 0 ? 300 : 20;
    if (!this.complete && first + wanted + ahead > this.rows.length) this.on.more?.();
    if (this.rows.length !== this.drawnOf) this.body.style.height = this.rows.length * ROW + "px";
    this.drawnOf = this.rows.length;
    if (!all && first === this.first && this.pool.length === wanted) return;
    while (this.pool.length < wanted) this.pool.push(this.makeRow());
    while (this.pool.length > wanted) this.pool.pop().row.remove();
    this.first = first;
    // Row i is always drawn by the same element of the pool: of a scroll by three rows, three are written.
    for (let index = first; index < first + wanted; ++index) {
      const entry = this.pool[index % wanted];
      if (all || entry.shown !== index) this.write(entry, index);
    }
    clearTimeout(this.ordering);
    this.ordering = setTimeout(() => this.putInOrder(), SETTLED_MS);
  }

  // In the document they stand in their order too, for who reads it from top to bottom; not while it is scrolled, for an element that is
  // moved is laid out anew. Only those that went around are moved.
  putInOrder() {
    let next = null;
    for (const {row} of [...this.pool].sort((a, b) => b.shown - a.shown)) {
      if (row.nextSibling !== next) this.body.insertBefore(row, next);
      next = row;
    }
  }

  // What is as it was is not written: it would be laid out and painted again.
  write(entry, index) {
    const row = this.rows[index];
    entry.shown = index;
    entry.row.style.transform = `translateY(${index * ROW}px)`;
    entry.row.id = "row-" + index;
    entry.row.setAttribute("aria-rowindex", index + 2);
    const selected = this.on.isSelected(row);
    if (entry.selected !== selected) entry.row.setAttribute("aria-selected", selected);
    entry.box.checked = entry.selected = selected;
    entry.box.setAttribute("aria-label", "Select " + this.columns[0].text(row));
    entry.row.classList.toggle("active", index === this.active);
    for (let i = 0; i < this.columns.length; ++i) {
      const column = this.columns[i],
        cell = entry.cells[i],
        text = column.text(row);
      if (column.element) {
        const old = cell.firstElementChild,
          element = column.element(row, old);
        if (element !== old) cell.replaceChildren(element);
      } else if (!cell.firstChild) cell.textContent = text;
      else if (cell.firstChild.data !== text) cell.firstChild.data = text;
      cell.classList.toggle("long", text.length * WIDEST > column.width - PADDING);
    }
  }

  // A cell's title is needed when somebody points at it.
  explain(cell) {
    const entry = cell?.parentElement.entry,
      column = this.columns[entry?.cells.indexOf(cell)];
    if (column?.title) cell.title = column.title(this.rows[entry.shown]);
  }

  moveTo(index) {
    if (!this.rows.length) return;
    this.active = Math.max(0, Math.min(this.rows.length - 1, index));
    const top = this.active * ROW,
      view = this.element.clientHeight - HEAD - ROW;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top > this.element.scrollTop + view) this.element.scrollTop = top - view;
    this.draw(true);
    this.grid.setAttribute("aria-activedescendant", "row-" + this.active);
  }

  onKey(event) {
    if (event.target !== this.grid) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 2);
    const moves = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: this.rows.length - 1,
    };
    if (event.key in moves) this.moveTo(moves[event.key]);
    else if (event.key === "Enter") this.on.open(this.rows[this.active]);
    else if (event.key === " ") this.select(this.active);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight")
      this.element.scrollLeft += event.key === "ArrowRight" ? 120 : -120;
    else return;
    event.preventDefault();
  }

  select(index) {
    if (index < this.rows.length) this.on.select(this.rows[index]);
    this.draw(true);
  }

  onClick(event) {
    const entry = event.target.closest("tr")?.entry;
    if (!entry || event.target.closest("a")) return;
    this.active = entry.shown;
    this.select(entry.shown);
  }
}
