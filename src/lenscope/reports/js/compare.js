// Runs beside one another: curves over one another, and kernels of the same number under one another.

import { lineChart } from "./chart.js";
import { element, number } from "./elements.js";
import { decodeLayer, drawRows, fieldset, gridRow, makeFilm, pValue, scaleLegend } from "./kernels.js";
import { shortNumber, shortPercent } from "./learning.js";
import { IN_COLOUR, chosenKernel, kernelOptions, makeCell, perPart, slicesOf } from "./parts.js";

/** Fill the page of a comparison; `runs` is a list of {name, curves, layers}. */
export function mountComparison(learning, kernels, runs) {
  const chart = (title, kind, format) => lineChart({ title, xLabel: "epoch", formatX: shortNumber, format, series: compareSeries(runs, kind) });
  learning.querySelector(".charts").append(element("div", { class: "pair" },
    chart("Loss, nats an image", "loss", shortNumber).node,
    chart("Accuracy", "accuracy", shortPercent).node));
  mountFilms(kernels, runs);
}

/** The kernels of several runs under one another, moved through their films by one bar of this name. */
export function mountFilms(kernels, runs, name = "film") {
  const epochs = [...new Set(runs.flatMap((run) => run.layers[0]?.epochs ?? []))].sort((a, b) => a - b);
  if (!epochs.length) return; // none of them has a convolution
  const film = makeFilm(epochs.length, (frame) => `epoch ${shortNumber(epochs[frame])}`, name);
  const names = [...new Set(runs.flatMap((run) => run.layers.map((layer) => layer.name)))];
  const views = names.map((name) => compareLayer(name, runs));
  const redraw = () => views.forEach((view) => view.draw(epochs[film.frame]));
  film.onChange(redraw);
  kernels.append(element("div", { class: "film" }, film.controls), ...views.map((view) => view.node));
  redraw();
}

/** One curve a run that has one: of its test images, else of its validation images, else of its training images. */
function compareSeries(runs, kind) {
  return runs.flatMap((run, i) => {
    const curve = ["test", "validation", "train"].map((part) => run.curves[kind].find(({ name }) => name === part)).find(Boolean);
    if (!curve) return [];
    const part = curve.name === "test" ? "" : `, ${curve.name === "train" ? "training" : "validation"} images`;
    return [{ name: `${run.name}${part}`, kind: `run-${i}`, xs: curve.epochs, ys: curve.values, marks: true }];
  });
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
  if (first.inputs > 1) {
    const options = kernelOptions(first);
    node.append(fieldset("kernel", name, options, options[0][0], (value) => { state.kernel = chosenKernel(value); rebuild(); }));
  }
  if (others.length) node.append(element("p", { class: "note" }, `Of another size, and not drawn: ${others.join(", ")}.`));
  node.append(scaleLegend(first, state.scale, "all"), grid);
  rebuild();
  return { node, draw: (epoch) => { state.epoch = epoch; drawComparison(rows, state); } };
}

function fillComparison(grid, rows, first, state) {
  const slices = slicesOf(first, state.kernel);
  grid.className = `grid columns-${Math.min(slices.length, 16)}`;
  grid.replaceChildren(gridRow("", slices.map(([, , label]) => label), "columnheader"), ...rows.flatMap((row) => {
    row.slices = slices;
    row.tiles = slices.map(([, channel, label]) => makeCell(first, channel, `${row.run}, ${label}`));
    const { score, p } = row.layer;
    const tell = (kernel, channel) => (p[kernel][channel] === null ? "–" : `${number(score[kernel][channel])}, p ${pValue(p[kernel][channel])}`);
    const numbers = slices.map((slice) => perPart(slice, tell));
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
