// Axes with round values: {low, high, at, ticks: [{value, label}]}, where `at` gives the pixel of a value, clamped to the axis.
import {sizeText, tickText} from './figures.js';
import {linear, logarithmic} from '../plot.js';

function axis(low, high, from, to, scale, ticks) {
  const at = scale(low, high, from, to);
  return {low, high, ticks, at: value => at(Math.min(Math.max(value, low), high))};
}

// Logarithmic, for sizes: ticks at powers of two, and quarters between where the range is short.
export function sizeAxis(least, largest, from, to, maxTicks) {
  const margin = Math.max((largest / least) ** 0.08, 1.35);
  const low = least / margin, high = largest * margin;
  const first = Math.ceil(Math.log2(low)), last = Math.floor(Math.log2(high));
  const short = last - first < 2;
  const powers = Array.from({length: last - first + 2}, (_, i) => 2 ** (first - 1 + i));
  const round = powers.flatMap(power => (short ? [1, 1.25, 1.5, 1.75] : [1]).map(part => part * power)).filter(value => value >= low && value <= high);
  const values = round.filter((_, i) => i % Math.ceil(round.length / maxTicks) === 0);
  return axis(low, high, from, to, logarithmic, values.map(value => ({value, label: sizeText(value)})));
}

// Logarithmic, with ticks at powers of ten, and 2 and 5 between where the range is short. The ends become round.
export function decadeAxis(least, largest, from, to) {
  const valueAt = index => [1, 2, 5][(index % 3 + 3) % 3] * 10 ** Math.floor(index / 3);
  let first = 3 * Math.floor(Math.log10(least));
  while (valueAt(first + 1) <= least * 0.999) ++first;
  let last = first + 1;
  while (valueAt(last) < largest * 1.001) ++last;
  const decades = Math.floor((last - first) / 3), ticks = [];
  for (let index = first; index <= last; ++index) {
    const skipped = index % 3 !== 0 || Math.floor(index / 3) % Math.max(1, Math.floor(decades / 8)) !== 0;
    if (decades <= 3 || !skipped) ticks.push({value: valueAt(index), label: tickText(valueAt(index))});
  }
  return axis(valueAt(first), valueAt(last), from, to, logarithmic, ticks);
}

// Linear, for shares between 0 and 1, in per cent. The range ends at round values.
export function shareAxis(least, largest, from, to) {
  const span = Math.max(largest - least, 0.05);
  const step = span > 0.6 ? 0.2 : span > 0.3 ? 0.1 : span > 0.12 ? 0.05 : 0.02;
  const high = Math.min(Math.max(Math.ceil(largest / step - 1e-9) * step, step), 1);
  const low = Math.min(Math.max(Math.floor(least / step + 1e-9) * step, 0), high - step);
  const ticks = [];
  for (let value = low; value <= high + 1e-9; value += step) ticks.push({value, label: `${Math.round(value * 100)} %`});
  return axis(low, high, from, to, linear, ticks);
}
