// Which view is shown, the theme, the key, and what is said when the server is gone.
import {storedKey, storeKey, whenRefused} from './api.js';
import {setModel, setUpChat, showChat} from './chat.js';
import {setUpBlocks, showBlocks} from './blocks.js';
import {setUpDashboard, showDashboard} from './dashboard.js';
import {byId, show} from './dom.js';
import {setUpRequests, showRequest, showRequests} from './requests.js';
import {askNow, onState, want} from './state.js';

const VIEWS = {chat: 'Chat', dashboard: 'Dashboard', blocks: 'Blocks', requests: 'Requests', request: 'Request'};
let view = '', latest = null;

function showView(first = false) {
  const [name, ...rest] = location.hash.slice(1).split('/');
  view = Object.hasOwn(VIEWS, name) ? name : 'chat';
  for (const id of Object.keys(VIEWS)) byId(`view-${id}`).hidden = id !== view;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.view === (view === 'request' ? 'requests' : view)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${VIEWS[view]} – cairn`;
  document.body.dataset.view = view;
  want(view === 'requests' ? 100 : 0);
  if (view === 'request') showRequest(rest.join('/'));
  if (view === 'chat') showChat();
  else if (!first) byId('content').focus({preventScroll: true});
  byId('content').scrollTop = 0;
  if (latest) drawView(latest);
  if (!first) askNow();
}

function drawView(state) {
  if (view === 'dashboard') showDashboard(state);
  if (view === 'blocks') showBlocks(state);
  if (view === 'requests') showRequests(state);
}

function say(kind, text) {
  byId('server').dataset.state = kind;
  show(byId('server-text'), text);
}

function banner(text, button, onClick) {
  const box = byId('banner');
  box.hidden = text === '';
  show(byId('banner-text'), text);
  show(byId('banner-button'), button ?? '');
  byId('banner-button').onclick = onClick;
}

function onAnswer(state, error) {
  if (error) {
    if (error.status === 401) {
      say('refused', 'Key needed');
      banner('The server wants a valid API key.', 'Enter a key', () => askForKey(storedKey() !== ''));
    } else {
      say('gone', error.status === 0 ? 'No answer' : `Error ${error.status}`);
      banner(`${error.message} Trying again by itself.`, 'Try now', askNow);
    }
    return;
  }
  latest = state;
  banner('');
  say(state.draining ? 'draining' : 'well', state.draining ? 'Stopping' : state.model.id);
  byId('server').title = `${state.model.arch}, ${state.model.layers} layers, codec ${state.loop.codec}`;
  setModel(state.model);
  drawView(state);
}

function askForKey(wrong) {
  const dialog = byId('key-dialog');
  show(byId('key-why'), wrong ? 'The server does not know this key. Check it, or ask the operator of the server.'
                              : 'This server answers only those who have a key.');
  byId('key-dialog').dataset.wrong = String(wrong);
  if (dialog.open) return;
  byId('key').value = '';
  dialog.showModal();
}

function setUpKey() {
  const dialog = byId('key-dialog');
  whenRefused(askForKey);
  byId('key-later').addEventListener('click', () => dialog.close());
  byId('key-form').addEventListener('submit', event => {
    event.preventDefault();
    storeKey(byId('key').value.trim());
    dialog.close();
    askNow();
    if (view === 'request') showView();
  });
}

const THEMES = {auto: 'Auto', light: 'Light', dark: 'Dark'};
function setUpTheme() {
  const button = byId('theme');
  const tell = () => {
    const theme = document.documentElement.dataset.theme ?? 'auto';
    button.textContent = THEMES[theme];
    button.dataset.theme = theme;
    button.setAttribute('aria-label', `Theme: ${THEMES[theme]}. Change it`);
  };
  button.addEventListener('click', () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? 'auto') + 1) % names.length];
    if (next === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem('cairn.theme', next);
    } catch {
      // It lasts as long as the page then.
    }
    tell();
  });
  tell();
}

// The part after # names the view, so this link moves the focus alone.
document.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  byId('content').focus();
});
setUpTheme();
setUpKey();
setUpChat();
setUpDashboard();
setUpBlocks();
setUpRequests();
onState(onAnswer);
addEventListener('hashchange', () => showView());
showView(true);
askNow();
