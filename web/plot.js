// What the charts of all pages share: scales, grid lines, paths, and marks that a pointer or the arrow keys choose.
import {svg} from './dom.js';

export const linear = (low, high, from, to) => value => from + (value - low) / (high - low) * (to - from);

export function logarithmic(low, high, from, to) {
  const at = linear(Math.log(low), Math.log(high), from, to);
  return value => at(Math.log(value));
}

// A line across the plot at `y`, named at its left end if it has a label.
export const levelLine = (y, left, right, label) => [
  svg('line', {class: 'grid', x1: left, x2: right, y1: y, y2: y}),
  label && svg('text', {class: 'tick end', x: left - 6, y: y + 4}, label)].filter(Boolean);

// A path through points {x, y}; null breaks it. A lone point is drawn as a dot by its round cap.
export function pathThrough(points) {
  let path = '', before = null;
  for (const point of points) {
    if (point) path += `${before ? 'L' : 'M'}${point.x.toFixed(1)} ${point.y.toFixed(1)}`;
    before = point;
  }
  return path.replace(/M([^ML]+)(?=M|$)/g, 'M$1h.01');
}

// One of a plot's marks: the nearest to the pointer, or by the arrow keys, Home and End; Escape lets go. `count()` marks there
// are, `nearest(x, y)` gives the number of one or -1, `changed(byKey)` is called when `at` is another.
export class Choice {
  constructor(plot, {count, nearest, changed}) {
    Object.assign(this, {at: -1, count, changed});
    plot.addEventListener('pointermove', event => this.set(nearest(event.offsetX, event.offsetY), false));
    plot.addEventListener('pointerleave', () => this.set(-1, false));
    plot.addEventListener('blur', () => this.set(-1, false));
    plot.addEventListener('keydown', event => this.onKey(event));
  }

  onKey(event) {
    const last = this.count() - 1;
    const from = this.at < 0 ? last + 1 : this.at;
    const to = {ArrowLeft: Math.max(from - 1, 0), ArrowRight: Math.min(from + 1, last), Home: 0, End: last, Escape: -1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.set(to, true);
  }

  set(number, byKey) {
    const to = number < this.count() ? number : -1;
    if (to === this.at && !byKey) return;
    this.at = to;
    this.changed(byKey);
  }
}
