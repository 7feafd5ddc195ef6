// Recipes as points: what they cost against how well they do, with the Pareto front.
import {svg} from '../dom.js';
import {levelLine} from '../plot.js';
import {decadeAxis, shareAxis, sizeAxis} from './axes.js';
import {Figure, group, setHeight} from './figure.js';
import {shortened} from './figures.js';
import {leaderEnd, placeLabels} from './labels.js';
import {paretoFront} from './results.js';

const TOP = 20, RIGHT = 22, FOOT = 48, ZERO_BAND = 34, RADIUS = 5, LABEL_HEIGHT = 15;
const LEAST_BYTES = 1e-3, LEAST_DIVERGENCE = 1e-12, MAX_LABELS = 60;

const BYTES = {title: 'Bytes per token (logarithmic)'};

const isZero = divergence => divergence < LEAST_DIVERGENCE;

function frontOf(points, share, {more}) {
  const candidates = points.filter(point => point.bytes >= LEAST_BYTES && !point.control);
  const cost = ({value}) => share ? -value : isZero(value) ? 0 : value;
  return paretoFront(candidates.map(({bytes, y}) => ({size: more ? -bytes : bytes, cost: cost(y)}))).map(i => candidates[i]);
}

class Scatter {
  // points: [{name, text, bytes, y: {value, low, high}, control}]; `share` says whether y is a share, of which more is better,
  // or a divergence, of which less is. A point that holds no bytes has no place on a logarithmic axis: it is a level.
  // Those of `front` are on the Pareto front, by rising cost. `across` says what `bytes` are: {title, more: whether more of
  // them is better, crowded: whether there are too many points to give all of them a name, a whisker and a place of their own,
  // legend: entries before the usual ones, controls: what it calls those}.
  constructor(points, front, share, across, plot, width) {
    const height = Math.round(Math.min(430, Math.max(390, width * 0.62)));
    Object.assign(this, {share, across, plot, points, best: front, left: share ? 56 : 72, right: width - RIGHT, bottom: height - FOOT});
    setHeight(plot, width, height);
    this.maxName = width < 560 ? 22 : 36;
    this.boxes = [];  // what labels must not cover
    this.lines = [];  // and what they should not
  }

  draw() {
    this.findMarks();
    this.fitAxes();
    this.placeMarks();
    this.drawFrame();
    this.drawFront();
    this.levels.forEach(level => this.drawLevel(level));
    const order = this.across.crowded ? [...this.marks].reverse() : this.marks;  // what matters lies on top
    order.forEach(mark => this.drawMark(mark));
    this.drawLabels();
    const told = [...this.marks].sort((a, b) => a.x - b.x || b.y - a.y);
    return [...told.map(({x, y, point}) => ({x, y, text: point.text})),
            ...this.levels.map(point => ({x: this.left, y: this.at(point.y.value), text: point.text}))];
  }

  zero(value) { return !this.share && isZero(value); }

  // Those on the front come first: drawn first, and first to be labelled.
  findMarks() {
    this.levels = this.points.filter(point => point.bytes < LEAST_BYTES);
    const others = this.points.filter(point => point.bytes >= LEAST_BYTES && !this.best.includes(point));
    this.front = this.best.map(point => ({point, best: true}));
    this.marks = [...this.front, ...others.map(point => ({point, best: false}))];
    if (this.across.crowded) this.marks.sort((a, b) => Boolean(a.point.control) - Boolean(b.point.control));  // stable
  }

  fitAxes() {
    const sizes = this.marks.map(({point}) => point.bytes);
    this.hasZero = this.points.some(({y}) => this.zero(y.value));
    // The logarithm of an interval's end near zero would squeeze everything else.
    const values = this.points.flatMap(({y}) => [y.value, y.low, y.high].filter(
      value => this.share || (!this.zero(value) && value >= y.value / 5)));
    const ends = (list, low, high) => list.length ? [Math.min(...list), Math.max(...list)] : [low, high];
    this.x = sizeAxis(...ends(sizes, 1, 1), this.left, this.right, Math.floor((this.right - this.left) / 54));
    this.y = this.share ? shareAxis(...ends(values, 0, 1), this.bottom - 10, TOP + 12)
      : decadeAxis(...ends(values, 0.01, 1), this.bottom - (this.hasZero ? ZERO_BAND : 0), TOP);
  }

  at(value) { return this.hasZero && this.zero(value) ? this.bottom - ZERO_BAND / 2 + 4 : this.y.at(value); }

  // Points of one size whose whiskers would lie on each other stand side by side.
  placeMarks() {
    const collide = (a, b) => Math.abs(a.x - b.x) < 2 * RADIUS - 1 && a.top - RADIUS < b.bottom + RADIUS && b.top - RADIUS < a.bottom + RADIUS;
    this.marks.forEach((mark, i) => {
      const {bytes, y} = mark.point;
      mark.y = this.at(y.value);
      mark.top = Math.min(mark.y, this.at(y.high));
      mark.bottom = Math.max(mark.y, this.at(y.low));
      const lanes = [0, 1, -1, 2, -2, 3, -3, 4].map(lane => this.x.at(bytes) + lane * (2 * RADIUS + 1));
      const free = this.across.crowded ? lanes[0] : lanes.find(x => !this.marks.slice(0, i).some(other => collide(other, {...mark, x})));
      mark.x = free ?? lanes[0];
    });
  }

  drawFrame() {
    const {left, right, bottom, plot} = this;
    for (const {value, label} of this.x.ticks) {
      const x = this.x.at(value);
      plot.append(svg('line', {class: 'grid', x1: x, x2: x, y1: TOP, y2: bottom}),
                  svg('text', {class: 'tick middle', x, y: bottom + 18}, label));
    }
    for (const {value, label} of this.y.ticks) plot.append(...levelLine(this.y.at(value), left, right, label));
    if (this.hasZero) {
      const y = bottom - ZERO_BAND + 8;
      plot.append(svg('line', {class: 'break', x1: left, x2: right, y1: y, y2: y}),
                  svg('text', {class: 'tick end', x: left - 6, y: this.at(0) + 4}, '0'));
    }
    plot.append(svg('line', {class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom}),
                svg('text', {class: 'axis-title middle', x: (left + right) / 2, y: bottom + 40}, this.across.title),
                svg('text', {class: 'axis-title middle', transform: `translate(13 ${(TOP + bottom) / 2}) rotate(-90)`},
                    this.share ? 'Retained accuracy' : 'Mean KL, nats (logarithmic)'));
  }

  // A stair: between two points, the better of the smaller ones is the best there is.
  drawFront() {
    if (this.front.length === 0) return;
    const stair = [];
    this.front.forEach(({point, y}, i) => {
      const x = this.x.at(point.bytes);
      if (i > 0) stair.push({x, y: this.front[i - 1].y});
      stair.push({x, y});
    });
    stair.push({x: this.across.more ? this.left : this.right, y: stair.at(-1).y});
    this.plot.append(svg('polyline', {class: 'front', points: stair.map(({x, y}) => `${x},${y}`).join(' ')}));
    for (let i = 1; i < stair.length; ++i) {
      const [a, b] = [stair[i - 1], stair[i]];
      this.lines.push({x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(b.x - a.x), height: Math.abs(b.y - a.y)});
    }
  }

  drawLevel(point) {
    const y = this.at(point.y.value), x = this.left + 6;
    const label = svg('text', {class: 'label', x, y: y - 5}, shortened(point.name, this.maxName));
    this.plot.append(group('point sizeless', point.name, point.text,
                           svg('line', {class: 'level', x1: this.left, x2: this.right, y1: y, y2: y}), label));
    this.boxes.push({x, y: y - 5 - LABEL_HEIGHT, width: label.getComputedTextLength(), height: LABEL_HEIGHT});
    this.lines.push({x: this.left, y, width: this.right - this.left, height: 0});
  }

  drawMark({point, best, x, y, top, bottom}) {
    const kind = point.control ? ' control' : best ? ' best' : '';
    const whisker = point.y.low !== point.y.high && (best || !this.across.crowded);
    this.plot.append(group('point', point.name, point.text,
                           whisker && svg('line', {class: `whisker${kind}`, x1: x, x2: x, y1: top, y2: bottom}),
                           svg('circle', {class: `dot${kind}${point.hue ? ` ${point.hue}` : ''}`, cx: x, cy: y, r: RADIUS})));
    if (whisker) this.lines.push({x, y: top, width: 0, height: bottom - top});
    this.boxes.push({x: x - RADIUS, y: y - RADIUS, width: 2 * RADIUS, height: 2 * RADIUS});
  }

  drawLabels() {
    const named = this.marks.slice(0, this.across.crowded ? this.front.length : MAX_LABELS);
    const labels = named.map(({point, best}) => svg('text', {class: `label${best ? ' best' : ''}`}, shortened(point.name, this.maxName)));
    this.plot.append(...labels);
    const widths = labels.map(label => label.getComputedTextLength());
    const bounds = {x: this.left + 2, y: TOP - 8, width: this.right - this.left - 2, height: this.bottom - TOP + 6};
    const places = placeLabels(named.map(({x, y}, i) => ({x, y, width: widths[i], height: LABEL_HEIGHT})), bounds, this.boxes, this.lines);
    places.forEach((box, i) => {
      if (!box) return labels[i].remove();
      labels[i].setAttribute('x', box.x);
      labels[i].setAttribute('y', box.y + 11.5);
      const {x, y} = named[i], end = leaderEnd(named[i], box), length = Math.hypot(end.x - x, end.y - y);
      const start = (RADIUS + 1) / length;
      if (length > 13)
        this.plot.append(svg('line', {class: 'leader', x1: x + (end.x - x) * start, y1: y + (end.y - y) * start, x2: end.x, y2: end.y}));
    });
  }
}

export function scatterFigure(id, title, caption, points, share, across = BYTES) {
  const front = frontOf(points, share, across);
  const beaten = points.some(point => point.bytes >= LEAST_BYTES && !point.control && !front.includes(point));
  const better = `better: ${share ? 'up' : 'down'} and ${across.more ? 'right' : 'left'}`;
  const legend = [...(across.legend ?? []), ['front', `on the Pareto front: nothing is ${across.more ? 'faster' : 'smaller'} and better`],
                  beaten && !across.legend && ['beaten', 'beaten by another recipe'],
                  points.some(point => point.control) && ['control', across.controls ?? 'control'],
                  ['', better]].filter(Boolean);
  return new Figure({
    id, title, caption, legend, draw: (plot, width) => new Scatter(points, front, share, across, plot, width).draw(),
    description: 'A point per recipe with its 95 % interval and the Pareto front; the summary table holds the figures.'});
}
