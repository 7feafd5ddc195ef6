// A conversation whose answers stream in.
import {ApiError, getJson, postStream} from './api.js';
import {byId, el} from './dom.js';
import {count, percent, plural, rate, seconds} from './format.js';

let log, box, send, stop, temperature, limit, empty;
let messages = [];      // as the API wants them
let controller = null;  // while an answer streams

export function setModel(model) {
  if (empty.dataset.model === model.id) return;
  empty.dataset.model = model.id;
  empty.querySelector('h1').textContent = `Talk to ${model.id}`;
  empty.querySelector('p').textContent =
    `It holds ${count(model.context)} tokens of conversation. What was computed before is kept: the line under an ` +
    'answer tells how much of the prompt came from the cache.';
}

function bubble(role, text) {
  const body = el('div', {class: 'text', dir: 'auto'}, text);
  const message = el('article', {class: `message ${role}`},
                     el('h2', {class: 'hidden'}, role === 'user' ? 'You' : 'Answer'), body);
  log.append(message);
  return {message, body};
}

const toEnd = () => { log.scrollTop = log.scrollHeight; };

// Where the reader is: at the end until they scroll away. It outlives another view, which takes the place from the log,
// and a phone's keyboard, which takes half of the room.
const place = {end: true, top: 0};
function keepPlace() {
  log.addEventListener('scroll', () => {
    if (log.clientHeight === 0) return;
    place.top = log.scrollTop;
    place.end = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  });
  new ResizeObserver(() => {
    if (place.end) toEnd();
    else log.scrollTop = place.top;
  }).observe(log);
}

// The record is there before the last byte; the server needs a moment to see that a client has left.
async function recordOf(id, stopped) {
  for (let tries = 0; tries < 10; ++tries) {
    if (stopped || tries > 0) await new Promise(resolve => setTimeout(resolve, 400));
    try {
      return await getJson(`/api/requests/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) return null;
    }
  }
  return null;
}

function factsOf(record) {
  const {usage, timing} = record;
  const details = usage.prompt_tokens_details;
  const facts = [el('span', {'data-fact': 'tokens'}, plural(usage.completion_tokens, 'token'))];
  if (timing.first_token_s > 0 && usage.completion_tokens > 0) {
    const share = usage.prompt_tokens ? details.cached_tokens / usage.prompt_tokens : 0;
    facts.push(el('span', {'data-fact': 'cached'},
                  `${count(details.cached_tokens)} of ${plural(usage.prompt_tokens, 'prompt token')} cached (${percent(share)})`));
    if (details.stored_tokens) facts.push(el('span', {'data-fact': 'stored'}, `${count(details.stored_tokens)} from the store`));
    facts.push(el('span', {'data-fact': 'first'}, `first after ${seconds(timing.first_token_s)}`));
  }
  const after = timing.total_s - timing.first_token_s;
  if (usage.completion_tokens > 1 && after > 0)
    facts.push(el('span', {'data-fact': 'rate'}, `${rate((usage.completion_tokens - 1) / after)} tokens/s`));
  return facts;
}

async function addFacts(message, id, stopped) {
  const line = el('p', {class: 'facts'}, stopped && el('span', {}, 'stopped'));
  message.append(line);
  const follow = place.end;
  const record = await recordOf(id, stopped);
  if (record) line.append(...factsOf(record), el('a', {href: `#request/${id}`}, 'why'));
  if (follow) toEnd();
}

function addProblem(message, text, again) {
  message.append(el('p', {class: 'problem', role: 'alert'}, text, ' ',
                    el('button', {type: 'button', class: 'link', onclick: again}, 'Try again')));
  toEnd();
}

function setBusy(busy) {
  log.setAttribute('aria-busy', String(busy));
  send.hidden = busy;
  stop.hidden = !busy;
}

function request() {
  const body = {messages, stream: true, stream_options: {include_usage: true}};
  if (temperature.value !== '') body.temperature = Number(temperature.value);
  if (limit.value !== '') body.max_tokens = Number(limit.value);
  return body;
}

async function ask(text) {
  if (controller) return;
  const mine = controller = new AbortController();
  empty.hidden = true;
  const asked = bubble('user', text);
  const before = messages;
  messages = [...messages, {role: 'user', content: text}];
  const {message, body} = bubble('assistant', '');
  message.classList.add('waiting');
  setBusy(true);
  toEnd();
  let answer = '', id = '', problem = null;
  const written = document.createTextNode('');
  body.append(written);
  try {
    await postStream('/v1/chat/completions', request(), mine.signal, event => {
      id = event.id;
      const piece = event.choices[0]?.delta?.content;
      if (!piece) return;
      const follow = place.end;
      answer += piece;
      written.appendData(piece);
      message.classList.remove('waiting');
      if (follow) toEnd();
    });
  } catch (error) {
    problem = error;
  }
  message.classList.remove('waiting');
  if (controller !== mine) return;  // another conversation has begun
  controller = null;
  setBusy(false);
  const stopped = problem?.name === 'AbortError';
  if (answer === '' && (stopped || !problem)) body.append(el('em', {class: 'muted'}, stopped ? 'Nothing yet.' : 'The model said nothing.'));
  if (id && (stopped || !problem)) addFacts(message, id, stopped);
  if (problem && !stopped) {
    messages = before;
    if (answer === '') body.remove();
    addProblem(message, problem.message, () => {
      if (controller) return;
      asked.message.remove();
      message.remove();
      ask(text);
    });
    return;
  }
  messages = [...messages, {role: 'assistant', content: answer}];
}

function begin() {
  controller?.abort();
  controller = null;
  messages = [];
  for (const message of log.querySelectorAll('.message')) message.remove();
  empty.hidden = false;
  setBusy(false);
  box.focus();
}

function submit() {
  const text = box.value;
  if (text.trim() === '' || controller) return;
  box.value = '';
  grow();
  ask(text);
}

function grow() {
  box.style.height = 'auto';
  box.style.height = `${Math.min(box.scrollHeight + 2, innerHeight * 0.4)}px`;
}

function onKey(event) {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
}

const number = (id, label, properties) => [
  el('label', {for: id}, label), el('input', {id, type: 'number', inputmode: 'decimal', ...properties})];

export function setUpChat() {
  empty = el('div', {class: 'empty'}, el('img', {src: 'icon.svg', alt: '', width: 64, height: 64}), el('h1', {}, 'Chat'), el('p', {}));
  log = el('div', {class: 'log', role: 'log', 'aria-live': 'polite', 'aria-busy': 'false', 'aria-label': 'Conversation', tabindex: 0}, empty);
  box = el('textarea', {id: 'prompt', rows: 1, placeholder: 'Ask something', dir: 'auto', 'aria-describedby': 'prompt-keys',
                        onkeydown: onKey, oninput: grow});
  send = el('button', {type: 'submit', class: 'primary', id: 'send'}, 'Send');
  stop = el('button', {type: 'button', class: 'primary', id: 'stop', hidden: true, onclick: () => controller?.abort()}, 'Stop');
  const [temperatureLabel, temperatureField] = number('temperature', 'Temperature', {min: 0, max: 100, step: 'any', placeholder: 'default'});
  const [limitLabel, limitField] = number('limit', 'Most tokens', {min: 1, step: 1, value: 256, placeholder: 'no limit'});
  temperature = temperatureField;
  limit = limitField;
  byId('view-chat').append(
    log,
    el('form', {class: 'composer', onsubmit: event => { event.preventDefault(); submit(); }},
       el('div', {class: 'ask'}, el('label', {for: 'prompt', class: 'hidden'}, 'Message'), box, send, stop),
       el('div', {class: 'under'},
          el('details', {id: 'settings'}, el('summary', {}, 'Settings'),
             el('div', {class: 'fields'}, el('span', {class: 'field'}, temperatureLabel, temperature),
                el('span', {class: 'field'}, limitLabel, limit))),
          el('span', {id: 'prompt-keys', class: 'note'}, 'Enter sends, Shift+Enter breaks the line, Esc stops'),
          el('button', {type: 'button', id: 'new', class: 'quiet', onclick: begin}, 'New conversation'))));
  keepPlace();
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape' && controller && !document.querySelector('dialog[open]')) controller.abort();
  });
}

export const showChat = () => { if (matchMedia('(hover: hover)').matches) box.focus(); };
