// The page of `cairn eval board`: what policies and codecs cost against the answers that stay right. The figures stand in the
// page; nothing is asked of anybody, and names from them only ever become text.
import {byId, el} from '../dom.js';
import {Filters} from './board_filters.js';
import {BoardRow, FAMILIES, hueOfFamily, isControlFamily} from './board_rows.js';
import {BoardTable} from './board_table.js';
import {cleaned, countText, intervalText, percentText, sizeText} from './figures.js';
import {paretoFront, settingsOf} from './results.js';
import {scatterFigure} from './scatter.js';

const kibText = bytes => sizeText(Math.round(bytes / 102.4) / 10);
const PLOTS = [
  {id: 'held', title: 'Bytes held against retained answers', cost: row => row.bytes_held / 1024, across: 'KiB held for a context (logarithmic)',
   text: row => `${kibText(row.bytes_held)} KiB held`,
   caption: 'What the pages of a finished context hold, open tail and rounding included, and boxes of keys that choose among them.'},
  {id: 'read', title: 'Bytes read per decode step against retained answers', cost: row => row.bytes_read / 1024,
   across: 'KiB read by a decode step (logarithmic)', text: row => `${kibText(row.bytes_read)} KiB read per step`,
   caption: 'What the pages hold, times the share of them that queries after the context read, and all boxes of keys.'},
  {id: 'speed', title: 'Tokens per second against retained answers', cost: row => row.speed, more: true,
   across: 'Answer tokens per second (logarithmic)', text: row => `${row.speed.toFixed(1)} tokens per second`,
   caption: 'A busy figure: several answers to a pass, several sessions at once. It compares rows of this run and nothing else.'}];

function boardFacts(board) {
  const {model, settings, version, commit, command} = board;
  const shown = settingsOf({settings}).filter(([name]) => !['contenders', 'left_out'].includes(name));
  const facts = [['Model', el('code', {}, model.file)], ['Weights digest', el('code', {}, model.weights_digest)],
                 ['Made by', [el('code', {}, command), `, version ${version}, commit `, el('code', {}, commit)]],
                 ['Settings', shown.map(([name, text]) => `${name} ${text}`).join(' · ')]];
  return el('dl', {class: 'facts'}, facts.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}

const pointOf = ({row, tally}, {cost, text}) => ({
  name: row.name, control: row.isControl, hue: hueOfFamily(row.family), bytes: cost(row), y: tally.retained,
  text: `${row.name}: ${text(row)}, retains ${intervalText(tally.retained, percentText)} % of ${countText(tally.retainedItems)}`});

class Board {
  constructor(board) {
    const exact = board.rows[0].bytes_held;
    this.rows = board.rows.map(row => new BoardRow(row, board.cell_fields, exact));
    this.filters = new Filters(this.rows, () => this.refresh());
    this.table = new BoardTable();
    this.said = el('p', {class: 'lead', 'aria-live': 'polite'});
    this.slots = PLOTS.map(() => el('div', {class: 'slot'}));
    byId('report').append(el('div', {},
      boardFacts(board), el('h2', {}, 'What is shown'), this.filters.element, this.said,
      PLOTS.map(({title}, i) => [el('h3', {}, title), this.slots[i]]), el('h3', {}, 'All rows that are shown'), this.table.element,
      board.settings.left_out.length > 0 && [el('h3', {}, 'Left out'), el('ul', {class: 'note'}, board.settings.left_out.map(line => el('li', {}, line)))]));
    this.refresh();
  }

  refresh() {
    const {asked, askedText} = this.filters;
    const shown = this.rows.filter(row => this.filters.shows(row)).map(row => ({row, tally: row.tally(asked)}));
    const items = Math.max(0, ...shown.map(({tally}) => tally.retainedItems));
    this.said.textContent = `${countText(shown.length)} of ${countText(this.rows.length)} rows; ${askedText}: ${countText(items)} questions ` +
      'that the exact cache answers, and of these the share that is still answered.';
    const best = new Set();
    PLOTS.forEach((plot, i) => this.draw(plot, this.slots[i], shown, best));
    this.table.fill(shown, best);
  }

  draw(plot, slot, shown, best) {
    const drawn = shown.filter(({row, tally}) => tally.retained && plot.cost(row) > 0);
    if (drawn.length === 0) return slot.replaceChildren(el('p', {class: 'note'}, 'There is nothing to draw.'));
    const candidates = drawn.filter(({row}) => !row.isControl);
    const sign = plot.more ? -1 : 1;
    for (const i of paretoFront(candidates.map(({row, tally}) => ({size: sign * plot.cost(row), cost: -tally.retained.value})))) {
      best.add(candidates[i].row);
    }
    const families = FAMILIES.filter(family => !isControlFamily(family) && drawn.some(({row}) => row.family === family));
    const figure = scatterFigure(`plot-${plot.id}`, plot.title, `${plot.caption} 95 % intervals are drawn for the front.`,
      drawn.map(one => pointOf(one, plot)), true,
      {title: plot.across, more: plot.more, crowded: true, controls: 'control or bound', legend: families.map(family => [hueOfFamily(family), family])});
    slot.replaceChildren(figure.element);
    figure.live();
  }
}

new Board(cleaned(JSON.parse(byId('results').textContent)));
