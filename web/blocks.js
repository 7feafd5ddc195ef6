// The block map: which prefixes are held, by whom, in which tier, as a tree that opens.
import {getJson} from './api.js';
import {byId, el, show} from './dom.js';
import {bytes, count, oneLine, plural, tenantName} from './format.js';
import {BLOCK_TOKENS, buildTree, childrenOf} from './tree.js';

const MAX_BLOCKS = 20000, AT_A_TIME = 200, LEAST_WAIT = 2000, CONTEXT = 40;

let tree, summary, keys, problem, tiers = [], roots = [], rows = [];
let asked = -Infinity, wait = LEAST_WAIT, seen = '', shown = '', asking = false, again = false;
const open = new Set(), more = new Map();
let current = '';  // id of the item that Tab reaches

const shortTier = name => name.split(/[\s:]/)[0];

// One entry per visible row, in order.
function flatten(items, level, parent, into) {
  const limit = more.get(parent) ?? AT_A_TIME;
  items.slice(0, limit).forEach((item, i) => {
    into.push({...item, level, parent, position: i + 1, of: items.length});
    if (open.has(item.id)) flatten(childrenOf(item), level + 1, item.id, into);
  });
  if (items.length > limit) {
    into.push({kind: 'more', id: `more:${parent}`, level, parent, position: limit + 1, of: items.length, left: items.length - limit});
  }
  return into;
}

const badge = (text, title, hue) => el('span', {class: `badge hue-${hue}`, title}, text);

function badges(blocks) {
  const found = [badge('memory', 'in the memory of this server', 1)];
  tiers.forEach((tier, t) => {
    if (!tier.known) return found.push(badge(`${shortTier(tier.name)} ?`, `${tier.name} did not say in time`, 0));
    const number = blocks.filter(block => block.tiers?.includes(t)).length;
    if (number === 0) return undefined;
    return found.push(badge(number === blocks.length ? shortTier(tier.name) : `${shortTier(tier.name)} ${number}/${blocks.length}`, tier.name, 3));
  });
  return found;
}

const usedBy = users => users === 0 ? 'not in use' : `used by ${plural(users, 'sequence')}`;

function describe(item) {
  const {kind, node, block, left} = item;
  if (kind === 'more') return {text: `${count(left)} more`, meta: 'show them', marks: []};
  if (kind === 'many') return {text: `The ${count(node.blocks.length)} blocks of this prefix`, meta: '', marks: []};
  const blocks = kind === 'single' ? [block] : node.blocks;
  const start = blocks[0].depth * BLOCK_TOKENS;
  const tokens = kind === 'single' ? block.tokens : node.tokens;
  const parts = [kind === 'single' || start > 0 ? `tokens ${count(start)} to ${count(start + tokens - 1)}` : plural(tokens, 'token'),
                 kind === 'chain' && plural(blocks.length, 'block'), bytes(kind === 'single' ? block.bytes : node.bytes),
                 usedBy(kind === 'single' ? block.users : node.users),
                 kind === 'chain' && node.children.length > 0 && plural(node.children.length, 'branch', 'branches')];
  return {text: beginning(item, blocks[0].text), meta: parts.filter(Boolean).join(' · '), marks: badges(blocks), quoted: true};
}

// Its beginning, or the place where others beside it go on with something else.
function beginning({kind, node}, text) {
  if (kind !== 'chain' || node.shared < CONTEXT) return oneLine(text) || '(blank)';
  const from = text.lastIndexOf(' ', Math.max(node.shared - CONTEXT, 0)) + 1;
  return `… ${oneLine(text.slice(from))}`;
}

const opens = item => item.kind !== 'more';

// What a single block has to tell when it is open.
function details(item) {
  const block = item.kind === 'single' ? item.block : item.kind === 'chain' && item.node.blocks.length === 1 ? item.node.blocks[0] : null;
  if (!block || !open.has(item.id)) return null;
  return el('span', {class: 'details'}, el('span', {class: 'whole', dir: 'auto'}, block.text.trim()),
            el('span', {class: 'note'}, `key ${block.key.slice(0, 24)}… · depth ${count(block.depth)} · ${count(block.bytes)} bytes`));
}

function rowOf(item) {
  const {text, meta, marks, quoted} = describe(item);
  const whole = details(item);
  const expanded = opens(item) ? String(open.has(item.id)) : undefined;
  const row = el('div', {
    role: 'treeitem', class: `node ${item.kind}`, 'data-id': item.id, tabindex: item.id === current ? 0 : -1,
    'aria-level': item.level, 'aria-posinset': item.position, 'aria-setsize': item.of, 'aria-expanded': expanded,
    'aria-selected': item.id === current,
    'aria-label': [whole ? whole.textContent : text, meta, marks.map(mark => mark.title).join(', ')].filter(Boolean).join(', ')},
    el('span', {class: 'twist', 'aria-hidden': 'true'}),
    el('span', {class: 'body'}, whole ?? el('bdi', {class: quoted ? 'text' : 'text plain'}, text),
       el('span', {class: 'meta'}, el('span', {}, meta), ...marks)));
  row.style.setProperty('--level', item.level - 1);
  return row;
}

function draw(focus = false) {
  rows = flatten(roots.map(node => ({kind: 'chain', id: node.id, node})), 1, '', []);
  if (!rows.some(row => row.id === current)) current = rows[0]?.id ?? '';
  const held = focus || tree.contains(document.activeElement);
  tree.replaceChildren(...rows.map(rowOf));
  if (held) [...tree.children].find(row => row.dataset.id === current)?.focus({preventScroll: !focus});
}

function moveTo(id) {
  for (const row of tree.children) {
    const here = row.dataset.id === id;
    if (here || row.tabIndex === 0) {
      row.tabIndex = here ? 0 : -1;
      row.setAttribute('aria-selected', String(here));
    }
    if (here) row.focus();
  }
  current = id;
}

function toggle(item, to = !open.has(item.id)) {
  current = item.id;
  if (item.kind === 'more') {
    more.set(item.parent, (more.get(item.parent) ?? AT_A_TIME) + AT_A_TIME);
    const index = rows.findIndex(row => row.id === item.id);
    draw();
    if (rows[index]) moveTo(rows[index].id);
    return;
  }
  if (to) open.add(item.id);
  else open.delete(item.id);
  draw(true);
}

const KEYS = {
  ArrowDown: (item, i) => rows[i + 1] && moveTo(rows[i + 1].id),
  ArrowUp: (item, i) => rows[i - 1] && moveTo(rows[i - 1].id),
  ArrowRight: (item, i) => {
    if (opens(item) && !open.has(item.id)) toggle(item, true);
    else if (rows[i + 1]?.level > item.level) moveTo(rows[i + 1].id);
  },
  ArrowLeft: item => {
    if (open.has(item.id)) toggle(item, false);
    else if (item.parent) moveTo(item.parent);
  },
  Home: () => moveTo(rows[0].id),
  End: () => moveTo(rows.at(-1).id),
  Enter: item => toggle(item),
  ' ': item => toggle(item),
};

function onKey(event) {
  const i = rows.findIndex(row => row.id === current);
  if (i < 0 || !KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key](rows[i], i);
}

function onClick(event) {
  const id = event.target.closest('[role=treeitem]')?.dataset.id;
  const item = rows.find(row => row.id === id);
  // A click that ends a selection of text does not close the block.
  if (item && !(event.target.closest('.details') && String(getSelection()))) toggle(item);
}

function summarise(blocks, tenant) {
  const total = blocks.reduce((sum, block) => sum + block.bytes, 0);
  const tokens = blocks.reduce((sum, block) => sum + block.tokens, 0);
  const used = blocks.filter(block => block.users > 0).length;
  const figure = (name, text, exact) => {
    const element = el('b', {'data-figure': name});
    show(element, text, exact);
    return element;
  };
  const stored = tiers.map((tier, t) => {
    const number = blocks.filter(block => block.tiers?.includes(t)).length;
    return el('span', {}, tier.known ? figure(`in:${t}`, count(number), number) : '?', ` also in ${tier.name}`);
  });
  summary.replaceChildren(
    el('span', {}, figure('blocks', count(blocks.length), blocks.length), ` ${blocks.length === 1 ? 'block' : 'blocks'} held for `, el('bdi', {}, tenantName(tenant))),
    el('span', {}, figure('tokens', count(tokens), tokens), ' tokens'), el('span', {}, figure('bytes', bytes(total), total)),
    el('span', {}, figure('used', count(used), used), ' in use'), ...stored);
}

function take(reply) {
  const text = JSON.stringify(reply);
  if (text === shown) return;
  shown = text;
  tiers = reply.tiers ?? [];
  roots = buildTree(reply.blocks);
  summarise(reply.blocks, reply.tenant);
  tree.hidden = summary.hidden = keys.hidden = roots.length === 0;
  byId('no-blocks').hidden = roots.length > 0;
  draw();
}

async function refresh() {
  asking = true;
  asked = performance.now();
  try {
    take(await getJson(`/api/blocks?max=${MAX_BLOCKS}&tiers=1`));
    problem.hidden = true;
    wait = Math.max(LEAST_WAIT, 10 * (performance.now() - asked));  // a large cache is not asked all the time
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    seen = '';
  }
  asking = false;
}

export function setUpBlocks() {
  tree = el('div', {role: 'tree', class: 'tree', 'aria-label': 'Prefixes in memory', onkeydown: onKey, onclick: onClick, hidden: true});
  summary = el('p', {class: 'summary'});
  keys = el('p', {class: 'note', hidden: true}, 'Arrow keys move, → opens, ← closes, Enter does either.');
  problem = el('p', {class: 'problem', role: 'alert', hidden: true});
  byId('view-blocks').append(
    el('h1', {}, 'Blocks'),
    el('p', {class: 'lead'}, `What the server remembers, ${BLOCK_TOKENS} tokens to a block. A prompt that begins like one of these is not computed again.`),
    summary, problem, el('p', {class: 'nothing', id: 'no-blocks', hidden: true}, `Nothing yet. A prompt of at least ${BLOCK_TOKENS} tokens leaves its first block here.`), tree, keys);
}

// Asks again only when the server says that something has changed, or now and then for the tiers. A block is written to
// the store a little later than it is held: a key that does not see the writes asks once more after each change.
export function showBlocks(state) {
  const {index} = state?.tenant ?? {};
  if (!index || asking) return;
  const now = [index.blocks, index.inserted, index.evictions, state.loop.running, state.store?.writes].join();
  const age = performance.now() - asked;
  const changed = now !== seen;
  if (age < wait || !(changed || (again && tiers.length > 0) || age >= 10000)) return;
  again = changed && !state.store;
  seen = now;
  refresh();
}
