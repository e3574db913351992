// Small pictures of arrays, one canvas each; a value is a square.
//
// Weights: matplotlib's RdBu reversed, the scale of the printed pictures: blue below zero, white at zero, red above,
// equally dark on both sides, which colour-blind readers can distinguish; a kernel of three colours in colour, grey at zero,
// with its channels below. Activations and images: grey, black at zero, as MNIST is. Both are the same in the light and in
// the dark theme, so that print and page agree.

const DIVERGING = [
  [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31],
];

/** The colour of a weight on a scale of −1 to 1, as [red, green, blue]. */
export function divergingColour(value) {
  const place = Math.min(10, Math.max(0, 5 * (Math.min(1, Math.max(-1, value)) + 1)));
  const low = Math.min(9, Math.floor(place));
  return DIVERGING[low].map((channel, i) => channel + (place - low) * (DIVERGING[low + 1][i] - channel));
}

/** The grey of a value from 0, black, to 1, white. */
export function greyColour(value) {
  const level = 255 * Math.min(1, Math.max(0, value));
  return [level, level, level];
}

/** A new canvas of one pixel per value, enlarged by CSS. */
export function makeTile(height, width, label) {
  const canvas = document.createElement("canvas");
  canvas.className = "tile";
  canvas.height = height;
  canvas.width = width;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

/** Draw values, row after row, in the colours that `colour(value)` gives. */
export function drawTile(canvas, values, colour) {
  const context = tileContext(canvas);
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i += 1) {
    const [red, green, blue] = colour(values[i]);
    image.data.set([red, green, blue, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** Draw a kernel of red, green and blue weights, one after another: `low` is level 0 of its colour, `high` level 255. */
export function drawColours(canvas, values, low, high) {
  const size = canvas.width * canvas.height;
  const level = (value) => (high > low ? 255 * Math.min(1, Math.max(0, (value - low) / (high - low))) : 127.5);
  drawTile(canvas, Array.from({ length: size }, (_, i) => [0, 1, 2].map((channel) => level(values[channel * size + i]))), (colour) => colour);
}

/** Draw an image of bytes (channels, height, width): grey, or red, green and blue. */
export function drawImage(canvas, bytes, channels) {
  const context = tileContext(canvas);
  const count = canvas.width * canvas.height;
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < count; i += 1) {
    const at = (channel) => bytes[(channels === 3 ? channel : 0) * count + i];
    image.data.set([at(0), at(1), at(2), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** Kept in memory: hundreds of canvases of a few pixels each are not worth the graphics card. */
function tileContext(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}
