// Accuracy by turn and by depth: a row of small panels per recipe.
import {svg} from '../dom.js';
import {levelLine, linear, pathThrough} from '../plot.js';
import {Figure, group, setHeight} from './figure.js';
import {countText, intervalText, percentText, shortened} from './figures.js';
import {Tally} from './results.js';

const ROW = 104, PANEL = 74, GAP = 22, TICKS = 44, HEAD = 50, PLACES = 46;
const NARROW = 720, NAMES = 190, NAME_LINE = 27;  // narrow: names stand above their panels, of which two lie side by side

const placeOf = (cell, facet) => facet.byTurn ? cell.turn : cell.depth;
const belongs = (cell, facet) => cell.mode === facet.mode && cell.items > 0 && placeOf(cell, facet) !== null;

function facetsOf(recipes) {
  const facets = [];
  for (const byTurn of [true, false]) {
    for (const mode of ['multi-request', 'multi-turn']) {
      const facet = {byTurn, mode};
      const found = recipes.flatMap(({suite}) => suite.cells.filter(cell => belongs(cell, facet)).map(cell => placeOf(cell, facet)));
      if (found.length) facets.push({...facet, places: [...new Set(found)].sort((a, b) => a - b)});
    }
  }
  return facets;
}

// [{place, accuracy, items}] of the places at which the recipe was asked something.
function stepsOf({suite}, facet) {
  const cells = Map.groupBy(suite.cells.filter(cell => belongs(cell, facet)), cell => placeOf(cell, facet));
  return facet.places.filter(place => cells.has(place)).map(place => {
    const {accuracy, items} = new Tally(cells.get(place));
    return {place, accuracy, items};
  });
}

function stepText(recipe, {byTurn, mode}, {place, accuracy, items}) {
  const where = byTurn ? `turn ${place}` : `fifth ${place + 1} of the context`;
  return `${recipe.label}, ${mode}, ${where}: ${intervalText(accuracy, percentText)} % of ${countText(items)}`;
}

class Turns {
  constructor(recipes, facets, plot, width) {
    this.narrow = width < NARROW;
    Object.assign(this, {recipes, plot, perRow: this.narrow ? 2 : 4, names: this.narrow ? 0 : NAMES, row: ROW + (this.narrow ? NAME_LINE : 0)});
    this.panel = (width - this.names - TICKS - (this.perRow - 1) * GAP) / Math.max(2, Math.min(this.perRow, facets.length));
    this.panel = Math.min(this.panel, 400);
    // What does not fit beside the others comes below them, for all recipes again.
    this.bands = [];
    for (let i = 0; i < facets.length; i += this.perRow) this.bands.push(facets.slice(i, i + this.perRow));
    this.bandHeight = HEAD + this.row * recipes.length + PLACES;
    setHeight(plot, width, this.bandHeight * this.bands.length);
  }

  left(column) { return this.names + TICKS + column * (this.panel + GAP); }

  draw() {
    return this.bands.flatMap((facets, band) => {
      const top = band * this.bandHeight;
      facets.forEach((facet, column) => this.drawHead(facet, column, top));
      const marks = this.recipes.flatMap((recipe, i) => this.drawRecipe(recipe, facets, top + HEAD + i * this.row, i === 0));
      facets.forEach((facet, column) => this.drawFoot(facet, column, top + this.bandHeight - PLACES + 2));
      return marks;
    });
  }

  x(facet, column) {
    const first = facet.places[0], last = facet.places.at(-1);
    return linear(first, Math.max(last, first + 1), this.left(column) + 12, this.left(column) + this.panel - 12);
  }

  drawHead({byTurn, mode}, column, top) {
    this.plot.append(svg('text', {class: 'facet', x: this.left(column), y: top + 16}, byTurn ? 'by turn' : 'by depth of the answer'),
                     svg('text', {class: 'tick', x: this.left(column), y: top + 32}, mode));
  }

  drawRecipe(recipe, facets, top, isFirst) {
    this.drawName(recipe, top);
    const y = linear(1, 0, top + this.row - ROW, top + this.row - ROW + PANEL);
    return facets.flatMap((facet, column) => {
      const left = this.left(column), right = left + this.panel;
      this.plot.append(...[1, 0.5].flatMap(share => levelLine(y(share), left, right, column ? '' : share === 1 ? '100 %' : '50')),
                       svg('line', {class: 'axis', x1: left, x2: right, y1: y(0), y2: y(0)}));
      if (!column) this.plot.append(svg('text', {class: 'tick end', x: left - 6, y: y(0) + 4}, '0'));
      if (!isFirst) this.drawLine(this.recipes[0], facet, column, y, 'reference');
      this.drawLine(recipe, facet, column, y, recipe.isControl ? 'series control' : 'series');
      return stepsOf(recipe, facet).map(step => this.drawStep(recipe, facet, step, this.x(facet, column)(step.place), y));
    });
  }

  drawName(recipe, top) {
    const label = svg('text', {class: 'label', x: 0, y: this.narrow ? top + 12 : top + PANEL / 2 + (recipe.isControl ? -4 : 4)},
                      shortened(recipe.recipe, 24));
    const control = recipe.isControl && `control: ${shortened(recipe.control, 20)}`;
    this.plot.append(svg('g', {class: 'name'}, svg('title', {}, recipe.label), label));
    if (!control) return;
    const at = this.narrow ? {x: label.getComputedTextLength() + 10, y: top + 12} : {x: 0, y: top + PANEL / 2 + 13};
    this.plot.append(svg('text', {class: 'tick', ...at}, control));
  }

  drawLine(recipe, facet, column, y, kind) {
    const x = this.x(facet, column);
    const points = stepsOf(recipe, facet).map(({place, accuracy}) => ({x: x(place), y: y(accuracy.value)}));
    if (points.length > 1) this.plot.append(svg('path', {class: kind, d: pathThrough(points)}));
  }

  drawStep(recipe, facet, step, x, y) {
    const kind = recipe.isControl ? ' control' : ' best', text = stepText(recipe, facet, step);
    const {value, low, high} = step.accuracy;
    this.plot.append(group('step', recipe.label, text, svg('line', {class: `whisker${kind}`, x1: x, x2: x, y1: y(low), y2: y(high)}),
                           svg('circle', {class: `dot small${kind}`, cx: x, cy: y(value), r: 2.7})));
    return {x, y: y(value), text};
  }

  drawFoot(facet, column, y) {
    const {byTurn, places} = facet, x = this.x(facet, column);
    const shown = places.length > 10 ? [places[0], places.at(-1)] : places;
    this.plot.append(...shown.map(place => svg('text', {class: 'tick middle', x: x(place), y}, byTurn ? place : place + 1)),
                     svg('text', {class: 'tick middle', x: this.left(column) + this.panel / 2, y: y + 19},
                         byTurn ? 'turn' : this.panel < 170 ? 'fifth, 1: oldest' : 'fifth of the context, 1: oldest'));
  }
}

// null: there is nothing to draw.
export function turnsFigure(id, model) {
  const recipes = model.recipes.filter(recipe => recipe.suite && recipe.askedTheSame);
  const facets = facetsOf(recipes);
  if (facets.length === 0) return null;
  return new Figure({
    id, title: 'Accuracy by turn and by depth', draw: (plot, width) => new Turns(recipes, facets, plot, width).draw(),
    caption: 'Accuracy in %, over all tasks and contexts, with 95 % intervals. The grey line repeats the full cache.',
    description: 'A row of panels per recipe. Points are accuracies with 95 % intervals; the grey line is the full cache. The tables below hold all figures.'});
}
