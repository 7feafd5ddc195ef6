// Shares over the capacity of a cache: one curve per policy, and the level that no capacity passes.
import {svg} from '../dom.js';
import {levelLine, pathThrough} from '../plot.js';
import {decadeAxis, shareAxis} from './axes.js';
import {Figure, group, setHeight} from './figure.js';
import {countText, percentText} from './figures.js';

const CURVE_LEFT = 56, CURVE_TOP = 18, CURVE_RIGHT = 18, CURVE_FOOT = 44, HUES = 5;
export const hueOf = i => `hue-${(i + 1) % HUES}`;

class Curves {
  // rows: [{capacity_blocks, policy, ...}]; `share(row)` is what is drawn.
  constructor(rows, policies, share, plot, width) {
    const height = Math.round(Math.min(400, Math.max(260, width * 0.5)));
    Object.assign(this, {rows: rows.filter(row => row.capacity_blocks !== null), policies, share, plot});
    Object.assign(this, {right: width - CURVE_RIGHT, bottom: height - CURVE_FOOT});
    this.unbounded = rows.filter(row => row.capacity_blocks === null).map(share)[0];
    setHeight(plot, width, height);
    const capacities = this.rows.map(row => row.capacity_blocks), shares = this.rows.map(share);
    const least = Math.min(...capacities);
    this.x = decadeAxis(least, Math.max(...capacities, least * 2), CURVE_LEFT, this.right);
    this.y = shareAxis(Math.min(...shares, 0.99), Math.max(...shares, this.unbounded ?? 0), this.bottom, CURVE_TOP);
  }

  draw() {
    this.drawFrame();
    return this.policies.flatMap((policy, i) => this.drawCurve(policy, hueOf(i))).sort((a, b) => a.x - b.x || a.y - b.y);
  }

  drawFrame() {
    const everyOther = Math.ceil(this.x.ticks.length * 48 / (this.right - CURVE_LEFT));
    this.plot.append(
      ...this.y.ticks.flatMap(({value, label}) => levelLine(this.y.at(value), CURVE_LEFT, this.right, label)),
      ...this.x.ticks.filter((_, i) => i % everyOther === 0).map(({value}) =>
        svg('text', {class: 'tick middle', x: Math.min(this.x.at(value), this.right - 8), y: this.bottom + 18}, countText(value))),
      svg('line', {class: 'axis', x1: CURVE_LEFT, x2: this.right, y1: this.bottom, y2: this.bottom}),
      svg('text', {class: 'axis-title middle', x: (CURVE_LEFT + this.right) / 2, y: this.bottom + 37}, 'capacity in blocks'));
    if (this.unbounded === undefined) return;
    const y = this.y.at(this.unbounded);
    this.plot.append(svg('line', {class: 'level', x1: CURVE_LEFT, x2: this.right, y1: y, y2: y}));
  }

  drawCurve(policy, hue) {
    const rows = this.rows.filter(row => row.policy === policy).sort((a, b) => a.capacity_blocks - b.capacity_blocks);
    const marks = rows.map(row => ({x: this.x.at(row.capacity_blocks), y: this.y.at(this.share(row)),
      text: `${policy}, ${countText(row.capacity_blocks)} blocks: ${percentText(this.share(row))} %`}));
    this.plot.append(svg('path', {class: `curve ${hue}`, d: pathThrough(marks)}),
                     ...marks.map(({x, y, text}) => group('point', policy, text, svg('circle', {class: `knot ${hue}`, cx: x, cy: y, r: 3.5}))));
    return marks;
  }
}

// null: there is nothing to draw.
export function curvesFigure(id, title, caption, rows, share) {
  const policies = [...new Set(rows.filter(row => row.capacity_blocks !== null).map(row => row.policy))];
  if (policies.length === 0) return null;
  const names = policies.map((policy, i) => [hueOf(i), policy]);
  return new Figure({
    id, title, caption, legend: [...names, ['level', 'a cache without bounds']],
    description: 'One curve per policy over the capacity of the cache; the dashed line is a cache without bounds. The table below holds all figures.',
    draw: (plot, width) => new Curves(rows, policies, share, plot, width).draw()});
}
