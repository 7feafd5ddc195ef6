// Asks the server how it is, about every second while the page is seen, and keeps what the charts need.
import {getJson} from './api.js';

const EVERY = 1000, SLOWEST = 8000, KEPT = 300;

export const samples = [];  // oldest first: what changes, at `t` milliseconds
let listeners = [], timer = 0, running = false, again = false, wait = EVERY, wanted = 0;

// `requests`: how many records of requests come with the state.
export const want = requests => { wanted = requests; };
// Called with (state, error): one of them is null.
export const onState = listener => { listeners.push(listener); };

function sample(state) {
  const {loop, tenant} = state;
  samples.push({
    t: performance.now(), started: Date.now() / 1000 - state.uptime_s,
    generated: tenant?.generated_tokens ?? 0, prompt: tenant?.prompt_tokens ?? 0, cached: tenant?.cached_tokens ?? 0,
    running: loop.running, waiting: loop.waiting, passes: loop.passes ?? 0, prefillRows: loop.prefill_rows ?? 0,
    decodeRows: loop.decode_rows ?? 0, used: tenant?.kv_bytes ?? 0,
    held: tenant ? Math.min(tenant.index.bytes, tenant.kv_bytes) : 0, p50: state.first_token.requests ? state.first_token.p50_s : null,
    p95: state.first_token.requests ? state.first_token.p95_s : null,
  });
  // Counters of a server that was started anew begin again.
  const before = samples.at(-2);
  if (before && samples.at(-1).started - before.started > 3) samples.splice(0, samples.length - 1);
  if (samples.length > KEPT) samples.shift();
}

async function ask() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  again = false;
  clearTimeout(timer);
  let state = null, error = null;
  try {
    state = await getJson(`/api/state?requests=${wanted}`, AbortSignal.timeout(10000));
    sample(state);
    wait = EVERY;
  } catch (problem) {
    error = problem;
    wait = Math.min(wait * 1.6, SLOWEST);
  }
  running = false;
  if (error?.status === 401) wait = Infinity;  // until there is another key
  for (const listener of listeners) listener(state, error);
  if (again) askNow();
  else if (!document.hidden && wait !== Infinity) timer = setTimeout(ask, wait);
}

export function askNow() {
  wait = EVERY;
  ask();
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (!document.hidden) askNow();
});
