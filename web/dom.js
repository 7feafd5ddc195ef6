// Elements without HTML text: text from the server or from a person becomes a text node.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.setAttribute('class', value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter(child => child !== undefined && child !== null && child !== false));
  return element;
}

export const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);
export const byId = id => document.getElementById(id);

// Draws anew only what has changed, so that a reader's selection and place stay.
export function redraw(element, content, make) {
  const key = JSON.stringify(content);
  if (element.drawn === key) return;
  element.drawn = key;
  element.replaceChildren(...make());
}

// A figure that is shown: the exact value stays with it, for tools that read the page.
export function show(element, text, exact) {
  if (element.textContent !== text) element.textContent = text;
  if (exact !== undefined) element.dataset.value = String(exact);
}
