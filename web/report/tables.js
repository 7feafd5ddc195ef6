// The tables of the report: runs, summary, what each task lost, and all figures.
import {el} from '../dom.js';
import {bitsText, countText, divergenceText, percentText, perplexityText, ratioText, shortened, sizeText} from './figures.js';
import {byTask, isLateTurn, settingsOf, Tally} from './results.js';

const MAX_NAME = 44;

// A name, shortened to what fits in a table.
export function nameOf(text) {
  const shown = shortened(text, MAX_NAME);
  return el('code', {title: shown !== text && text}, shown);
}

const none = () => el('td', {class: 'n'}, el('span', {class: 'none'}, '–'));
const cell = (text, small) => el('td', {class: 'n'}, text, small && el('small', {}, small));
const figure = (value, text) => value === null ? none() : cell(text(value));
const interval = (estimate, text) => estimate === null ? none()
  : cell(text(estimate.value), estimate.low !== estimate.high && `${text(estimate.low)}–${text(estimate.high)}`);

// heads: texts, or [text, text in small print below it].
function table(kind, caption, heads, rows) {
  const head = ([name, unit]) => el('th', {scope: 'col'}, name, unit && el('small', {}, unit));
  return el('div', {class: 'scroll', tabindex: 0, role: 'group', 'aria-label': kind}, el('table', {class: kind}, el('caption', {}, caption),
    el('thead', {}, el('tr', {}, heads.map(one => head(Array.isArray(one) ? one : [one])))), el('tbody', {}, rows)));
}

const recipeRow = (recipe, ...cells) => el('tr', {class: recipe.isControl && 'control'},
  el('th', {scope: 'row'}, nameOf(recipe.recipe), recipe.isControl && el('small', {}, `control: ${recipe.control}`)), ...cells);

export function runsTable(model) {
  const row = (run, kind, ...text) => el('tr', {}, el('th', {scope: 'row'}, nameOf(run.source)), el('td', {}, kind),
    el('td', {}, `${run.version} (`, el('code', {}, run.commit), ')'), el('td', {}, ...text),
    // The contenders are the recipes, which the summary names.
    el('td', {}, settingsOf(run).filter(([name]) => name !== 'contenders').map(([name, text]) => `${name} ${text}`).join(' · ')));
  return table('runs', 'The runs', ['File', 'Kind', 'cairn', 'Text', 'Settings'], [
    ...model.kld.map(run => row(run, 'divergence', nameOf(run.text.file), `, ${countText(run.text.tokens)} tokens`)),
    ...model.suites.map(run => row(run, 'suite', 'generated'))]);
}

// The two instruments see contexts of different lengths, whose open tails weigh differently.
function sizeCell({kld, suite}, name, text) {
  const first = text((kld ?? suite)[name]), second = suite && text(suite[name]);
  return cell(first, second && second !== first && `suite ${second}`);
}

export function summaryTable(model) {
  const row = recipe => {
    const {kld, suite, headline, retained} = recipe;
    return recipeRow(recipe, sizeCell(recipe, 'bytes_per_token', sizeText), sizeCell(recipe, 'bits_per_value', bitsText),
                     interval(kld && kld.kl.mean, divergenceText), interval(kld && kld.same_top1, percentText),
                     interval(kld && kld.perplexity_ratio, ratioText), interval(headline.accuracy, percentText),
                     interval(retained, percentText), figure(suite && headline.items, countText));
  };
  return table('summary', 'By recipe; 95 % intervals in small print',
               ['Recipe', ['Bytes', 'per token'], ['Bits', 'per value'], ['Mean KL', 'nats'], ['Same top-1', '%'], ['Perplexity', 'ratio'],
                ['Accuracy', '%'], ['Retained', '%'], 'Items'], model.recipes.map(row));
}

// More is darker: what is lost is what one looks for.
function heatCell(tally) {
  const {retained, kept, retainedItems} = tally;
  if (retained === null) return none();
  const heat = Math.min(Math.max(Math.floor((1 - retained.value) * 10), 0), 9);
  return el('td', {class: `n h${heat}`, title: `${countText(kept)} of ${countText(retainedItems)}, ${percentText(retained.low)} to ${percentText(retained.high)} %`},
            Math.round(retained.value * 100));
}

function heatTable(model, mode) {
  const recipes = model.recipes.filter(recipe => recipe.suite);
  const wanted = cell => cell.mode === mode && isLateTurn(cell);
  const keyOf = ({task, column}) => JSON.stringify([task, column]);
  const tasks = new Map(recipes.flatMap(({suite}) => suite.cells.filter(wanted).map(cell => [keyOf(cell), cell])));
  if (tasks.size === 0) return null;
  const columns = [...tasks.values()].sort(byTask);
  const row = recipe => {
    const cells = recipe.suite.cells.filter(wanted), of = Map.groupBy(cells, keyOf);
    return recipeRow(recipe, ...columns.map(task => heatCell(new Tally(of.get(keyOf(task)) ?? []))), heatCell(new Tally(cells)));
  };
  return table('heat', `${mode}, turns 2 to 5: of the questions that the full cache answers right, the share still answered right, in %. ` +
               'The stronger the colour, the more is lost.', ['Recipe', ...columns.map(({task, column}) => [task, column]), 'all'],
               recipes.filter(recipe => recipe.askedTheSame).map(row));
}

export const heatTables = model => ['multi-request', 'multi-turn'].map(mode => heatTable(model, mode)).filter(Boolean);

export function kldTable(run) {
  const row = ({recipe, context, windows, tokens, kl, ...of}) => el('tr', {},
    el('th', {scope: 'row'}, nameOf(recipe)), cell(countText(context), `${countText(windows)} windows`), cell(countText(tokens)),
    cell(sizeText(of.bytes_per_token), `${bitsText(of.bits_per_value)} bits`),
    ...['mean', 'median', 'p95', 'p99', 'max'].map(name => interval(kl[name], divergenceText)), interval(of.same_top1, percentText),
    interval(of.perplexity, perplexityText), interval(of.reference_perplexity, perplexityText), interval(of.perplexity_ratio, ratioText));
  return table('listing', ['Divergence, ', el('code', {}, run.source), ' on ', el('code', {}, run.text.file), '; KL in nats'],
               ['Recipe', ['Context', 'tokens'], ['Predicted', 'tokens'], ['Bytes', 'per token'], ['KL', 'mean'], ['KL', 'median'], ['KL', '95th pct.'],
                ['KL', '99th pct.'], ['KL', 'maximum'], ['Top-1', 'same, %'], 'Perplexity', ['Perplexity', 'exact cache'],
                ['Perplexity', 'ratio']], run.rows.map(row));
}

const byPlace = ([a], [b]) => byTask(a, b) || (a.mode < b.mode ? -1 : a.mode > b.mode ? 1 : 0) || a.context - b.context;

function suiteTable({recipe, control, cells}) {
  const groups = Map.groupBy(cells.filter(({turn}) => turn !== null), ({task, column, mode, context}) => JSON.stringify([task, column, mode, context]));
  const row = ([{task, column, mode, context}, tally]) => el('tr', {},
    el('th', {scope: 'row'}, column ? `${task} ${column}` : task), el('td', {}, mode), cell(countText(context)), cell(countText(tally.items)),
    figure(tally.score, percentText), interval(tally.accuracy, percentText), interval(tally.retained, percentText),
    cell(`${countText(tally.kept)} / ${countText(tally.retainedItems)}`), cell(countText(tally.lost)), cell(countText(tally.won)),
    cell(countText(tally.capHits)), figure(tally.answerTokens, sizeText));
  const rows = [...groups.values()].map(group => [group[0], new Tally(group)]).sort(byPlace).map(row);
  return table('listing suite', [el('code', {}, recipe), control && `, control: ${control}`,
                                 ', all turns; lost and won: right with the full cache and wrong here, and the reverse'],
               ['Task', 'Mode', ['Context', 'tokens'], 'Items', ['Score', '%'], ['Accuracy', '%'], ['Retained', '%'], ['Kept', 'of right'], 'Lost',
                'Won', 'Cap hits', ['Answer', 'tokens']], rows);
}

// What a recipe did at every task, behind its name.
export function suiteListing(run, recipe) {
  const facts = `${sizeText(recipe.bytes_per_token)} bytes per token · ${bitsText(recipe.bits_per_value)} bits per value · ` +
    `${percentText(recipe.kept)} % of the tokens kept · ${run.source}`;
  return el('details', {}, el('summary', {}, el('code', {}, recipe.recipe), recipe.control && `, control: ${recipe.control}`, ' ',
                              el('span', {class: 'note'}, facts)), suiteTable(recipe));
}
