// The table of a board: a row per recipe, in the order of the column that was chosen.
import {el} from '../dom.js';
import {countText, percentText, sizeText} from './figures.js';

const shareText = value => value.toFixed(3);
const COLUMNS = [
  {name: 'Recipe', value: row => row.recipe},
  {name: 'Family', value: row => row.family},
  {name: 'Budget', value: row => row.budget, text: String},
  {name: 'Bytes', unit: 'per token', value: row => row.bytes_per_token, text: value => sizeText(Math.round(value))},
  {name: 'Held', unit: 'of exact', value: row => row.ofExact, text: shareText},
  {name: 'Kept', unit: 'of tokens', value: row => row.kept, text: shareText},
  {name: 'Read', unit: 'of pages', value: row => row.read_fraction, text: shareText},
  {name: 'KiB read', unit: 'per step', value: row => row.bytes_read / 1024, text: value => sizeText(Math.round(value))},
  {name: 'Tokens/s', unit: 'busy', value: row => row.speed, text: value => value.toFixed(1)},
  {name: 'Right', unit: '%', value: (row, tally) => tally.accuracy?.value ?? null, text: percentText},
  {name: 'Retained', unit: '%', value: (row, tally) => tally.retained?.value ?? null, text: percentText,
   small: (row, {retained, kept, retainedItems}) => retained && `${percentText(retained.low)}–${percentText(retained.high)}, ${countText(kept)} of ${countText(retainedItems)}`},
  {name: 'Lost', value: (row, tally) => tally.lost, text: countText},
  {name: 'Won', value: (row, tally) => tally.won, text: countText}];

const compareValues = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : a < b ? -1 : 1;

export class BoardTable {
  constructor() {
    this.by = null;  // as the rows came
    this.falling = false;
    this.body = el('tbody', {});
    this.heads = COLUMNS.map(({name, unit}, i) => el('th', {scope: 'col'},
      el('button', {type: 'button', onclick: () => this.sortBy(i)}, name), unit && el('small', {}, unit)));
    this.element = el('div', {class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'all rows'}, el('table', {class: 'listing board'},
      el('caption', {}, 'Rows on a Pareto front above are marked. Lost and won: right with the exact cache and wrong here, and the reverse. ' +
        'Choose a heading to sort.'), el('thead', {}, el('tr', {}, this.heads)), this.body));
  }

  // shown: [{row, tally}]; `best` has the rows on a front.
  fill(shown, best) {
    Object.assign(this, {shown, best});
    this.draw();
  }

  // First the best: most, or least by name.
  sortBy(column) {
    this.falling = this.by === column ? !this.falling : 'text' in COLUMNS[column];
    this.by = column;
    this.heads.forEach((head, i) => {
      if (i === column) head.setAttribute('aria-sort', this.falling ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    this.draw();
  }

  draw() {
    const order = [...this.shown];
    if (this.by !== null) {
      const {value} = COLUMNS[this.by];
      const sign = this.falling ? -1 : 1;
      order.sort((a, b) => {
        const [x, y] = [value(a.row, a.tally), value(b.row, b.tally)];
        return x === null || y === null ? compareValues(x, y) : sign * compareValues(x, y);  // what is missing stands last
      });
    }
    this.body.replaceChildren(...order.map(one => this.line(one)));
  }

  line({row, tally}) {
    const [, ...others] = COLUMNS;
    return el('tr', {class: [row.isControl && 'control', this.best.has(row) && 'best'].filter(Boolean).join(' ') || null},
      el('th', {scope: 'row'}, el('code', {}, row.recipe)), others.map(({value, text, small}) => {
        const figure = value(row, tally);
        if (figure === null) return el('td', {class: 'n'}, el('span', {class: 'none'}, '–'));
        if (!text) return el('td', {}, figure);
        const print = small?.(row, tally);
        return el('td', {class: 'n'}, text(figure), print && el('small', {}, print));
      }));
  }
}
