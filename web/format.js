// Figures as people read them.

export const count = value => Math.round(value).toLocaleString('en-US');

// "128 KiB": 1024 steps, three digits.
export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    ++unit;
  }
  return `${Number(value.toFixed(unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2))} ${units[unit]}`;
}

// "8 ms", "340 ms", "2.15 s", "3 min 5 s"
export function seconds(value) {
  if (value > 0 && value < 0.0095) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(2)} s`;
  return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

export function duration(value) {
  if (value < 60) return `${Math.floor(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${Math.floor(value % 3600 / 60)} min`;
  return `${Math.floor(value / 86400)} d ${Math.floor(value % 86400 / 3600)} h`;
}

export const percent = share => `${(share * 100).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
export const rate = value => value >= 100 || value === 0 ? count(value) : value.toFixed(1);
export const clock = unix => new Date(unix * 1000).toLocaleTimeString([], {hour12: false});
export const plural = (number, one, many = one + 's') => `${count(number)} ${number === 1 ? one : many}`;
export const tenantName = name => name === '' ? 'all clients' : name;

// The first words of a text on one line.
export const oneLine = text => text.replace(/\s+/g, ' ').trim();
