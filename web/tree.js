// Blocks as a tree of prefixes: a chain without branches is one node. Knows nothing of the page.

export const BLOCK_TOKENS = 64;

class Node {
  constructor(blocks, children) {
    this.blocks = blocks;      // one after the other
    this.children = children;  // what follows the last of them
    this.id = `chain:${blocks[0].key}`;
    this.tokens = sum(blocks, block => block.tokens);
    this.bytes = sum(blocks, block => block.bytes);
    this.users = Math.max(...blocks.map(block => block.users));
    this.shared = 0;  // characters at its beginning that another node beside it has too
    this.below = sum(children, child => child.blocks.length + child.below);  // blocks
  }

  get start() { return this.blocks[0].depth * BLOCK_TOKENS; }
  // How many of its blocks a tier has.
  inTier(tier) { return this.blocks.filter(block => block.tiers?.includes(tier)).length; }
}

const sum = (list, value) => list.reduce((total, one) => total + value(one), 0);

// Roots are blocks whose parent is not in the list. Longest first, and the same order each time.
export function buildTree(blocks) {
  const following = new Map(blocks.map(block => [block.key, []]));
  const roots = [];
  for (const block of blocks) (following.get(block.parent) ?? roots).push(block);
  // Deepest blocks first, so that what follows a chain is there before it; nothing recurses however long a chain is.
  const made = new Map();
  const begins = block => !following.has(block.parent) || following.get(block.parent).length > 1;
  for (const block of blocks.filter(begins).sort((a, b) => b.depth - a.depth)) {
    const chain = [block];
    while (following.get(chain.at(-1).key).length === 1) chain.push(following.get(chain.at(-1).key)[0]);
    made.set(block.key, new Node(chain, inOrder(following.get(chain.at(-1).key).map(child => made.get(child.key)))));
  }
  return inOrder(roots.map(root => made.get(root.key)));
}

// Questions about one document begin alike within the block in which they part: what differs is to be seen.
function noteShared(nodes) {
  const byText = [...nodes].sort((a, b) => a.blocks[0].text < b.blocks[0].text ? -1 : 1);
  for (let i = 1; i < byText.length; ++i) {
    const [a, b] = [byText[i - 1].blocks[0].text, byText[i].blocks[0].text];
    let same = 0;
    while (same < a.length && a[same] === b[same]) ++same;
    if (same === a.length || same === b.length) same = 0;  // they differ behind what is shown
    byText[i - 1].shared = Math.max(byText[i - 1].shared, same);
    byText[i].shared = same;
  }
}

function inOrder(nodes) {
  noteShared(nodes);
  return nodes.sort((a, b) => b.blocks.length + b.below - a.blocks.length - a.below || (a.id < b.id ? -1 : 1));
}

// What opening a node shows: {kind, id, node, ...}.
//   chain:  a node; single: one of its blocks; many: the blocks of a chain that branches; more: nodes that are not shown yet
export function childrenOf(item) {
  const {kind, node} = item;
  const singles = () => node.blocks.map(block => ({kind: 'single', id: `block:${block.key}`, node, block}));
  if (kind === 'many') return singles();
  if (kind !== 'chain') return [];
  const branches = node.children.map(child => ({kind: 'chain', id: child.id, node: child}));
  if (node.blocks.length === 1) return branches;
  return branches.length === 0 ? singles() : [{kind: 'many', id: `many:${node.blocks[0].key}`, node}, ...branches];
}
