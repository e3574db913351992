// The kernels of a layer: initial, at any frame of the film, and their difference.

import { decodeFloats, decodeHalves, magnitude } from "./arrays.js";
import { lineChart } from "./chart.js";
import { count, element, number, percent, shortNumber } from "./elements.js";
import { IN_COLOUR, chosenKernel, colourBar, kernelOptions, makeCell, partsOf, perPart, slicesOf } from "./parts.js";
import { divergingColour, drawTile, greyColour, makeTile } from "./tiles.js";

const FAMILIES = [
  ["first", "first derivative"],
  ["second", "second derivative"],
  ["gabor", "Gabor function"],
];
const FRAME_MS = 140;

/** Fill the section with every layer, one film for all; `layers` is described in `reports/data.py`. */
export function mountKernels(section, { layers }) {
  if (!layers?.length) return;
  const { steps, epochs } = layers[0];
  const film = makeFilm(steps.length, (frame) => `step ${count(steps[frame])}, epoch ${shortNumber(epochs[frame])}`);
  const grey = element("input", { type: "checkbox", id: "kernels-grey" });
  const views = layers.map((layer) => makeLayer(layer, film));
  const redraw = () => views.forEach((view) => view.draw(film.frame, grey.checked));
  grey.addEventListener("change", redraw);
  film.onChange(redraw);
  section.append(
    element("div", { class: "film" }, film.controls, element("label", { class: "switch" }, grey, " as in the lecture: grey, each row on its own scale, initial minus trained")),
    ...views.map((view) => view.node),
  );
  redraw();
}

/** A scrub bar over a number of frames, with its play button; `place(frame)` describes a frame in words. */
export function makeFilm(frames, place, name = "film") {
  const last = frames - 1;
  const film = { frame: last, listeners: [], timer: null, onChange: (act) => film.listeners.push(act) };
  const bar = element("input", { type: "range", min: "0", max: String(last), step: "1", value: String(last), id: `${name}-bar`, disabled: last === 0 });
  const play = element("button", { type: "button", id: `${name}-play`, disabled: last === 0 }, "Play");
  const shown = element("output", { for: `${name}-bar`, id: `${name}-place` });
  const say = () => {
    shown.textContent = `${place(film.frame)}${last === 0 ? ": the only snapshot" : film.frame === 0 ? ": the start" : film.frame === last ? ": the end" : ""}`;
    bar.setAttribute("aria-valuetext", shown.textContent);
  };
  const show = (frame) => {
    film.frame = frame;
    bar.value = String(frame);
    say();
    film.listeners.forEach((act) => act());
  };
  const stop = () => {
    clearInterval(film.timer);
    film.timer = null;
    play.textContent = "Play";
  };
  const advance = () => (film.frame >= last ? stop() : show(film.frame + 1));
  play.addEventListener("click", () => {
    if (film.timer !== null) return stop();
    play.textContent = "Pause";
    if (film.frame >= last) show(0);
    film.timer = setInterval(advance, matchMedia("(prefers-reduced-motion: reduce)").matches ? 5 * FRAME_MS : FRAME_MS);
    return undefined;
  });
  bar.addEventListener("input", () => { stop(); show(Number(bar.value)); });
  film.controls = element("div", { class: "scrub", role: "group", "aria-label": "Film of the kernels" }, play, element("label", { for: `${name}-bar` }, "from initial to trained"), bar, shown);
  say();
  return film;
}

/** A layer: a choice of kernel where its kernels have several channels, the tiles, the numbers and the chart of the scores. */
function makeLayer(layer, film) {
  const state = { layer, kernel: layer.coloured ? IN_COLOUR : 0, source: "trained", family: "first", frame: film.frame, grey: false, ...decodeLayer(layer) };
  const grid = element("div", { class: "grid", role: "table", "aria-label": `Kernels of ${layer.name}` });
  const course = makeCourse(state);
  const legend = scaleLegend(layer, layer.scale, "the whole layer");
  const node = element("div", { class: "layer", id: `layer-${layer.name}` }, element("h3", {}, layerTitle(layer)));
  const rebuild = () => {
    state.tiles = fillGrid(grid, state);
    drawTiles(state);
    course.update();
  };
  node.append(...kernelChoice(state, layer, rebuild), legend, grid, sourceChoice(state, rebuild), course.node);
  rebuild();
  return { node, draw: (frame, grey) => { state.frame = frame; state.grey = grey; legend.classList.toggle("off", grey); drawTiles(state); } };
}

function layerTitle(layer) {
  const slices = layer.inputs === 1 ? "" : ` of ${layer.inputs} channels each`;
  return `${layer.name}: ${layer.outputs} kernels${slices}, ${layer.height}×${layer.width}`;
}

/** The colour scale of the weights; for kernels in colour also that of the colours. */
export function scaleLegend({ coloured }, scale, whole) {
  const row = (bar, words) => element("div", { class: "scale" }, bar, element("span", {}, words));
  return element("div", { class: "scales" },
    row(scaleBar(), `weights from −${shortNumber(scale)} to ${shortNumber(scale)}: one scale for ${whole}`),
    coloured ? row(colourBar(), "in colour, grey is 0; a weight raises or lowers its red, green or blue. Below each kernel: its three channels.") : []);
}

/** The weights and scores of a layer: `at(frame, kernel, channel)` are the weights of a slice, or of a kernel in colour. */
export function decodeLayer(layer) {
  const size = layer.height * layer.width;
  const [initial, trained] = [decodeFloats(layer.initial), decodeFloats(layer.trained)];
  const frames = decodeHalves(layer.frames).map((share) => share * (layer.scale || 1));
  const total = layer.outputs * layer.inputs * size;
  const slice = (values, start, kernel, channel) => {
    const from = start + (kernel * layer.inputs + (channel ?? 0)) * size;
    return values.subarray(from, from + (channel === IN_COLOUR ? layer.inputs : 1) * size);
  };
  const at = (frame, kernel, channel) => {
    if (frame === layer.epochs.length - 1) return slice(trained, 0, kernel, channel);
    return frame === 0 ? slice(initial, 0, kernel, channel) : slice(frames, frame * total, kernel, channel);
  };
  const courses = Object.fromEntries(Object.entries(layer.courses ?? {}).map(([source, families]) =>
    [source, Object.fromEntries(Object.entries(families).map(([family, text]) => [family, decodeHalves(text)]))]));
  return { at, courses };
}

/** The choice of `state.kernel` in a list, empty where the kernels have one channel. */
export function kernelChoice(state, layer, rebuild) {
  if (layer.inputs === 1) return [];
  const options = kernelOptions(layer);
  return [fieldset("kernel", layer.name, options, options[0][0], (value) => { state.kernel = chosenKernel(value); rebuild(); })];
}

function sourceChoice(state, rebuild) {
  const choose = (what) => (value) => { state[what] = value; rebuild(); };
  return element("div", { class: "choices" },
    fieldset("score", state.layer.name, FAMILIES, state.family, choose("family")),
    fieldset("of", state.layer.name, [["trained", "the kernel"], ["difference", "its difference"]], state.source, choose("source")));
}

/** Radio buttons in a row; `options` are [value, title]. */
function fieldset(name, layer, options, chosen, choose) {
  return element("fieldset", { class: "choice" }, element("legend", {}, name), options.map(([value, title]) => element("label", {},
    element("input", { type: "radio", name: `${name}-${layer}`, value, checked: value === chosen, onchange: () => choose(value) }),
    element("span", {}, title))));
}

/** Rows of the table: tiles, numbers, scores. Returns the tiles that the film changes. */
function fillGrid(grid, state) {
  const { layer } = state;
  const slices = slicesOf(layer, state.kernel);
  const byChannel = layer.inputs > 1 && state.kernel !== IN_COLOUR;
  const tiles = { initial: [], now: [], difference: [], names: {} };
  const tileRow = (kind, name) => {
    const title = element("span", {}, name);
    tiles.names[kind] = title;
    tiles[kind] = slices.map(([, channel, label]) => makeCell(layer, channel, `${label}, ${name}`));
    return gridRow(title, tiles[kind].map((cell) => cell.node));
  };
  const numbers = (name, pick, hint) => gridRow(element("span", { title: hint }, name), slices.map(([kernel, channel]) => pick(kernel, channel)));
  const measured = (measure, kernel, channel) => (channel === IN_COLOUR ? layer.whole[measure]?.[kernel] : layer[measure]?.[kernel][channel]);
  const perKernel = (name, values, format, hint) => (byChannel
    ? [] : values ? [numbers(name, (kernel) => format(values[kernel]), hint)] : []);
  grid.style.setProperty("--columns", Math.min(slices.length, 16));
  grid.replaceChildren(
    gridRow("", slices.map(([, , label]) => label), "columnheader"),
    tileRow("initial", "initial"), tileRow("now", "trained"), tileRow("difference", "difference"),
    numbers("change", (kernel, channel) => number(measured("change", kernel, channel)), "‖w − w₀‖ / ‖w₀‖: the distance from its initial value, relative to its initial norm"),
    numbers("cosine", (kernel, channel) => number(measured("cosine", kernel, channel)), "of the angle between the kernel and its initial value: 1 is the same direction, 0 a right angle"),
    numbers("drift per epoch", (kernel, channel) => number(measured("per_epoch", kernel, channel), 4), "at the end of training, relative to its initial norm"),
    ...perKernel("dead", layer.dead, (share) => percent(share, 1), "fraction of the images on which its map is zero everywhere"),
    ...perKernel("ablated", layer.ablation, (entry) => points(entry.change), "change of the accuracy without it, in percentage points"),
    ...scoreRows(state, slices),
  );
  grid.parentElement?.querySelector(".whole")?.remove();
  if (byChannel) grid.after(wholeKernel(state));
  return tiles;
}

/** The numbers of the whole kernel where its channels are the columns. */
function wholeKernel({ layer, kernel }) {
  const { change, cosine, per_epoch: drift } = layer.whole;
  const parts = [`change ${number(change[kernel])}, cosine with its initial value ${number(cosine[kernel])}, drift per epoch ${number(drift?.[kernel], 4)}`];
  if (layer.dead) parts.push(`its map is dead on ${percent(layer.dead[kernel], 1)} of the images`);
  if (layer.ablation) parts.push(`ablated: accuracy ${points(layer.ablation[kernel].change)}`);
  return element("p", { class: "whole" }, `Kernel ${kernel} as a whole: ${parts.join("; ")}.`);
}

function points(change) {
  return `${change > 0 ? "+" : ""}${number(100 * change)} points`;
}

function scoreRows({ layer, family, source }, slices) {
  const scores = layer.scores[source][family];
  const [, title] = FAMILIES.find(([name]) => name === family);
  const match = (kernel, channel) => {
    const best = scores.best[kernel][channel];
    if (best === null) return "–";
    const template = layer.templates[family][best[0]];
    const tile = makeTile(layer.height, layer.width, template.name);
    tile.title = template.name;
    const most = magnitude(template.values);
    drawTile(tile, template.values, (value) => divergingColour(best[1] * value / most));
    return tile;
  };
  const scored = source === "trained" ? "the trained kernel" : "the difference";
  const whose = () => (slices[0][1] === IN_COLOUR ? [element("div", { class: "whose" }, "red, green, blue")] : []);
  const row = (name, hint, text) => gridRow([element("span", { title: hint }, name), ...whose()], slices.map((slice) => perPart(slice, text)));
  const matches = gridRow("best match", slices.map((slice) => perPart(slice, match)));
  matches.classList.add("matches");
  return [
    row(`${title} score`, `the largest absolute correlation with a bank of templates, means removed, of ${scored}`, (kernel, channel) => number(scores.score[kernel][channel])),
    row("p, by chance", "fraction of random kernels that score as high", (kernel, channel) => pValue(scores.p[kernel][channel])),
    matches,
  ];
}

/** A p-value as it is printed. */
export function pValue(p) {
  if (p === null) return "–";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

/** A row of the table: its name and its cells. */
export function gridRow(name, cells, role = "cell") {
  return element("div", { class: "row", role: "row" },
    element("div", { class: "name", role: "rowheader" }, name),
    element("div", { class: "cells", role: "presentation" }, cells.map((cell) => element("div", { class: "value", role }, cell))));
}

/** Draw every tile at the film's frame, in colour or in the lecture's grey. */
function drawTiles(state) {
  const { layer, tiles, frame, grey } = state;
  const last = frame === layer.steps.length - 1;
  const slices = slicesOf(layer, state.kernel);
  const now = slices.map(([kernel, channel]) => state.at(frame, kernel, channel));
  const initial = slices.map(([kernel, channel]) => state.at(0, kernel, channel));
  const sign = grey ? -1 : 1;
  const difference = now.map((values, i) => values.map((value, k) => sign * (value - initial[i][k])));
  const names = { initial: "initial", now: last ? "trained" : `step ${count(layer.steps[frame])}`, difference: grey ? "initial − trained" : "difference" };
  for (const [kind, rows] of Object.entries({ initial, now, difference })) {
    if (grey) drawGrey(tiles[kind], rows);
    else drawRows(tiles[kind], rows, layer.scale);
    tiles.names[kind].textContent = names[kind];
  }
}

/** Draw a row of tiles on a scale from −scale to scale. */
export function drawRows(tiles, rows, scale) {
  rows.forEach((values, i) => tiles[i].draw(values, -scale, scale, (value) => divergingColour(value / scale)));
}

function drawGrey(tiles, rows) {
  const all = rows.flatMap((values) => [...values]);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  rows.forEach((values, i) => tiles[i].draw(values, low, high, (value) => greyColour(high > low ? (value - low) / (high - low) : 0.5)));
}

/** The colour scale of the weights. */
function scaleBar() {
  const canvas = makeTile(1, 101, "colour scale of the weights, from blue through white to red");
  canvas.className = "bar";
  drawTile(canvas, Array.from({ length: 101 }, (_, i) => (i - 50) / 50), divergingColour);
  return canvas;
}

/** The scores against epoch, one line per slice, and the scores of random kernels. */
function makeCourse(state) {
  const { layer } = state;
  const chart = lineChart({ title: "", xLabel: "Epoch", series: [], logX: true, rangeY: [0, 1], format: (value) => number(value, 2), formatX: shortNumber });
  const verdict = element("p", { class: "verdict", "aria-live": "polite" });
  const update = () => {
    const values = state.courses[state.source][state.family];
    const slices = partsOf(slicesOf(layer, state.kernel));
    const stride = layer.outputs * layer.inputs;
    const kept = layer.epochs.map((epoch, frame) => [epoch, frame]).filter(([epoch]) => epoch > 0);
    const course = (pick) => kept.map(([, frame]) => pick(frame * stride));
    const each = slices.map(([kernel, channel]) => ({ kind: "slice", xs: kept.map(([epoch]) => epoch), ys: course((from) => values[from + kernel * layer.inputs + channel]) }));
    const mean = { name: layer.inputs === 1 ? "mean of the kernels" : state.kernel === IN_COLOUR ? "mean of all channels" : "mean of the channels", kind: "mean", xs: kept.map(([epoch]) => epoch), ys: course((from) => average(slices.map(([kernel, channel]) => values[from + kernel * layer.inputs + channel]))) };
    const chance = layer.chance[state.family];
    const [, title] = FAMILIES.find(([name]) => name === state.family);
    verdict.textContent = scoreVerdict(state, title);
    chart.update({ title: `${title} score of ${sourceName(state.source)} against epoch`, series: [...each, mean], bands: [{ name: "90\u00a0% of random kernels", low: chance.low, high: chance.high }] });
  };
  return { node: element("div", { class: "course" }, chart.node, verdict), update };
}

function sourceName(source) {
  return source === "trained" ? "the kernels" : "their differences from the initial values";
}

/** The scores of the whole layer in words, and what chance alone would give. */
function scoreVerdict({ layer, source, family }, title) {
  const all = layer.scores[source][family].p.flat().filter((p) => p !== null);
  if (!all.length) return "The kernels have not changed yet, so there are no scores.";
  const what = layer.inputs === 1 ? "kernels" : "slices (one input channel of a kernel)";
  const found = all.filter((p) => p < 0.01).length;
  const whose = source === "trained" ? `the ${all.length} ${what} of ${layer.name}` : `the differences of the ${all.length} ${what} of ${layer.name}`;
  const among = source === "trained" ? "by chance alone one would expect" : "among as many random kernels one would expect";
  const smooth = source === "trained" ? "" : " This is a comparison and not a test: differences are smooth where images are.";
  return `Of ${whose}, ${found} ${found === 1 ? "resembles" : "resemble"} a ${title} more than 99\u00a0% of random kernels do; ${among} ${shortNumber(all.length / 100)}.${smooth}`;
}

function average(values) {
  const kept = values.filter(Number.isFinite);
  return kept.reduce((sum, value) => sum + value, 0) / kept.length;
}
