// Results of several runs brought together: what was measured alike becomes the figures of one recipe.
import {countText} from './figures.js';

export const isLateTurn = ({turn}) => turn !== null && turn >= 2 && turn <= 5;
// SCBench's headline: the questions that come after the first, against a cache that was compressed before any of them.
const isHeadline = cell => cell.mode === 'multi-request' && isLateTurn(cell);

// Wilson's 95 % interval.
function wilson(right, items) {
  const z2 = 1.959963984540054 ** 2, share = right / items;
  const centre = (share + z2 / (2 * items)) / (1 + z2 / items);
  const half = Math.sqrt(z2 * (share * (1 - share) / items + z2 / (4 * items * items))) / (1 + z2 / items);
  return {value: share, low: Math.max(0, Math.min(share, centre - half)), high: Math.min(1, Math.max(share, centre + half))};
}

// Cells of the suite added up. A figure is null where nothing was asked.
export class Tally {
  constructor(cells) {
    Object.assign(this, {items: 0, right: 0, retainedItems: 0, kept: 0, lost: 0, won: 0, capHits: 0, scores: 0, tokens: 0});
    for (const cell of cells) {
      this.items += cell.items;
      this.right += Math.round((cell.accuracy ?? 0) * cell.items);
      this.retainedItems += cell.retained_items;
      this.kept += cell.kept;
      this.lost += cell.lost;
      this.won += cell.won;
      this.capHits += cell.cap_hits;
      this.scores += (cell.score ?? 0) * cell.items;
      this.tokens += (cell.answer_tokens ?? 0) * cell.items;
    }
  }

  get accuracy() { return this.items ? wilson(this.right, this.items) : null; }
  get retained() { return this.retainedItems ? wilson(this.kept, this.retainedItems) : null; }
  get score() { return this.items ? this.scores / this.items : null; }
  get answerTokens() { return this.items ? this.tokens / this.items : null; }
}

// "S2" before "S10": numbers without leading zeros sort as their length and then as text.
const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
export const byTask = (a, b) => a.task.length - b.task.length || compare(a.task, b.task) || compare(a.column, b.column);

// Numbers of the pairs {size, cost} that no other beats: is nowhere worse and somewhere better. By rising size; equal ones stay.
export function paretoFront(pairs) {
  const order = pairs.map((_, i) => i).sort((a, b) => pairs[a].size - pairs[b].size || pairs[a].cost - pairs[b].cost);
  const front = [];
  for (const i of order) {
    const last = pairs[front.at(-1)];
    if (!last || pairs[i].cost < last.cost || (pairs[i].size === last.size && pairs[i].cost === last.cost)) front.push(i);
  }
  return front;
}

// One recipe of one model. A control stands for itself.
class Recipe {
  constructor(recipe, control) {
    Object.assign(this, {recipe, control, kld: null, suite: null, headline: new Tally([]), retained: null});
    this.label = control ? `${recipe} (${control})` : recipe;
    this.isControl = control !== '';
    // Other controls ask other questions, so their shares do not belong into one picture with those of recipes.
    this.askedTheSame = ['', 'random eviction', 'no context'].includes(control);
  }

  get bytes() { return (this.kld ?? this.suite).bytes_per_token; }
}

const settingText = value => typeof value === 'string' ? value : JSON.stringify(value);

// [name, text] of the settings that say something.
export function settingsOf(run) {
  return Object.entries(run.settings).filter(([, value]) => value !== null).map(([name, value]) => {
    if (Array.isArray(value)) return [name, value.map(settingText).join(', ')];
    if (typeof value === 'object') return [name, Object.entries(value).map(([part, one]) => `${part} ${settingText(one)}`).join(', ')];
    return [name, settingText(value)];
  }).filter(([, text]) => text !== '');
}

const settingsWithout = (run, names) =>
  settingsOf(run).filter(([name]) => !names.includes(name)).map(([name, text]) => `${name} ${text}`).join(', ');

// The seed moves only the intervals; contexts and windows are told apart row by row.
function windowsText(run, row) {
  const settings = settingsWithout(run, ['contexts', 'seed', 'windows']);
  return `${run.text.file.split('/').at(-1)}, ${countText(row.windows)} windows of ${countText(row.context)} tokens, ` +
    `${countText(row.tokens)} of them predicted${settings && ` (${settings})`}`;
}

const sessionsText = run => settingsWithout(run, ['contexts', 'tasks', 'modes', 'contenders']);

// Only what was measured alike is compared. Of several such sets, the one that most recipes share, then the longest context,
// then the first. measured: [{set, context, recipe}]; gives {set, others}, or nothing.
function widest(measured) {
  const sets = new Map();
  for (const {set, context, recipe} of measured) {
    if (!sets.has(set)) sets.set(set, {set, context, recipes: new Set()});
    sets.get(set).recipes.add(recipe);
  }
  const better = (a, b) => b.recipes.size > a.recipes.size || (b.recipes.size === a.recipes.size && b.context > a.context);
  const all = [...sets.values()];
  return all.length ? {set: all.reduce((a, b) => better(a, b) ? b : a).set, others: all.length > 1} : null;
}

class Model {
  constructor(model) {
    Object.assign(this, {model, name: model.name || model.file, kld: [], suites: [], recipes: [], comparedText: '',
                         comparedSessions: '', fullRecipe: '', kldLeftOut: false, suiteLeftOut: false, isHeadline: false,
                         unequalItems: false});
  }

  join() {
    this.joinKld();
    this.joinSuites();
    this.addHeadlines();
    const rank = one => [one.isControl, one.recipe !== this.fullRecipe, -one.bytes, one.kld?.kl.mean.value ?? 0];
    this.recipes.sort((a, b) => rank(a).map((value, i) => value - rank(b)[i]).find(value => value !== 0) ?? 0);
    return this;
  }

  of(recipe, control) {
    let found = this.recipes.find(one => one.recipe === recipe && one.control === control);
    if (!found) this.recipes.push(found = new Recipe(recipe, control));
    return found;
  }

  joinKld() {
    const rows = this.kld.flatMap(run => run.rows.map(row => (
      {row, context: row.context, recipe: row.recipe, set: JSON.stringify([windowsText(run, row), run.text.tokens]), run})));
    const found = widest(rows);
    if (!found) return;
    this.kldLeftOut = found.others;
    for (const {row, run, set} of rows) {
      if (set !== found.set) continue;
      this.comparedText = windowsText(run, row);
      this.of(row.recipe, '').kld ??= row;
    }
  }

  joinSuites() {
    const found = widest(this.suites.flatMap(run => run.recipes.map(({recipe, control}) => (
      {set: sessionsText(run), context: 0, recipe: JSON.stringify([recipe, control])}))));
    if (!found) return;
    this.comparedSessions = found.set;
    this.suiteLeftOut = found.others;
    for (const run of this.suites.filter(one => sessionsText(one) === found.set)) {
      this.fullRecipe ||= run.recipes[0]?.recipe ?? '';
      for (const recipe of run.recipes) joinCells(this.of(recipe.recipe, recipe.control), recipe);
    }
  }

  // Of the suite's cells that are compared. What the full cache is compared with is itself, so its share has no interval.
  addHeadlines() {
    const measured = this.recipes.filter(({suite}) => suite);
    this.isHeadline = measured.some(({suite}) => new Tally(suite.cells.filter(isHeadline)).items > 0);
    let items = null;
    for (const one of measured) {
      one.headline = new Tally(one.suite.cells.filter(cell => this.isHeadline ? isHeadline(cell) : cell.turn !== null));
      one.retained = one.headline.retained;
      if (one.isControl) continue;  // some are asked other or fewer questions by design
      if (one.retained && one.recipe === this.fullRecipe) one.retained.low = one.retained.high = one.retained.value;
      this.unequalItems ||= items !== null && items !== one.headline.items;
      items = one.headline.items;
    }
  }
}

// The same cell of the same sessions twice, as of a full cache that several runs measured, is one measurement.
function joinCells(joined, recipe) {
  joined.suite ??= {...recipe, cells: []};
  const place = ({task, column, mode, context, turn, depth}) => JSON.stringify([task, column, mode, context, turn, depth]);
  const known = new Set(joined.suite.cells.map(place));
  for (const cell of recipe.cells) {
    if (known.has(place(cell))) continue;
    known.add(place(cell));
    joined.suite.cells.push(cell);
  }
}

export const isKld = result => result.format === 'cairn.eval.kld.v1';

// Runs by the digest of the weights. results: files of `cairn eval kld` and `suite`, each with its `source`.
export function modelsOf(results) {
  const models = new Map();
  const of = ({model}) => {
    if (!models.has(model.weights_digest)) models.set(model.weights_digest, new Model(model));
    return models.get(model.weights_digest);
  };
  for (const run of results.filter(isKld)) of(run).kld.push(run);
  for (const run of results.filter(result => !isKld(result))) of(run).suites.push(run);
  return [...models.values()].map(model => model.join());
}
