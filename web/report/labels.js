// Places for the names of points, so that none covers another: greedy, so the points that matter come first.

const DISTANCES = [9, 14, 22, 32, 46, 64, 90, 125, 170];
const DIRECTIONS = 16;

// Boxes are {x, y, width, height}, with x and y of the upper left corner.
const overlap = (a, b, gap) =>
  a.x < b.x + b.width + gap && b.x < a.x + a.width + gap && a.y < b.y + b.height + gap && b.y < a.y + a.height + gap;

const distanceBetween = (a, b) => Math.hypot(Math.max(a.x - b.x - b.width, b.x - a.x - a.width, 0), Math.max(a.y - b.y - b.height, b.y - a.y - a.height, 0));

const inside = (box, bounds) => box.x >= bounds.x && box.y >= bounds.y && box.x + box.width <= bounds.x + bounds.width &&
  box.y + box.height <= bounds.y + bounds.height;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// The box whose nearest edge or corner lies `distance` from the point in direction `angle`.
function candidate({x, y, width, height}, distance, angle) {
  const dx = Math.cos(angle), dy = Math.sin(angle);
  const left = Math.abs(dx) < 0.2 ? 0.5 : dx > 0 ? 0 : 1;
  return {x: x + distance * dx - left * width, y: y + distance * dy - (1 - dy) / 2 * height, width, height};
}

// A leader that runs through another label would name the wrong point.
function leaderCrosses(request, box, labels) {
  const x = clamp(request.x, box.x, box.x + box.width), y = clamp(request.y, box.y, box.y + box.height);
  for (let i = 1; i < 12; ++i) {
    const at = {x: request.x + i / 12 * (x - request.x), y: request.y + i / 12 * (y - request.y), width: 0, height: 0};
    if (labels.some(label => overlap(at, label, 1))) return true;
  }
  return false;
}

// For each request {x, y, width, height} a box or null where there is no room: within `bounds`, over no other label and no box
// of `marks`, rather over none of `lines`, near its point and no other.
export function placeLabels(requests, bounds, marks, lines) {
  const taken = [];
  return requests.map(request => {
    let best = null, bestCost = Infinity;
    for (const distance of DISTANCES) {
      for (let direction = 0; direction < DIRECTIONS; ++direction) {
        const angle = 2 * Math.PI * direction / DIRECTIONS;
        const box = candidate(request, distance, angle);
        if (!inside(box, bounds) || marks.some(mark => overlap(box, mark, 1)) || taken.some(label => overlap(box, label, 2))) continue;
        const own = distanceBetween(box, {...request, width: 0, height: 0}) - 7;
        const cost = distance + 12 * Math.abs(Math.sin(angle)) + (Math.cos(angle) < -0.1 ? 3 : 0) +
          20 * lines.filter(line => overlap(box, line, 1)).length +
          25 * marks.filter(mark => distanceBetween(box, mark) < own).length;  // it would seem to name that one
        if (cost >= bestCost - 1e-9 || leaderCrosses(request, box, taken)) continue;
        [best, bestCost] = [box, cost];
      }
    }
    if (best) taken.push(best);
    return best;
  });
}

// Where the leader from a point to its label ends.
export const leaderEnd = ({x, y}, box) => ({x: clamp(x, box.x, box.x + box.width), y: clamp(y, box.y + 3, box.y + box.height - 3)});
