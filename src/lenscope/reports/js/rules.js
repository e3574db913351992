// Lines that cross the whole sheet, taken off a mask of ink as `data/digits/rules.py` does it. A mask is {pixels, width, height}.

export const RULES_LEAST_SIDE = 64; // on smaller pictures a stroke is as thin as a line
const RULES_STEEPEST = 12; // a line rises by at most 1 in 12
const RULES_THINNEST = 40; // a line is at most 1/40 as thick as the sheet is long

/** The mask without the lines that cross the sheet from side to side or from top to bottom. */
export function withoutRules(mask) {
  return rulesTurned(rulesRemoved(rulesTurned(rulesRemoved(mask))));
}

function rulesTurned({ pixels, width, height }) {
  const made = new Uint8Array(pixels.length);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) made[x * height + y] = pixels[y * width + x];
  return { pixels: made, width: height, height: width };
}

/** A vertical run of ink goes where a pixel of it lies on a line and it is as thin as most lines. */
function rulesRemoved(mask) {
  const { pixels, width, height } = mask;
  const found = Math.min(width, height) < RULES_LEAST_SIDE ? null : rulesFound(mask);
  if (!found) return mask;
  const thinnest = Math.floor(Math.max(width, height) / RULES_THINNEST);
  const runs = rulesRuns(mask).filter(({ start, length }) => {
    for (let i = 0; i < length; i += 1) if (found[start + i * width]) return length <= thinnest;
    return false;
  });
  // Each pixel on a line counts, not each run.
  const counts = new Uint32Array(thinnest + 1);
  let all = 0;
  for (const { start, length } of runs) {
    for (let i = 0; i < length; i += 1) if (found[start + i * width]) {
      counts[length] += 1;
      all += 1;
    }
  }
  if (!all) return mask;
  let [usual, seen] = [0, counts[0]];
  while (seen <= all >> 1) seen += counts[usual += 1];
  const made = pixels.slice();
  for (const { start, length } of runs) {
    if (length <= usual + 1 + (usual >> 1)) for (let i = 0; i < length; i += 1) made[start + i * width] = 0;
  }
  return { pixels: made, width, height };
}

/** The pixels of lines from the left side to the right; null if there are none. */
function rulesFound({ pixels, width, height }) {
  const [places, xs, ys] = [[], [], []];
  for (let i = 0; i < pixels.length; i += 1) {
    if (!pixels[i]) continue;
    places.push(i);
    xs.push(i % width);
    ys.push(Math.floor(i / width));
  }
  const end = Math.floor(width / 16);
  const ends = [xs.filter((x) => x < end).length, xs.filter((x) => x >= width - end).length];
  if (32 * Math.min(...ends) < width) return null;
  const steepest = Math.floor(width / RULES_STEEPEST);
  const found = new Uint8Array(pixels.length);
  let any = false;
  for (let rise = -steepest; rise <= steepest; rise += 1) {
    const shifts = new Int32Array(width).map((_, x) => steepest - Math.floor((rise * x) / width));
    const [many, first, last] = [0, 1, 2].map(() => new Uint32Array(height + 2 * steepest + 1));
    for (let i = 0; i < xs.length; i += 1) {
      const along = ys[i] + shifts[xs[i]];
      many[along] += 1;
      if (xs[i] < end) first[along] += 1;
      if (xs[i] >= width - end) last[along] += 1;
    }
    const line = many.map((n, i) => Number(10 * n >= 7 * width && 32 * first[i] >= width && 32 * last[i] >= width));
    if (!line.includes(1)) continue;
    any = true;
    for (let i = 0; i < xs.length; i += 1) if (line[ys[i] + shifts[xs[i]]]) found[places[i]] = 1;
  }
  return any ? found : null;
}

/** Vertical runs of the mask: {start, length}. */
function rulesRuns({ pixels, width, height }) {
  const runs = [];
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) {
      if (!pixels[y * width + x]) continue;
      const start = y * width + x;
      while (y < height && pixels[y * width + x]) y += 1;
      runs.push({ start, length: y - Math.floor(start / width) });
    }
  }
  return runs;
}
