// How the server is doing: figures, their last minutes, and where the bytes are.
import {Chart} from './chart.js';
import {byId, el, redraw, show} from './dom.js';
import {bytes, count, duration, percent, plural, rate, seconds, tenantName} from './format.js';
import {samples} from './state.js';

const SMOOTH = 3000, MINUTE = 60000;

const charts = {
  speed: new Chart('Tokens per second', {
    id: 'speed', series: [{name: 'answers', hue: 1}], least: 10, note: 'Tokens of your answers, mean of 3 seconds',
    format: (value, axis) => axis ? rate(value).replace(/\.0$/, '') : `${rate(value)} tokens/s`}),
  first: new Chart('Time to first token', {
    id: 'first', series: [{name: 'median', hue: 1}, {name: 'p95', hue: 2}], format: value => seconds(value),
    note: 'Of your latest requests'}),
  queue: new Chart('Queue', {
    id: 'queue', series: [{name: 'running', hue: 1}, {name: 'waiting', hue: 2}], format: count, whole: true, least: 2,
    note: 'Requests of all tenants'}),
  batch: new Chart('Batch occupancy', {
    id: 'batch', series: [{name: 'prompt rows', hue: 3}, {name: 'answer rows', hue: 1}], least: 4,
    whole: true, format: (value, axis) => axis ? count(value) : rate(value), note: 'Rows per pass, mean of 3 seconds'}),
  memory: new Chart('Memory', {
    id: 'memory', series: [{name: 'all', hue: 2}, {name: 'prefixes', hue: 1}], format: bytes, binary: true, least: 1 << 20,
    note: 'Keys and values of your requests'}),
  hits: new Chart('Hit rate', {
    id: 'hits', series: [{name: 'last minute', hue: 1}, {name: 'since the start', hue: 4}], format: percent, least: 1,
    note: 'Share of prompt tokens that were not computed'}),
};

// What was there about `window` milliseconds before each sample.
function over(window, value) {
  let first = 0;
  return samples.map((sample, i) => {
    while (first < i && sample.t - samples[first + 1].t >= window) ++first;
    return {t: sample.t, values: i === first ? value(sample, null) : value(sample, samples[first])};
  });
}

function drawCharts() {
  charts.speed.update(over(SMOOTH, (now, then) => [then && (now.generated - then.generated) / (now.t - then.t) * 1000]));
  charts.first.update(samples.map(({t, p50, p95}) => ({t, values: [p50, p95]})));
  charts.queue.update(samples.map(({t, running, waiting}) => ({t, values: [running, waiting]})));
  charts.batch.update(over(SMOOTH, (now, then) => {
    const passes = then ? now.passes - then.passes : 0;
    return passes ? [(now.prefillRows - then.prefillRows) / passes, (now.decodeRows - then.decodeRows) / passes] : [null, null];
  }));
  charts.memory.update(samples.map(({t, used, held}) => ({t, values: [used, held]})));
  charts.hits.update(over(MINUTE, (now, then) => {
    const asked = then ? now.prompt - then.prompt : 0;
    return [asked ? (now.cached - then.cached) / asked : null, now.prompt ? now.cached / now.prompt : null];
  }));
}

const figure = (name, text, exact) => {
  const element = el('b', {'data-figure': name});
  show(element, text, exact);
  return element;
};

function drawFigures({loop, tenant, first_token: first}) {
  const last = name => charts[name].points.at(-1)?.values ?? [];
  const set = (name, ...parts) => charts[name].figure.replaceChildren(...parts);
  const speed = last('speed')[0] ?? 0;
  set('speed', el('b', {}, rate(speed)), ' tokens/s');
  if (first.requests)
    set('first', figure('first_p50', seconds(first.p50_s), first.p50_s), ' median, ', figure('first_p95', seconds(first.p95_s), first.p95_s), ' p95');
  else set('first', el('b', {}, '–'), ' no requests yet');
  set('queue', figure('running', count(loop.running), loop.running), ` of ${count(loop.max_running)} running, `,
      figure('waiting', count(loop.waiting), loop.waiting), ' waiting');
  // A key among several tenants' is not told what the others do.
  if (loop.passes === undefined) set('batch', el('b', {}, '–'), ' for operators: --metrics-open');
  else set('batch', figure('last_batch', plural(loop.last_batch, 'request'), loop.last_batch), ' in the last pass');
  if (loop.max_rows) charts.batch.quiet = `Rows per pass, mean of 3 seconds; at most ${count(loop.max_rows)}`;
  if (tenant) set('memory', figure('kv_bytes', bytes(tenant.kv_bytes), tenant.kv_bytes), ` of ${bytes(tenant.kv_budget)}`);
  const hits = tenant?.prompt_tokens ? tenant.cached_tokens / tenant.prompt_tokens : 0;
  if (tenant?.prompt_tokens) set('hits', figure('hit_rate', percent(hits), hits), ' of prompt tokens cached');
  else set('hits', el('b', {}, '–'), ' no requests yet');
}

const facts = el('dl', {class: 'tiles'});
function drawFacts({loop, tenant, uptime_s: uptime, store}) {
  const rows = [
    ['Answered', 'finished', loop.finished, count], ['Cancelled', 'cancelled', loop.cancelled, count],
    ['Failed', 'failed', loop.failed, count], ['Refused', 'refused', loop.refused, count],
    ['Preempted', 'preempted', loop.preempted, count], ['Prompt tokens', 'prompt_tokens', tenant?.prompt_tokens ?? 0, count],
    ['Cached tokens', 'cached_tokens', tenant?.cached_tokens ?? 0, count],
    ['Stored tokens', 'stored_tokens', tenant?.stored_tokens ?? 0, count],
    ['Answer tokens', 'generated_tokens', tenant?.generated_tokens ?? 0, count],
    ['Passes', 'passes', loop.passes, count], ['Uptime', 'uptime_s', Math.floor(uptime), duration],
    ...(store ? [['Writes dropped', 'writes_dropped', store.writes_dropped, count],
                 ['Writes failed', 'writes_failed', store.writes_failed, count]] : [])].filter(row => row[2] !== undefined);
  redraw(facts, rows, () => rows.map(([label, name, value, format]) =>
    el('div', {}, el('dt', {}, label), el('dd', {}, figure(name, format(value), value)))));
}

// One place where bytes lie: parts of its budget side by side.
function bar(title, note, parts, budget) {
  const used = parts.reduce((sum, part) => sum + part.bytes, 0);
  const whole = Math.max(budget, used, 1);
  const told = parts.map(({name, bytes: size}) => `${name} ${bytes(size)}`).join(', ');
  const segments = parts.filter(part => part.bytes > 0).map(({bytes: size, hue}) => {
    const segment = el('span', {class: `segment hue-${hue}`});
    segment.style.width = `${size / whole * 100}%`;
    return segment;
  });
  return el('div', {class: 'bytes'},
            el('h3', {}, el('bdi', {}, title)), el('p', {class: 'note'}, el('bdi', {}, note)),
            el('div', {class: 'bar', role: 'img',
                       'aria-label': `${title}: ${told}; ${budget ? `of ${bytes(budget)}` : 'without a budget'}`}, segments),
            el('ul', {class: 'legend'}, parts.map(({name, bytes: size, hue, figure: id}) =>
              el('li', {}, el('span', {class: `swatch hue-${hue}`}), `${name} `, figure(id, bytes(size), size)))),
            el('p', {class: 'note'}, budget ? `${percent(used / budget)} of ${bytes(budget)}` : 'no budget of its own'));
}

const places = el('section', {class: 'card wide'});
function drawPlaces(state) {
  const {loop, tenants, store} = state;
  redraw(places, [loop.codec, tenants, store], () => [el('h2', {}, 'Bytes of keys and values'), ...barsOf(loop, tenants, store)]);
}

function barsOf(loop, tenants, store) {
  const bars = tenants.map(tenant => {
    const held = Math.min(tenant.index.bytes, tenant.kv_bytes);
    const sheets = Math.min(tenant.kv_sheet_bytes ?? 0, tenant.kv_bytes - held);
    const kept = Math.min(tenant.kept?.bytes ?? 0, tenant.kv_bytes - held - sheets);
    return bar(`Memory for ${tenantName(tenant.name)}`, `codec ${loop.codec}${tenant.kv_high_water ? `, peak ${bytes(tenant.kv_high_water)}` : ''}`, [
      {name: 'prefixes', bytes: held, hue: 1, figure: `memory:${tenant.name}:prefixes`},
      ...sheets ? [{name: 'sheets', bytes: sheets, hue: 3, figure: `memory:${tenant.name}:sheets`}] : [],
      ...kept ? [{name: 'kept prefixes', bytes: kept, hue: 4, figure: `memory:${tenant.name}:kept`}] : [],
      {name: 'running', bytes: tenant.kv_bytes - held - sheets - kept, hue: 2, figure: `memory:${tenant.name}:running`}], tenant.kv_budget);
  });
  for (const tier of store?.tiers ?? []) {
    const parts = [{name: plural(tier.blocks, 'block'), bytes: tier.bytes, hue: 3, figure: `tier:${tier.name}`}];
    const state = tier.resting ? 'left alone after a failure' : tier.note;
    const speed = tier.read_bytes_per_s ? `read at ${bytes(tier.read_bytes_per_s)}/s` : '';
    bars.push(bar(`Store: ${tier.name}`, [state, speed, `${count(tier.hits)} hits, ${count(tier.misses)} misses`].filter(Boolean).join(' · '),
                  parts, tier.budget));
  }
  return bars;
}

export function setUpDashboard() {
  byId('view-dashboard').append(el('h1', {}, 'Dashboard'), el('div', {class: 'grid'}, Object.values(charts).map(chart => chart.element)),
                           places, el('section', {class: 'card wide'}, el('h2', {}, 'Counted so far'), facts));
}

export function showDashboard(state) {
  if (!state) return;
  drawCharts();
  drawFigures(state);
  drawPlaces(state);
  drawFacts(state);
}
