// A picture with its caption, its legend and a line that tells the chosen mark. It is drawn for the width that there is.
import {el, svg} from '../dom.js';
import {Choice} from '../plot.js';

const PRINTED_WIDTH = 760, NEAR = 24;

export class Figure {
  // draw(plot, width) fills the <svg>, sets its height and gives its marks: [{x, y, text}].
  constructor({id, title, description, caption, legend = [], draw}) {
    this.drawing = draw;
    this.names = [svg('title', {id: `${id}-title`}, title), svg('desc', {id: `${id}-desc`}, description)];
    this.plot = svg('svg', {id, class: 'plot', role: 'img', tabindex: 0, 'aria-labelledby': `${id}-title ${id}-desc`});
    this.ring = svg('circle', {class: 'chosen', r: 9, visibility: 'hidden'});
    this.quiet = 'Point at a mark, or choose one with the arrow keys, for its figures.';
    this.readout = el('p', {class: 'readout note', 'aria-live': 'off'}, this.quiet);
    this.element = el('figure', {class: 'card'}, el('figcaption', {}, caption),
      legend.length > 0 && el('ul', {class: 'legend'}, legend.map(([kind, text]) => el('li', {}, kind && el('span', {class: `sign ${kind}`}), text))),
      this.plot, this.readout);
    this.marks = [];
    this.choice = new Choice(this.plot, {
      count: () => this.marks.length, nearest: (x, y) => this.nearest(x, y), changed: byKey => this.tell(byKey)});
  }

  nearest(x, y) {
    const scale = this.width / this.plot.clientWidth;
    const distances = this.marks.map(mark => Math.hypot(mark.x - x * scale, mark.y - y * scale));
    const least = Math.min(...distances);
    return least < NEAR ? distances.indexOf(least) : -1;
  }

  tell(byKey) {
    const mark = this.marks[this.choice.at];
    this.readout.setAttribute('aria-live', byKey ? 'polite' : 'off');
    this.readout.textContent = mark?.text ?? this.quiet;
    this.ring.setAttribute('visibility', mark ? 'visible' : 'hidden');
    if (mark) for (const [name, value] of [['cx', mark.x], ['cy', mark.y]]) this.ring.setAttribute(name, value);
  }

  // Drawn once it stands in the page, since texts are measured there.
  draw(width = this.plot.clientWidth) {
    if (width === this.width || width === 0) return;
    this.width = width;
    this.plot.replaceChildren(...this.names);
    this.marks = this.drawing(this.plot, Math.max(width, 280));
    this.plot.append(this.ring);
    this.tell(false);
  }

  live() {
    this.draw();
    new ResizeObserver(() => this.draw()).observe(this.plot);
    addEventListener('beforeprint', () => this.draw(PRINTED_WIDTH));
    addEventListener('afterprint', () => this.draw());
  }
}

export const setHeight = (plot, width, height) => plot.setAttribute('viewBox', `0 0 ${width} ${height}`);

// A mark to the reader: its text is shown on hover.
export const group = (kind, recipe, title, ...parts) => svg('g', {class: kind, 'data-recipe': recipe}, svg('title', {}, title), ...parts);
