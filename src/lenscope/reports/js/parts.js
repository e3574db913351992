// What stands for a kernel in a row: a tile of one channel, or the kernel in colour and its three parts below.

import { element } from "./elements.js";
import { drawColours, drawTile, makeTile } from "./tiles.js";

export const COLOURS = ["red", "green", "blue"];
/** In place of a channel's number: all of the kernel, in colour. */
export const IN_COLOUR = null;

/** The columns of a table, [kernel, channel, label]: every kernel, or the channels of one; `kernel` may be IN_COLOUR, for all. */
export function slicesOf({ inputs, outputs, coloured }, kernel) {
  const kernels = (channel) => Array.from({ length: outputs }, (_, at) => [at, channel, `kernel ${at}`]);
  if (inputs === 1) return kernels(0);
  if (kernel === IN_COLOUR) return kernels(IN_COLOUR);
  return Array.from({ length: inputs }, (_, channel) => [kernel, channel, coloured ? COLOURS[channel] : `channel ${channel}`]);
}

/** The same with each kernel in colour as its three parts. */
export function partsOf(slices) {
  return slices.flatMap(([kernel, channel]) => (channel === IN_COLOUR ? COLOURS.map((_, part) => [kernel, part]) : [[kernel, channel]]));
}

/** The kernels that can be chosen, as [value, title]; those in colour can be shown all at once. */
export function kernelOptions({ outputs, coloured }) {
  const numbers = Array.from({ length: outputs }, (_, kernel) => [String(kernel), String(kernel)]);
  return coloured ? [["", "all"], ...numbers] : numbers;
}

/** What a chosen value stands for, and what is shown at first. */
export function chosenKernel(value) {
  return value === "" ? IN_COLOUR : Number(value);
}

/** A place for the weights of a slice: {node, draw(values, low, high, colour)}. */
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

/** What is told of a slice; of a kernel in colour each part's, one above the other. */
export function perPart([kernel, channel], tell) {
  if (channel !== IN_COLOUR) return tell(kernel, channel);
  return element("div", { class: "told" }, COLOURS.map((name, part) => element("span", { title: `its ${name} part` }, tell(kernel, part))));
}

/** What a weight does to the colour of a kernel: a line each for red, green and blue. */
export function colourBar() {
  const canvas = makeTile(3, 101, "red, green and blue, each from its least weight through grey to its greatest");
  canvas.className = "bar three";
  const shares = Array.from({ length: 101 }, (_, i) => (i - 50) / 50);
  const values = COLOURS.flatMap((_, channel) => COLOURS.flatMap((_, line) => shares.map((share) => (channel === line ? share : 0))));
  drawColours(canvas, values, -1, 1);
  return canvas;
}
