// What of a board is shown: a form of boxes for rows and of lists for questions.
import {el} from '../dom.js';
import {FAMILIES, questionsOf, valuesOf} from './board_rows.js';

const BOXES = [['family', 'Family'], ['policy', 'Policy'], ['codec', 'Codec'], ['budget', 'Budget']];
const LISTS = [['mode', 'Mode'], ['turns', 'Turns'], ['task', 'Task']];

export class Filters {
  constructor(rows, changed) {
    this.changed = changed;
    this.questions = questionsOf(rows);
    this.chosen = {mode: 0, turns: 0, task: 0};
    this.hidden = Object.fromEntries(BOXES.map(([field]) => [field, new Set()]));
    this.element = el('form', {class: 'filters card', 'aria-label': 'What is shown', onsubmit: event => event.preventDefault()},
      el('div', {class: 'lists'}, LISTS.map(([name, title]) => this.list(name, title))),
      BOXES.map(([field, title]) => this.boxes(field, title, valuesOf(rows, field))));
  }

  list(name, title) {
    const options = this.questions[name].map((one, i) => el('option', {value: String(i)}, one.name));
    return el('label', {}, title, el('select', {id: `filter-${name}`, onchange: event => {
      this.chosen[name] = Number(event.target.value);
      this.changed();
    }}, options));
  }

  boxes(field, title, values) {
    const order = field === 'family' ? FAMILIES.filter(family => values.includes(family)) : values;
    const inputs = order.map(value => {
      const input = el('input', {type: 'checkbox', checked: true, onchange: event => {
        this.hidden[field][event.target.checked ? 'delete' : 'add'](value);
        this.changed();
      }});
      return {value, input, label: el('label', {}, input, String(value))};
    });
    // The others of its kind go, or come back where they were gone already.
    const all = shown => () => {
      for (const {value, input} of inputs) {
        input.checked = shown;
        this.hidden[field][shown ? 'delete' : 'add'](value);
      }
      this.changed();
    };
    return el('fieldset', {'data-field': field}, el('legend', {}, title), inputs.map(({label}) => label), inputs.length > 3 &&
      [el('button', {type: 'button', onclick: all(true)}, 'all'), el('button', {type: 'button', onclick: all(false)}, 'none')]);
  }

  shows(row) { return BOXES.every(([field]) => !this.hidden[field].has(row[field])); }
  get asked() { return Object.fromEntries(LISTS.map(([name]) => [name, this.questions[name][this.chosen[name]].test])); }
  get askedText() { return LISTS.map(([name]) => this.questions[name][this.chosen[name]].name).join(', '); }
}
