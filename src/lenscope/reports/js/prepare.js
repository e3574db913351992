// A drawn digit brought into the form of MNIST's images, bit by bit as `data/digit.py` and `data/dataset.py` do it.

const DIGIT_BOX = 20;
const DIGIT_FIELD = 28;
// Of 255: fainter pictures are blank; fainter ink than this part of the strongest is no ink.
const DIGIT_CONTRAST = 32;
const DIGIT_INK = 16;
// Pillow keeps the weights of a resize as whole multiples of 2⁻²².
const DIGIT_UNIT = 2 ** 22;

/**
 * Every step from a grey picture of one digit, bytes row after row, to an image like MNIST's.
 *
 * Each step is {pixels, width, height}. Throws an Error with a message for the reader where there is no digit.
 */
export function prepareDigit(grey, width, height) {
  const onBlack = digitOnBlack({ pixels: grey, width, height });
  const cropped = digitCropped(onBlack);
  const scaled = digitScaled(cropped);
  return { onBlack, cropped, boxed: digitBoxed(scaled), centred: digitCentred(scaled) };
}

/** A square image of bytes resized from `from` to `to` pixels a side: Pillow's bilinear, bit for bit. */
export function resizeSquare(pixels, from, to) {
  return digitResized({ pixels, width: from, height: from }, to, to, digitTriangle, 1).pixels;
}

/** The outermost pixels, sorted. */
function digitRing({ pixels, width, height }) {
  const ring = [];
  for (let y = 0; y < height; y += 1) {
    const step = y === 0 || y === height - 1 ? 1 : Math.max(1, width - 1);
    for (let x = 0; x < width; x += step) ring.push(pixels[y * width + x]);
  }
  return Uint8Array.from(ring).sort();
}

function digitOnBlack({ pixels, width, height }) {
  const ring = digitRing({ pixels, width, height });
  const background = ring[(ring.length - 1) >> 1];
  const sorted = pixels.slice().sort();
  const [darker, brighter] = [background - sorted[0], sorted.at(-1) - background];
  const strongest = Math.max(darker, brighter);
  if (strongest < DIGIT_CONTRAST) throw new Error("no digit found: it is blank");
  const sign = darker > brighter ? -1 : 1;
  const levels = Uint8Array.from({ length: 256 }, (_, pixel) =>
    Math.floor((255 * Math.max(sign * (pixel - background), 0) + (strongest >> 1)) / strongest));
  return { pixels: pixels.map((pixel) => levels[pixel]), width, height };
}

function digitCropped({ pixels, width, height }) {
  const ring = digitRing({ pixels, width, height });
  const noise = Math.min(ring[Math.floor((ring.length * 9) / 10)], 64);
  const least = Math.max(DIGIT_INK - 1, 2 * noise);
  const rows = new Uint32Array(height);
  const columns = new Uint32Array(width);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (pixels[y * width + x] <= least) continue;
      rows[y] += 1;
      columns[x] += 1;
    }
  }
  const enough = Math.max(1, Math.floor(Math.max(width, height) / 100));
  const [top, bottom] = digitSpan(rows, enough);
  const [left, right] = digitSpan(columns, enough);
  if (top < 0 || left < 0) throw new Error("no digit found: only specks stand out");
  const made = { width: right - left + 1, height: bottom - top + 1 };
  const kept = Uint8Array.from({ length: made.width * made.height }, (_, i) => {
    const pixel = pixels[(top + Math.floor(i / made.width)) * width + left + (i % made.width)];
    return pixel > 2 * noise ? pixel : 0;
  });
  return { pixels: kept, ...made };
}

function digitSpan(counts, enough) {
  return [counts.findIndex((found) => found >= enough), counts.findLastIndex((found) => found >= enough)];
}

function digitScaled(cropped) {
  const larger = Math.max(cropped.width, cropped.height);
  const [width, height] = [cropped.width, cropped.height]
    .map((side) => Math.max(1, Math.floor((2 * side * DIGIT_BOX + larger) / (2 * larger))));
  return larger >= DIGIT_BOX
    ? digitResized(cropped, width, height, digitSquare, 0.5) : digitResized(cropped, width, height, digitTriangle, 1);
}

function digitBoxed(scaled) {
  return digitPlaced(scaled, DIGIT_BOX, (DIGIT_BOX - scaled.height) >> 1, (DIGIT_BOX - scaled.width) >> 1);
}

function digitCentred(scaled) {
  const { pixels, width, height } = scaled;
  const rows = new Array(height).fill(0);
  const columns = new Array(width).fill(0);
  pixels.forEach((pixel, i) => {
    rows[Math.floor(i / width)] += pixel;
    columns[i % width] += pixel;
  });
  return digitPlaced(scaled, DIGIT_FIELD, digitStart(rows), digitStart(columns));
}

/** Where rows (or columns) of these masses begin, for their centre to come into the middle of the field. */
function digitStart(masses) {
  const mass = masses.reduce((a, b) => a + b);
  const centre = masses.reduce((sum, each, i) => sum + i * each, 0) / Math.max(mass, 1);
  return Math.min(Math.max(Math.ceil((DIGIT_FIELD - 1) / 2 - centre), 0), DIGIT_FIELD - masses.length);
}

function digitPlaced({ pixels, width, height }, size, top, left) {
  const field = new Uint8Array(size * size);
  for (let y = 0; y < height; y += 1) field.set(pixels.subarray(y * width, (y + 1) * width), (top + y) * size + left);
  return { pixels: field, width: size, height: size };
}

/** Along the rows, then along the columns, each rounded to bytes: Pillow's resize in its own arithmetic. */
function digitResized({ pixels, width, height }, newWidth, newHeight, filter, support) {
  const across = digitWeights(width, newWidth, filter, support);
  const down = digitWeights(height, newHeight, filter, support);
  const narrowed = new Uint8Array(newWidth * height);
  const made = new Uint8Array(newWidth * newHeight);
  for (let i = 0; i < narrowed.length; i += 1) {
    narrowed[i] = digitMixed(pixels, Math.floor(i / newWidth) * width, 1, across[i % newWidth]);
  }
  for (let i = 0; i < made.length; i += 1) made[i] = digitMixed(narrowed, i % newWidth, newWidth, down[Math.floor(i / newWidth)]);
  return { pixels: made, width: newWidth, height: newHeight };
}

/** The weighted mean of every `step`-th pixel from `start` on; sums stay below 2³¹ and are exact. */
function digitMixed(pixels, start, step, { first, weights }) {
  let sum = DIGIT_UNIT / 2;
  for (let i = 0; i < weights.length; i += 1) sum += weights[i] * pixels[start + (first + i) * step];
  return Math.min(255, Math.floor(sum / DIGIT_UNIT));
}

/** What each new pixel takes from the old ones: from the `first` on, whole multiples of 2⁻²². */
function digitWeights(before, after, filter, support) {
  const scale = before / after;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: after }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const last = Math.min(before, Math.trunc(centre + support * stretch + 0.5));
    const raw = Array.from({ length: last - first }, (_, x) => filter((x + first - centre + 0.5) * (1 / stretch)));
    const total = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((weight) => Math.trunc((weight / total) * DIGIT_UNIT + 0.5)) };
  });
}

function digitSquare(x) {
  return x > -0.5 && x <= 0.5 ? 1 : 0;
}

function digitTriangle(x) {
  return Math.max(1 - Math.abs(x), 0);
}
