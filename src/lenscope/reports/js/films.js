// Kernels of several runs: those of the same number below each other, moved by one bar.

import { element, number, shortNumber } from "./elements.js";
import { decodeLayer, drawRows, gridRow, kernelChoice, makeFilm, pValue, scaleLegend } from "./kernels.js";
import { IN_COLOUR, makeCell, perPart, slicesOf } from "./parts.js";

/** The kernels of several runs below each other, moved through their films by one bar of this name. */
export function mountFilms(kernels, runs, name) {
  const epochs = [...new Set(runs.flatMap((run) => run.layers[0].epochs))].sort((a, b) => a - b);
  const film = makeFilm(epochs.length, (frame) => `epoch ${shortNumber(epochs[frame])}`, name);
  const names = [...new Set(runs.flatMap((run) => run.layers.map((layer) => layer.name)))];
  const views = names.map((name) => compareLayer(name, runs));
  const redraw = () => views.forEach((view) => view.draw(epochs[film.frame]));
  film.onChange(redraw);
  kernels.append(element("div", { class: "film" }, film.controls), ...views.map((view) => view.node));
  redraw();
}

/** A layer of all runs that have it in the same size; the others are named. */
function compareLayer(name, runs) {
  const all = runs.map((run) => ({ run: run.name, layer: run.layers.find((layer) => layer.name === name) }));
  const shape = ({ outputs, inputs, height, width }) => `${outputs}, ${inputs}, ${height}, ${width}`;
  const first = all.find(({ layer }) => layer).layer;
  const rows = all.filter(({ layer }) => layer && shape(layer) === shape(first)).map(({ run, layer }) => ({ run, layer, ...decodeLayer(layer) }));
  const others = all.filter(({ layer }) => !layer || shape(layer) !== shape(first)).map(({ run }) => run);
  const state = { kernel: first.coloured ? IN_COLOUR : 0, epoch: Infinity, scale: Math.max(...rows.map(({ layer }) => layer.scale)) };
  const grid = element("div", { class: "grid", role: "table", "aria-label": `Kernels of ${name}` });
  const rebuild = () => fillComparison(grid, rows, first, state);
  const node = element("div", { class: "layer", id: `layer-${name}` }, element("h3", {}, `${name}: ${first.outputs} kernels, ${first.height}×${first.width}`));
  node.append(...kernelChoice(state, first, rebuild));
  if (others.length) node.append(element("p", { class: "note" }, `Not drawn, since the kernels have another size: ${others.join(", ")}.`));
  node.append(scaleLegend(first, state.scale, "all"), grid);
  rebuild();
  return { node, draw: (epoch) => { state.epoch = epoch; drawComparison(rows, state); } };
}

function fillComparison(grid, rows, first, state) {
  const slices = slicesOf(first, state.kernel);
  grid.style.setProperty("--columns", Math.min(slices.length, 16));
  grid.replaceChildren(gridRow("", slices.map(([, , label]) => label), "columnheader"), ...rows.flatMap((row) => {
    row.slices = slices;
    row.tiles = slices.map(([, channel, label]) => makeCell(first, channel, `${row.run}, ${label}`));
    const { score, p } = row.layer;
    const text = (kernel, channel) => (p[kernel][channel] === null ? "–" : `${number(score[kernel][channel])}, p ${pValue(p[kernel][channel])}`);
    const numbers = slices.map((slice) => perPart(slice, text));
    const scored = p.flat().some((value) => value !== null);
    return [gridRow(row.run, row.tiles.map((cell) => cell.node)), ...(scored ? [gridRow("first derivative score", numbers)] : [])];
  }));
  drawComparison(rows, state);
}

function drawComparison(rows, { epoch, scale }) {
  for (const row of rows) {
    const frame = row.layer.epochs.filter((at) => at <= epoch).length - 1;
    drawRows(row.tiles, row.slices.map(([kernel, channel]) => row.at(Math.max(0, frame), kernel, channel)), scale);
  }
}
