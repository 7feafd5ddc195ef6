// The page of `cairn eval report`: what each way to store a KV cache holds, and what the model still does with it. The results
// stand in the page; nothing is asked of anybody, and texts from them only ever become text.
import {byId, el} from '../dom.js';
import {cleaned, countText, divergenceText, intervalText, percentText, sizeText} from './figures.js';
import {isKld, modelsOf} from './results.js';
import {scatterFigure} from './scatter.js';
import {heatTables, kldTable, runsTable, suiteListing, summaryTable} from './tables.js';
import {turnsFigure} from './turns.js';

// Cells come as {fields, rows}, since there are thousands of them.
function unpacked(result) {
  for (const recipe of isKld(result) ? [] : result.recipes) {
    const {fields, rows} = recipe.cells;
    recipe.cells = rows.map(row => Object.fromEntries(row.map((value, i) => [fields[i], value])));
  }
  return result;
}

function judged({model}) {
  const {layers, kv_heads: heads, head_dim: width} = model;
  const facts = [
    ['Model', el('code', {}, model.file)], ['Weights digest', el('code', {}, model.weights_digest)],
    ['KV cache', `${countText(layers)} layers × ${countText(heads)} KV heads × ${countText(width)} values, keys and values: ` +
      `${countText(2 * layers * heads * width)} values per token`]];
  return el('dl', {class: 'facts'}, facts.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}

function compared(model) {
  const parts = [];
  if (model.comparedText) parts.push(`Divergence from the exact cache: ${model.comparedText}. `);
  if (model.kldLeftOut) parts.push('Rows of other texts, windows or contexts are only in the last tables. ');
  if (model.comparedSessions) {
    parts.push(`Accuracy: ${model.isHeadline ? 'multi-request, turns 2 to 5' : 'all modes, all turns'}, all tasks and contexts ` +
               `(${model.comparedSessions}). Retained: of the questions that the full cache (`, el('code', {}, model.fullRecipe),
               ') answers right, the share still answered right. ');
  }
  if (model.suiteLeftOut) parts.push('Suites with other settings are only in the last tables. ');
  return [el('p', {class: 'lead'}, parts, 'Bytes are what the cache really holds; a simulated damage holds what its codec stores.'),
          model.unequalItems && el('p', {}, el('strong', {},
            'The recipes were not asked equally many questions; compare their accuracies with care.'))];
}

function divergenceFigure(id, model) {
  const points = model.recipes.filter(({kld}) => kld).map(({label, isControl, kld}) => ({
    name: label, control: isControl, bytes: kld.bytes_per_token, y: kld.kl.mean,
    text: `${label}: ${sizeText(kld.bytes_per_token)} bytes per token, mean KL ${intervalText(kld.kl.mean, divergenceText)} nats`}));
  return points.length === 0 ? null : scatterFigure(
    id, 'Bytes per token against mean KL divergence', 'Mean KL(exact || recipe) per predicted token with 95 % intervals. ' +
    'A divergence of exactly zero has no place on a logarithmic axis and lies in the band below it.', points, false);
}

function retainedFigure(id, model) {
  const shown = model.recipes.filter(({suite, retained, askedTheSame}) => suite && retained && askedTheSame);
  const points = shown.map(({label, control, isControl, suite, retained, headline}) => ({
    name: label, control: isControl, y: retained,
    // What a page takes for a question alone, per token of it, is no size of a cache.
    bytes: control === 'no context' ? 0 : suite.bytes_per_token,
    text: `${label}: ${sizeText(suite.bytes_per_token)} bytes per token, retains ${intervalText(retained, percentText)} % of ` +
      countText(headline.retainedItems)}));
  return points.length === 0 ? null : scatterFigure(
    id, 'Bytes per token against retained accuracy', 'Share of the full cache\'s right answers that are still right, with 95 % ' +
    'intervals over the questions. Recipes of one size stand side by side where they would overlap.', points, true);
}

function addModel(page, model, id) {
  const figures = [];
  const shown = (title, figure) => {
    if (figure === null) return [];
    figures.push(figure);
    return [el('h3', {}, title), figure.element];
  };
  const heat = heatTables(model);
  page.append(el('section', {id},
    el('h2', {}, model.name), judged(model), runsTable(model), el('h3', {}, 'Summary'), compared(model), summaryTable(model),
    shown('Size and divergence', divergenceFigure(`${id}-divergence`, model)),
    shown('Size and retained accuracy', retainedFigure(`${id}-retained`, model)),
    shown('Accuracy by turn and by depth', turnsFigure(`${id}-turns`, model)),
    heat.length > 0 && [el('h3', {}, 'Retained accuracy by task'), heat],
    el('div', {class: 'all'}, el('h3', {}, 'All figures'), model.kld.map(kldTable),
       model.suites.flatMap(run => run.recipes.map(recipe => suiteListing(run, recipe))))));
  figures.forEach(figure => figure.live());
}

function fillPage() {
  const models = modelsOf(cleaned(JSON.parse(byId('results').textContent)).map(unpacked));
  const page = byId('report');
  if (models.length > 1) {
    page.append(el('nav', {'aria-label': 'Models'}, models.map(({name}, i) => el('a', {href: `#model-${i + 1}`}, name))));
  }
  models.forEach((model, i) => addModel(page, model, `model-${i + 1}`));
}

fillPage();
