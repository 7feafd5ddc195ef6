// A small line chart of the last minutes: axes, units, the value under the pointer or the arrow keys, and its text.
import {el, svg} from './dom.js';
import {duration} from './format.js';
import {Choice, levelLine, linear, pathThrough} from './plot.js';

const HEIGHT = 132, LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 20;
const BROKEN = 6000;  // milliseconds without a sample: the line is not drawn across

function niceEnd(value, binary) {
  if (!(value > 0)) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map(step => step * power).find(step => step >= value * 0.999);
}

export class Chart {
  // series: [{name, hue}]; format gives a value with its unit; `least` is the least upper end of the axis.
  constructor(title, {id, series, format, least = 0, whole = false, binary = false, note = ''}) {
    Object.assign(this, {title, series, format, least, whole, binary});
    this.points = [];
    this.figure = el('p', {class: 'figure', id: `figure-${id}`});
    this.legend = el('ul', {class: 'legend'}, series.map(({name, hue}) => {
      const value = el('b', {});
      return el('li', {}, el('span', {class: `swatch hue-${hue}`}), `${name} `, value);
    }));
    this.legend.hidden = series.length === 1;  // the figure above says it
    this.plot = svg('svg', {class: 'plot', role: 'img', tabindex: 0, height: HEIGHT, id: `chart-${id}`});
    this.readout = el('p', {class: 'readout note', 'aria-live': 'off'});
    this.quiet = note;
    this.element = el('section', {class: 'card'}, el('h2', {}, title), this.figure, this.plot, this.legend, this.readout);
    this.choice = new Choice(this.plot, {
      count: () => this.points.length, nearest: x => this.nearest(x),
      changed: byKey => {
        if (byKey) this.readout.setAttribute('aria-live', 'polite');
        this.draw();
      }});
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  // points: [{t, values}], a value of null is not known.
  update(points) {
    const moved = this.points.length - points.length;
    if (moved > 0) this.choice.at = Math.max(this.choice.at - moved, -1);
    this.points = points;
    this.draw();
  }

  nearest(x) {
    let best = -1, distance = 24;
    this.points.forEach(({t}, index) => {
      const away = Math.abs(this.x(t) - x);
      if (away < distance) [best, distance] = [index, away];
    });
    return best;
  }

  frame() {
    const known = this.points.flatMap(({values}) => values).filter(value => value !== null);
    this.end = this.points.at(-1)?.t ?? 0;
    const length = this.end - (this.points[0]?.t ?? 0);
    this.span = [60000, 120000, 300000].find(span => span >= length) ?? 300000;
    this.highest = Math.max(this.least, niceEnd(Math.max(0, ...known), this.binary));
    if (this.whole) this.highest = Math.max(2, Math.ceil(this.highest / 2) * 2);
    this.width = Math.max(this.plot.clientWidth, 160);
    this.x = linear(this.end - this.span, this.end, LEFT, this.width - RIGHT);
    this.y = linear(0, this.highest, HEIGHT - BOTTOM, TOP);
  }

  path(number) {
    const line = [];
    let before = null;
    for (const {t, values} of this.points) {
      const value = values[number];
      if (value === null || (before !== null && t - before >= BROKEN)) line.push(null);
      if (value !== null) line.push({x: this.x(t), y: this.y(value)});
      before = value === null ? null : t;
    }
    return pathThrough(line);
  }

  axes() {
    const parts = [];
    for (const value of [0, this.highest / 2, this.highest])
      parts.push(...levelLine(this.y(value), LEFT, this.width - RIGHT, this.format(value, true)));
    parts.push(svg('text', {class: 'tick', x: LEFT, y: HEIGHT - 5}, `${duration(this.span / 1000)} ago`),
               svg('text', {class: 'tick end', x: this.width - RIGHT, y: HEIGHT - 5}, 'now'));
    return parts;
  }

  told(values) {
    return this.series.map(({name}, i) => `${name} ${values[i] === null ? 'unknown' : this.format(values[i])}`).join(', ');
  }

  draw() {
    if (this.plot.clientWidth === 0 && this.points.length > 0) return;  // not seen
    this.frame();
    const lines = this.series.map(({hue}, number) => svg('path', {class: `line hue-${hue}${number > 0 ? ' dashed' : ''}`, d: this.path(number)}));
    const marks = [];
    const chosen = this.points[this.choice.at];
    if (chosen) {
      const x = this.x(chosen.t);
      marks.push(svg('line', {class: 'cursor', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM}));
      this.series.forEach(({hue}, i) => {
        if (chosen.values[i] !== null) marks.push(svg('circle', {class: `mark hue-${hue}`, cx: x, cy: this.y(chosen.values[i]), r: 3.5}));
      });
    }
    this.plot.setAttribute('viewBox', `0 0 ${this.width} ${HEIGHT}`);
    this.plot.replaceChildren(...this.axes(), ...lines, ...marks);
    this.describe(chosen);
  }

  describe(chosen) {
    const last = this.points.at(-1);
    const values = this.legend.querySelectorAll('b');
    this.series.forEach((_, i) => {
      const value = last?.values[i] ?? null;
      values[i].textContent = value === null ? '–' : this.format(value);
    });
    this.readout.textContent =
      chosen ? `${duration((this.end - chosen.t) / 1000)} ago: ${this.told(chosen.values)}` : this.quiet;
    const ranges = this.series.map(({name}, i) => {
      const known = this.points.map(({values}) => values[i]).filter(value => value !== null);
      return known.length === 0 ? `${name}: nothing yet`
        : `${name}: now ${last.values[i] === null ? 'unknown' : this.format(last.values[i])}, ` +
          `lowest ${this.format(Math.min(...known))}, highest ${this.format(Math.max(...known))}`;
    });
    this.plot.setAttribute('aria-label', `${this.title} over the last ${duration(this.span / 1000)}. ${ranges.join('; ')}`);
  }
}
