// The rows of a board: each recipe with its cells, and what they come to for the questions that are looked at.
import {Tally} from './results.js';

export const FAMILIES = ['codec', 'read selection', 'retention', 'running retention', 'control', 'bound'];
export const hueOfFamily = family => ({codec: 'hue-3', 'read selection': 'hue-1', retention: 'hue-2', 'running retention': 'hue-4'})[family];
// They say what other rows are worth, and are on no front.
export const isControlFamily = family => family === 'control' || family === 'bound';

export class BoardRow {
  constructor(row, fields, exactBytes) {
    Object.assign(this, row);
    this.name = row.policy === null ? row.codec : `${row.codec} ${row.policy} ${row.budget}`;
    this.policy ??= 'none';
    this.speed = row.busy.tokens_per_second;
    this.ofExact = exactBytes > 0 ? row.bytes_held / exactBytes : null;
    this.isControl = isControlFamily(row.family);
    this.cells = row.cells.map(values => {
      const cell = Object.fromEntries(values.map((value, i) => [fields[i], value]));
      return {...cell, accuracy: cell.items ? cell.right / cell.items : null, cap_hits: 0};
    });
  }

  // `asked`: {mode, turns, task}, each a test of a cell.
  tally(asked) { return new Tally(this.cells.filter(cell => asked.mode(cell) && asked.turns(cell) && asked.task(cell))); }
}

export const taskOf = ({task, column}) => column ? `${task} ${column}` : task;
const unique = values => [...new Set(values)];

// What can be chosen: names and tests of cells. The first of each is what the page begins with: SCBench's headline.
export function questionsOf(rows) {
  const cells = rows.flatMap(row => row.cells);
  const turns = Math.max(1, ...cells.map(cell => cell.turn));
  const all = {name: 'all turns', test: () => true};
  const each = Array.from({length: turns}, (_, i) => ({name: `turn ${i + 1}`, test: cell => cell.turn === i + 1}));
  return {
    mode: [...['multi-request', 'multi-turn'].map(name => ({name, test: cell => cell.mode === name})), {name: 'both modes', test: () => true}],
    turns: turns > 1 ? [{name: 'from turn 2 on', test: cell => cell.turn > 1}, all, ...each] : [all],
    task: [{name: 'all tasks', test: () => true}, ...unique(cells.map(taskOf)).map(name => ({name, test: cell => taskOf(cell) === name}))]};
}

// Values of a field in the order in which they first come; numbers fall.
export function valuesOf(rows, field) {
  const values = unique(rows.map(row => row[field]));
  return typeof values[0] === 'number' ? values.sort((a, b) => b - a) : values;
}
