// A drawn digit brought into the form of MNIST's images, bit by bit as `data/digits/digit.py` and `data/resize.py` do it.

import { findDigit, INK_DIGIT, INK_OUT } from "./ink.js";
import { blockMeans, findPaper, inkOn, unevenness } from "./paper.js";

const DIGIT_BOX = 20;
const DIGIT_FIELD = 28;
const DIGIT_NEAR = 128; // faint ink counts up to this part of the longer side away from the digit
const DIGIT_CLEAN_NEAR = 16; // likewise, where paper is even and without noise
const DIGIT_SHEET = 512; // larger pictures are reduced to at most this side before ink is looked for
// Pillow keeps the weights of a resize as whole multiples of 2⁻²².
const DIGIT_UNIT = 2 ** 22;

/**
 * Every step from a grey picture of one digit, bytes row after row, to an image like MNIST's.
 *
 * Each step is {pixels, width, height}. Throws an Error with a message for the reader where there is no digit.
 */
export function prepareDigit(pixels, width, height) {
  const grey = blockMeans({ pixels, width, height }, Math.ceil(Math.max(width, height) / DIGIT_SHEET));
  const paper = findPaper(grey);
  const ink = inkOn(paper, grey);
  const uneven = unevenness(paper);
  const { found, strongest, noise } = findDigit(ink, uneven, grey.width, grey.height);
  const reach = Math.max(1, Math.floor(Math.max(grey.width, grey.height) / (uneven || noise ? DIGIT_NEAR : DIGIT_CLEAN_NEAR)));
  const onBlack = { ...grey, pixels: digitOnBlack(ink, { ...grey, pixels: found }, strongest, noise, reach) };
  const cropped = digitCropped(onBlack, found);
  const scaled = digitScaled(cropped);
  return {
    grey, paper: { ...grey, pixels: paper.level }, found: { ...grey, pixels: found }, onBlack, cropped,
    boxed: digitBoxed(scaled), centred: digitCentred(scaled),
  };
}

/** A square image of bytes resized from `from` to `to` pixels a side: Pillow's bilinear, bit for bit. */
export function resizeSquare(pixels, from, to) {
  return digitResized({ pixels, width: from, height: from }, to, to, digitTriangle, 1).pixels;
}

/** The digit's ink, the strongest 255, and what is faint right beside it. */
function digitOnBlack(ink, { pixels, width, height }, strongest, noise, reach) {
  const near = digitGrown(digitGrown(pixels.map((value) => Number(value === INK_DIGIT)), width, height, 1, width, reach),
    height, width, width, 1, reach);
  return near.map((inside, i) => (inside && pixels[i] !== INK_OUT && ink[i] > 3 * noise
    ? Math.min(Math.floor((255 * ink[i] + (strongest >> 1)) / strongest), 255) : 0));
}

/** A mask and what is at most `reach` away along its lines: `many` of `length` pixels `step` apart, `stride` apart. */
function digitGrown(mask, length, many, step, stride, reach) {
  const made = mask.slice();
  for (let line = 0; line < many; line += 1) {
    for (let i = 0; i < length; i += 1) {
      if (!mask[line * stride + i * step]) continue;
      const last = Math.min(length - 1, i + reach);
      for (let j = Math.max(0, i - reach); j <= last; j += 1) made[line * stride + j * step] = 1;
    }
  }
  return made;
}

function digitCropped({ pixels, width, height }, found) {
  let [top, bottom, left, right] = [height, 0, width, 0];
  found.forEach((value, i) => {
    if (value !== INK_DIGIT) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [top, bottom, left, right] = [Math.min(top, y), Math.max(bottom, y + 1), Math.min(left, x), Math.max(right, x + 1)];
  });
  const made = new Uint8Array((right - left) * (bottom - top));
  for (let y = top; y < bottom; y += 1) {
    made.set(pixels.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  }
  return { pixels: made, width: right - left, height: bottom - top };
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
