// The page of `cairn replay --plot`: what eviction policies would have made of traces. The figures stand in the page; nothing is
// asked of anybody, and names from them only ever become text.
import {byId, el} from '../dom.js';
import {curvesFigure} from './curves.js';
import {cleaned, countText, percentText, sizeText} from './figures.js';

const bytesText = bytes => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const unit = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  return `${unit === 0 ? sizeText(bytes) : (bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`;
};

function facts({format, requests, input_blocks: input, distinct_blocks: distinct, block_tokens: tokens, block_bytes: bytes}) {
  const all = [['Trace', `${format}, ${countText(requests)} requests`],
               ['Asked for', `${countText(input)} blocks of ${countText(tokens)} tokens, ${bytesText(bytes)} each`],
               ['Different ones', `${countText(distinct)}, those of outputs among them`]];
  return el('dl', {class: 'facts'}, all.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}

function figuresTable({rows, block_bytes: bytes}) {
  const columns = [['block hits', row => `${percentText(row.block_hit_rate)} %`], ['prefix hits', row => `${percentText(row.prefix_hit_rate)} %`],
                   ['token hits', row => `${percentText(row.token_hit_rate)} %`], ['prefix tokens', row => `${percentText(row.prefix_token_hit_rate)} %`],
                   ['read', row => bytesText(row.blocks_read * bytes)], ['written', row => bytesText(row.blocks_written * bytes)],
                   ['evicted', row => bytesText(row.blocks_evicted * bytes)]];
  const head = ['capacity, policy', ...columns.map(([name]) => name)];
  return el('div', {class: 'scroll'}, el('table', {},
    el('caption', {}, 'A prefix hit has none but hits before it in its request, which is what attention can use. Only prefixes are read.'),
    el('thead', {}, el('tr', {}, head.map(name => el('th', {scope: 'col'}, name)))),
    el('tbody', {}, rows.map(row => el('tr', {},
      el('th', {scope: 'row'}, row.capacity_blocks === null ? 'without bounds' : `${countText(row.capacity_blocks)} blocks, ${row.policy}`),
      columns.map(([, text]) => el('td', {class: 'n'}, text(row))))))));
}

function addTrace(page, trace, id) {
  const figures = [
    curvesFigure(`${id}-blocks`, 'Block hits over capacity', 'Share of the blocks asked for that were there, whatever stood before them.',
                 trace.rows, row => row.block_hit_rate),
    curvesFigure(`${id}-tokens`, 'Reused tokens over capacity', 'Share of the prompts’ tokens that need not be computed: those of prefixes that were there whole.',
                 trace.rows, row => row.prefix_token_hit_rate)].filter(Boolean);
  page.append(el('section', {id}, el('h2', {}, trace.file), facts(trace),
    figures.map(figure => [el('h3', {}, figure.names[0].textContent), figure.element]), el('h3', {}, 'All figures'), figuresTable(trace)));
  figures.forEach(figure => figure.live());
}

function fillReplay() {
  const {traces} = cleaned(JSON.parse(byId('results').textContent));
  const page = byId('report');
  if (traces.length > 1) {
    page.append(el('nav', {'aria-label': 'Traces'}, traces.map(({file}, i) => el('a', {href: `#trace-${i + 1}`}, file))));
  }
  traces.forEach((trace, i) => addTrace(page, trace, `trace-${i + 1}`));
}

fillReplay();
