// The paper under a picture's ink, bit by bit as `data/digits/paper.py` finds it. An image is {pixels, width, height}.

const PAPER_CELLS = 64; // of the grid on which uneven paper is found, along the picture's longer side
const PAPER_EVEN = 1; // grey levels
const PAPER_RIM_VOTES = 5;
const PAPER_LEAST = 4; // where the paper is darker than this part of its lightest, light is not made up for

/** What a picture's ink lies on: {level, bytes; isLight, whether ink is darker}. */
export function findPaper(grey) {
  return paperEven(grey) ?? paperUneven(grey);
}

/** How far each pixel differs from the paper to the ink's side, in grey levels where the paper is lightest. */
export function inkOn({ level, isLight }, { pixels }) {
  const made = new Int32Array(pixels.length);
  if (!isLight) return made.map((_, i) => Math.max(pixels[i] - level[i], 0));
  const lightest = Math.max(paperMost(level), 1);
  const floor = Math.max(Math.floor(lightest / PAPER_LEAST), 1);
  return made.map((_, i) => {
    const shade = Math.max(level[i], floor);
    return Math.floor((Math.max(level[i] - pixels[i], 0) * lightest + (shade >> 1)) / shade);
  });
}

/** By how many levels the lightest paper differs from the darkest. */
export function unevenness({ level }) {
  return paperMost(level) - level.reduce((a, b) => Math.min(a, b), 255);
}

/** The scale of the noise of ink: the upper quartile of all that is below a quarter of the strongest. */
export function noiseOf(ink, strongest) {
  const counts = new Uint32Array(256);
  let all = 0;
  for (const value of ink) {
    if (4 * value >= strongest) continue;
    counts[value] += 1;
    all += 1;
  }
  if (!all) return 0;
  let [noise, seen] = [0, counts[0]];
  while (seen <= Math.floor((all * 3) / 4)) seen += counts[noise += 1];
  return noise;
}

/** Reduced by a whole factor: means of whole blocks, rounded half up. */
export function blockMeans({ pixels, width, height }, factor) {
  if (factor === 1) return { pixels, width, height };
  const [down, across] = [Math.min(factor, height), Math.min(factor, width)];
  const made = { width: Math.floor(width / across), height: Math.floor(height / down) };
  made.pixels = new Uint8Array(made.width * made.height).map((_, i) =>
    paperMean(pixels, width, Math.floor(i / made.width) * down, (i % made.width) * across, down, across));
  return made;
}

function paperMean(pixels, width, top, left, height, across) {
  let sum = 0;
  for (let y = top; y < top + height; y += 1) for (let x = left; x < left + across; x += 1) sum += pixels[y * width + x];
  return Math.floor((2 * sum + height * across) / (2 * height * across));
}

function paperMost(values) {
  return values.reduce((a, b) => Math.max(a, b), 0);
}

/** Paper of one level, the lower median of the outermost pixels, where that explains the picture; else null. */
function paperEven({ pixels, width, height }) {
  const ring = [];
  for (let y = 0; y < height; y += 1) {
    const step = y === 0 || y === height - 1 ? 1 : Math.max(1, width - 1);
    for (let x = 0; x < width; x += step) ring.push(pixels[y * width + x]);
  }
  const level = Uint8Array.from(ring).sort()[(ring.length - 1) >> 1];
  const counts = new Uint32Array(256);
  for (const pixel of pixels) counts[pixel] += 1;
  const [darkest, lightest] = [counts.findIndex((n) => n > 0), counts.findLastIndex((n) => n > 0)];
  const [darker, brighter] = [level - darkest, lightest - level];
  const isLight = darker > brighter;
  let [same, strong] = [0, 0];
  counts.forEach((many, grey) => {
    const ink = isLight ? level - grey : grey - level;
    if (Math.abs(ink) <= PAPER_EVEN) same += many;
    else if (ink > 0 && 3 * ink >= 2 * Math.max(darker, brighter)) strong += many;
  });
  if (4 * same < pixels.length || 3 * (same + strong) < 2 * pixels.length) return null;
  return { level: new Uint8Array(pixels.length).fill(level), isLight };
}

/** Paper between the strokes, by closing or opening a grid of cells. */
function paperUneven(grey) {
  const longer = Math.max(grey.width, grey.height);
  const size = Math.max(1, Math.floor(longer / PAPER_CELLS));
  const cells = paperCells(grey, size);
  const reach = Math.floor(longer / (6 * size));
  const [most, least] = [paperExtreme(cells, reach, Math.max), paperExtreme(cells, reach, Math.min)];
  const isLight = paperIsLight(cells, most, least);
  const [outer, inner] = isLight ? [Math.max, Math.min] : [Math.min, Math.max];
  let level = paperExtreme(isLight ? most : least, reach, inner);
  const contrast = paperMost(most.values.map((value, i) => value - least.values[i]));
  if (4 * (paperMost(level.values) - level.values.reduce((a, b) => Math.min(a, b))) > contrast) {
    level = paperExtreme(paperExtreme(cells, reach >> 1, outer), reach >> 1, inner);
  }
  return { level: paperInterpolated(level, size, grey), isLight };
}

function paperIsLight(cells, most, least) {
  const contrasts = most.values.map((value, i) => value - least.values[i]);
  const greatest = paperMost(contrasts);
  let votes = 0;
  contrasts.forEach((contrast, i) => {
    if (2 * contrast < greatest) return;
    const [x, y] = [i % cells.width, Math.floor(i / cells.width)];
    const rim = x === 0 || y === 0 || x === cells.width - 1 || y === cells.height - 1;
    votes += (rim ? PAPER_RIM_VOTES : 1) * Math.sign(2 * cells.values[i] - most.values[i] - least.values[i]);
  });
  return votes >= 0;
}

/** Means of cells of size × size pixels, rounded half up; those at the ends may be smaller. */
function paperCells({ pixels, width, height }, size) {
  const made = { width: Math.ceil(width / size), height: Math.ceil(height / size) };
  made.values = new Int32Array(made.width * made.height).map((_, i) => {
    const [top, left] = [Math.floor(i / made.width) * size, (i % made.width) * size];
    return paperMean(pixels, width, top, left, Math.min(size, height - top), Math.min(size, width - left));
  });
  return made;
}

/** The greatest or least of the window of 2 reach + 1 cells around each cell, cut at the ends. */
function paperExtreme({ values, width, height }, reach, choose) {
  const rows = paperAlong(values, width, height, 1, width, reach, choose);
  return { values: paperAlong(rows, height, width, width, 1, reach, choose), width, height };
}

/** Along lines of `length` values `step` apart, of which there are `many`, `stride` apart. */
function paperAlong(values, length, many, step, stride, reach, choose) {
  const made = values.slice();
  for (let line = 0; line < many; line += 1) {
    for (let i = 0; i < length; i += 1) {
      let best = values[line * stride + i * step];
      const last = Math.min(length - 1, i + reach);
      for (let j = Math.max(0, i - reach); j <= last; j += 1) best = choose(best, values[line * stride + j * step]);
      made[line * stride + i * step] = best;
    }
  }
  return made;
}

/** Bilinear between the centres of cells, rounded half up. */
function paperInterpolated(cells, size, { width, height }) {
  const places = (side, many) => Array.from({ length: side }, (_, i) => {
    const place = Math.min(Math.max(2 * i + 1 - size, 0), 2 * size * (many - 1));
    const first = Math.floor(place / (2 * size));
    return { first, after: Math.min(first + 1, many - 1), part: place % (2 * size) };
  });
  const [down, across] = [places(height, cells.height), places(width, cells.width)];
  const level = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const { first, after, part } = down[y];
    for (let x = 0; x < width; x += 1) {
      const along = (row) => cells.values[row * cells.width + across[x].first] * (2 * size - across[x].part)
        + cells.values[row * cells.width + across[x].after] * across[x].part;
      const sum = along(first) * (2 * size - part) + along(after) * part;
      level[y * width + x] = Math.floor((sum + 2 * size * size) / (4 * size * size));
    }
  }
  return level;
}
