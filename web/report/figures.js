// Figures and names as the report writes them. One quantity has one number of decimals everywhere, so that columns line up.

const NARROW_SPACE = '\u202f';

// As printf rounds, so that a figure reads here as in a terminal: an exact half goes to the even digit.
function fixed(value, digits) {
  const exact = value.toFixed(60);
  const end = exact.length - 60 + digits;
  return /^50*$/.test(exact.slice(end)) && '02468'.includes(exact[end - 1]) ? exact.slice(0, end) : value.toFixed(digits);
}

const scientific = value => value.toExponential(1).replace('+', '');  // "3.1e-5"

// "1024", "12 288"
export function countText(value) {
  const digits = String(value);
  return digits.length <= 4 ? digits : digits.replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE);
}

// "3072", "12 288", "1024.5"
export function sizeText(value) {
  if (Number.isInteger(value) && value < 1e15) return countText(value);
  return value < 0.01 || value >= 1e15 ? scientific(value) : fixed(value, value < 10 ? 2 : 1);
}

// "0.0123", "3.1e-5", "0"
export function divergenceText(nats) {
  const size = Math.abs(nats);
  if (size === 0) return '0';
  return size < 1e-3 || size >= 1e4 ? scientific(nats) : fixed(nats, size < 1 ? 4 : 3);
}

// "93.4"; 100 and 0 only if it is all or nothing.
export function percentText(share) {
  const text = fixed(share * 100, 1);
  if (share < 1 && text === '100.0') return '99.9';
  return share > 0 && text === '0.0' ? '0.1' : text;
}

export const bitsText = bits => bits < 1e6 ? fixed(bits, 2) : scientific(bits);
export const perplexityText = value => value < 1e4 ? fixed(value, 2) : scientific(value);
export const ratioText = value => value < 1e4 ? fixed(value, 3) : scientific(value);
export const tickText = value =>
  value < 1e-4 || value >= 1e5 ? scientific(value).replace('.0', '') : String(Number(value.toPrecision(6)));
export const intervalText = ({value, low, high}, text) => `${text(value)} (${text(low)} to ${text(high)})`;

// Control characters, and marks that turn the direction of what follows, have no place in a name.
const UNFIT = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff]/g;

// A result file with all its texts, names of settings included, fit to be shown.
export function cleaned(json) {
  if (typeof json === 'string') return json.replace(UNFIT, '\ufffd');
  if (Array.isArray(json)) return json.map(cleaned);
  if (json === null || typeof json !== 'object') return json;
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [cleaned(name), cleaned(value)]));
}

// At most `max` characters: the middle gives way, since recipes differ at both ends.
export function shortened(text, max) {
  const all = [...text];
  if (all.length <= max) return text;
  const tail = Math.floor((max - 1) / 2);
  return [...all.slice(0, max - 1 - tail), '…', ...all.slice(-tail)].join('');
}
