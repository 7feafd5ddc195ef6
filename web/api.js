// The server's API: one key for all calls, errors as one clear line, streams as events.

const KEY = 'cairn.key';

export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;  // 0: no answer at all
  }
}

let memory = '';  // where a browser forbids storage
export function storedKey() {
  try {
    return sessionStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}
export function storeKey(key) {
  memory = key;
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // It lasts as long as the page then.
  }
}

// Told of each 401; set by what asks for the key.
let onRefused = () => {};
export const whenRefused = listener => { onRefused = listener; };

async function explain(reply) {
  let said = '';
  try {
    said = (await reply.json()).error.message;
  } catch {
    // Not one of the API's own errors.
  }
  const wait = reply.headers.get('Retry-After');
  const what = {
    401: 'The server wants a valid API key.',
    403: `The server refuses: ${said}`,
    413: 'That is more text than the server takes.',
    429: `Too many requests are waiting. Try again${wait ? ` in ${wait} s` : ' soon'}.`,
    503: `The server is stopping or full. Try again${wait ? ` in ${wait} s` : ' soon'}.`,
  };
  return new ApiError(what[reply.status] ?? (said ? `The server says: ${said}` : `The server failed (${reply.status}).`),
                      reply.status);
}

async function call(path, options = {}) {
  const key = storedKey();
  const headers = {...options.headers, ...(key && {Authorization: `Bearer ${key}`})};
  let reply;
  try {
    reply = await fetch(path, {...options, headers, cache: 'no-store', credentials: 'omit'});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server does not answer. Is it still running?');
  }
  if (reply.ok) return reply;
  if (reply.status === 401) onRefused(key !== '');
  throw await explain(reply);
}

export async function getJson(path, signal) {
  const reply = await call(path, {signal});
  try {
    return await reply.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server stopped in the middle of its answer.');
  }
}

// Calls onEvent with the JSON of each event of a stream, up to [DONE].
export async function postStream(path, body, signal, onEvent) {
  const reply = await call(path, {
    method: 'POST', signal, body: JSON.stringify(body), headers: {'Content-Type': 'application/json'}});
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    let chunk;
    try {
      chunk = await reader.read();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      chunk = {done: true};
    }
    if (chunk.done) throw new ApiError('The connection broke in the middle of the answer.');
    const events = (rest + chunk.value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      for (const line of event.split('\n')) {
        if (!line.startsWith('data: ')) continue;
        if (line === 'data: [DONE]') return;
        const data = JSON.parse(line.slice(6));
        if (data.error) throw new ApiError(`The answer broke off: ${data.error.message}`, 500);
        onEvent(data);
      }
    }
  }
}
