// The picture of a kernel in a row: a tile of one channel, or the kernel in colour and its three channels below.

import { element } from "./elements.js";
import { drawColours, drawTile, makeTile } from "./tiles.js";

const COLOURS = ["red", "green", "blue"];
/** In place of a channel's number: the whole kernel, in colour. */
export const IN_COLOUR = null;

/** The columns of a table, [kernel, channel, label]: every kernel, or the channels of one; `kernel` may be IN_COLOUR, for all. */
export function slicesOf({ inputs, outputs, coloured }, kernel) {
  const kernels = (channel) => Array.from({ length: outputs }, (_, at) => [at, channel, `kernel ${at}`]);
  if (inputs === 1) return kernels(0);
  if (kernel === IN_COLOUR) return kernels(IN_COLOUR);
  return Array.from({ length: inputs }, (_, channel) => [kernel, channel, coloured ? COLOURS[channel] : `channel ${channel}`]);
}

/** These slices, with each kernel in colour as its three channels. */
export function partsOf(slices) {
  return slices.flatMap(([kernel, channel]) => (channel === IN_COLOUR ? COLOURS.map((_, part) => [kernel, part]) : [[kernel, channel]]));
}

/** The kernels that can be chosen, as [value, title]; kernels in colour can all be shown at once. */
export function kernelOptions({ outputs, coloured }) {
  const numbers = Array.from({ length: outputs }, (_, kernel) => [String(kernel), String(kernel)]);
  return coloured ? [["", "all"], ...numbers] : numbers;
}

/** The kernel of a chosen value. */
export function chosenKernel(value) {
  return value === "" ? IN_COLOUR : Number(value);
}

/** The picture of the weights of a slice: {node, draw(values, low, high, colour)}. */
export function makeCell({ height, width }, channel, label) {
  if (channel !== IN_COLOUR) {
    const tile = makeTile(height, width, label);
    return { node: tile, draw: (values, low, high, colour) => drawTile(tile, values, colour) };
  }
  const whole = makeTile(height, width, `${label}, in colour`);
  const parts = COLOURS.map((name) => makeTile(height, width, `${label}, its ${name} part`));
  const draw = (values, low, high, colour) => {
    drawColours(whole, values, low, high);
    parts.forEach((part, at) => drawTile(part, values.subarray(at * height * width, (at + 1) * height * width), colour));
  };
  return { node: element("div", { class: "coloured" }, whole, element("div", { class: "parts" }, parts)), draw };
}

/** A text about a slice; for a kernel in colour that of each channel, one above the other. */
export function perPart([kernel, channel], text) {
  if (channel !== IN_COLOUR) return text(kernel, channel);
  return element("div", { class: "per-channel" }, COLOURS.map((name, part) => element("span", { title: `its ${name} part` }, text(kernel, part))));
}

/** The colour scale of kernels in colour: one line each for red, green and blue. */
export function colourBar() {
  const canvas = makeTile(3, 101, "red, green and blue, each from its smallest weight through grey to its largest");
  canvas.className = "bar three";
  const shares = Array.from({ length: 101 }, (_, i) => (i - 50) / 50);
  const values = COLOURS.flatMap((_, channel) => COLOURS.flatMap((_, line) => shares.map((share) => (channel === line ? share : 0))));
  drawColours(canvas, values, -1, 1);
  return canvas;
}
