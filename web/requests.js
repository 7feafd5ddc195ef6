// The latest requests, and of each: what was reused, loaded and computed, and how long that took.
import {getJson} from './api.js';
import {byId, el} from './dom.js';
import {clock, count, percent, plural, rate, seconds} from './format.js';

const shortEndpoint = endpoint => endpoint.replace('/v1/', '').replace('chat/completions', 'chat');
const share = record => record.usage.prompt_tokens ? record.usage.prompt_tokens_details.cached_tokens / record.usage.prompt_tokens : 0;
const ending = record => record.client_gone ? 'client left' : record.error ? 'error' : record.finish_reason || 'unknown';

const NUMBERS = new Set(['prompt', 'answer', 'first token', 'in all']);

let shown = '';
export function showRequests({requests}) {
  const now = requests.map(record => record.id).join();
  if (now === shown) return;
  shown = now;
  byId('no-requests').hidden = requests.length > 0;
  byId('request-table').hidden = requests.length === 0;
  byId('request-rows').replaceChildren(...requests.map(record => {
    const {usage, timing} = record;
    const cell = (label, ...content) => el('td', {'data-label': label, class: NUMBERS.has(label) && 'number'}, ...content);
    const meter = el('span', {class: 'meter', 'aria-hidden': 'true'}, el('span', {class: 'hue-1'}));
    meter.firstChild.style.width = `${share(record) * 100}%`;
    return el('tr', {},
              el('th', {scope: 'row'}, el('a', {href: `#request/${record.id}`}, clock(record.started), el('span', {class: 'hidden'}, ', why'))),
              cell('what', shortEndpoint(record.endpoint)), cell('prompt', count(usage.prompt_tokens)),
              cell('cached', meter, percent(share(record))), cell('answer', count(usage.completion_tokens)),
              cell('first token', timing.first_token_s ? seconds(timing.first_token_s) : '–'), cell('in all', seconds(timing.total_s)),
              cell('end', ending(record)));
  }));
}

// Widths follow values; a legend with the same figures stands below.
function stack(label, parts, format) {
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  const segments = parts.filter(part => part.value > 0).map(({name, value, hue}) => {
    const segment = el('span', {class: `segment hue-${hue}`, title: `${name}: ${format(value)}`});
    segment.style.flexGrow = value / total * 100;
    return segment;
  });
  return el('div', {class: 'bar tall', role: 'img', 'aria-label': `${label}: ${parts.map(({name, value}) => `${name} ${format(value)}`).join(', ')}`},
            segments);
}

function legendTable(parts, heads, format, total) {
  return el('table', {class: 'parts'}, el('thead', {}, el('tr', {}, heads.map(head => el('th', {scope: 'col'}, head)))),
            el('tbody', {}, parts.map(({id, name, note, value, hue}) =>
              el('tr', {}, el('th', {scope: 'row'}, el('span', {class: `swatch hue-${hue}`}), name, el('small', {}, note)),
                 el('td', {'data-part': id, 'data-value': value}, format(value)), el('td', {}, total > 0 ? percent(value / total) : '–')))));
}

function phasesOf({timing}) {
  const after = Math.max(timing.total_s - timing.queued_s - timing.load_s - timing.prefill_s, 0);
  return [
    {id: 'queued', name: 'Queued', note: 'until there was room for it', value: timing.queued_s, hue: 0},
    {id: 'load', name: 'Loading', note: 'blocks on their way from the store', value: timing.load_s, hue: 3},
    {id: 'prefill', name: 'Prompt', note: 'computing what was not cached', value: timing.prefill_s, hue: 2},
    {id: 'decode', name: 'Answer', note: 'token by token', value: after, hue: 4}];
}

function sourcesOf({usage}) {
  const {cached_tokens: cached, stored_tokens: stored} = usage.prompt_tokens_details;
  return [
    {id: 'memory', name: 'From memory', note: 'blocks that were still held', value: Math.max(cached - stored, 0), hue: 1},
    {id: 'stored', name: 'From the store', note: 'loaded and verified', value: stored, hue: 3},
    {id: 'computed', name: 'Computed', note: 'new, or no whole block', value: Math.max(usage.prompt_tokens - cached, 0), hue: 2}];
}

function explain(record) {
  const {usage, timing} = record;
  const phases = phasesOf(record), sources = sourcesOf(record);
  const tokens = value => plural(value, 'token');
  const after = timing.total_s - timing.first_token_s;
  const facts = [
    ['Request', record.id], ['X-Request-Id', record.request_id], ['Endpoint', record.endpoint + (record.stream ? ', as a stream' : '')],
    ['Began', new Date(record.started * 1000).toLocaleString()], ['Status', String(record.status)], ['Ended by', ending(record)],
    ['Choices', count(record.choices)], ['Answer', tokens(usage.completion_tokens) +
      (usage.completion_tokens > 1 && after > 0 && record.choices === 1 ? ` at ${rate((usage.completion_tokens - 1) / after)} tokens/s` : '')],
    ['First token', timing.first_token_s ? `after ${seconds(timing.first_token_s)}` : 'none'],
    ['Longest wait between tokens', timing.longest_gap_s ? seconds(timing.longest_gap_s) : '–'],
    ...(usage.preempted ? [['Preempted', plural(usage.preempted, 'time')]] : [])];
  return [
    el('p', {class: 'lead', id: 'explanation'}, record.explanation),
    record.error && el('p', {class: 'problem'}, record.error),
    el('section', {class: 'card'}, el('h2', {}, `Where ${tokens(usage.prompt_tokens)} of prompt came from`), stack('Prompt tokens', sources, tokens),
       legendTable(sources, ['Source', 'Tokens', 'Share'], count, usage.prompt_tokens)),
    el('section', {class: 'card'}, el('h2', {}, `Where ${seconds(timing.total_s)} went`), stack('Time', phases, seconds),
       legendTable(phases, ['Phase', 'Time', 'Share'], seconds, timing.total_s)),
    el('section', {class: 'card wide'}, el('h2', {}, 'Facts'),
       el('dl', {class: 'facts-list'}, facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, el('bdi', {}, value)))))),
  ].filter(Boolean);
}

export async function showRequest(id) {
  const view = byId('request-body');
  view.replaceChildren(el('p', {class: 'nothing'}, 'Asking the server…'));
  try {
    const record = await getJson(`/api/requests/${encodeURIComponent(id)}`);
    view.replaceChildren(...explain(record));
  } catch (error) {
    const text = error.status === 404 ? 'The server does not know this request, or has forgotten it: it keeps the latest 256.' : error.message;
    view.replaceChildren(el('p', {class: 'problem', role: 'alert'}, text, ' ',
                            el('button', {type: 'button', class: 'link', onclick: () => showRequest(id)}, 'Try again')));
  }
}

export function setUpRequests() {
  const heads = ['Began', 'What', 'Prompt', 'Cached', 'Answer', 'First token', 'In all', 'End'];
  byId('view-requests').append(
    el('h1', {}, 'Requests'), el('p', {class: 'lead'}, 'The latest of your requests. Open one to see what was reused, loaded and computed.'),
    el('p', {class: 'nothing', id: 'no-requests'}, 'None yet. Ask something in the chat, or call the API.'),
    el('table', {class: 'requests', id: 'request-table', hidden: true},
       el('thead', {}, el('tr', {}, heads.map(head => el('th', {scope: 'col', class: NUMBERS.has(head.toLowerCase()) && 'number'}, head)))), el('tbody', {id: 'request-rows'})));
  byId('view-request').append(el('p', {}, el('a', {href: '#requests', class: 'back'}, '← All requests')), el('h1', {}, 'Why it took this long'),
                         el('div', {class: 'grid two', id: 'request-body'}));
}
