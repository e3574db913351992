// The stages of the network, each {node, tiles, draw(), locate(position), positionAt(tile, row, column)}.

import { argmax, magnitude } from "./arrays.js";
import { lookInteract } from "./ask.js";
import { element, percent } from "./elements.js";
import { lookSwitches } from "./switches.js";
import { divergingColour, drawImage, drawTile, greyColour, makeTile } from "./tiles.js";

export function lookInput(state) {
  const { size, channels } = state.data.network;
  const tile = lookFrame(size, size, "The network's input");
  const stage = { number: -1, name: "input", tiles: [tile], shape: [channels, size, size] };
  const { scale, shift } = state.network.range;
  stage.colour = (value) => greyColour((value - shift) / scale);
  stage.locate = (position) => ({ tile: 0, row: Math.floor(position / size) % size, column: position % size });
  stage.positionAt = (_, row, column) => row * size + column;
  stage.draw = () => drawImage(tile.canvas, state.pixels, channels);
  const grid = element("div", { class: "look-maps input" }, tile.node);
  const what = `${size}×${size}${channels === 3 ? ", red, green and blue" : ""}`;
  const range = lookScale({ signed: false });
  range.draw(shift, scale + shift);
  stage.node = lookSection(state, stage, grid, what, range.node);
  grid.after(element("p", { class: "look-key" }, lookKeyText(state.network)));
  return stage;
}

export function lookLayer(state, index) {
  const layer = state.network.layers[index];
  const stage = { number: index, name: layer.name, layer, shape: layer.shape, signed: lookSigned(state.network, index), high: 1 };
  const flat = layer.shape.length === 1;
  const [rows, columns] = flat ? lookFolded(layer.shape[0], state.network.layers[index + 1]) : layer.shape.slice(1);
  stage.tiles = Array.from({ length: flat ? 1 : layer.shape[0] }, (_, map) =>
    lookFrame(rows, columns, flat ? `Values of ${layer.name}` : `Map ${map} of ${layer.name}`));
  stage.colour = stage.signed ? (value) => divergingColour(value / stage.high) : (value) => greyColour(value / stage.high);
  stage.locate = (position) => ({ tile: Math.floor(position / (rows * columns)), row: Math.floor(position / columns) % rows, column: position % columns });
  stage.positionAt = (tile, row, column) => (tile * rows + row) * columns + column;
  const scale = lookScale(stage);
  stage.draw = () => {
    const { values } = state.passed.stages[index];
    stage.high = magnitude(values);
    stage.tiles.forEach(({ canvas }, i) => drawTile(canvas, values.subarray(i * rows * columns, (i + 1) * rows * columns), stage.colour));
    const most = magnitude(values, 0);
    scale.draw(stage.signed ? -most : 0, most);
  };
  const switches = layer.op === "conv" ? lookSwitches(state, stage) : null;
  const many = stage.tiles.length > 8 ? "many" : stage.tiles.length > 1 ? "few" : rows > 10 ? "upright" : "strip";
  const grid = element("div", { class: `look-maps ${many}` }, stage.tiles.map(({ node }, i) => (switches ? switches.around(node, i) : node)));
  stage.node = lookSection(state, stage, grid, lookWhat(layer), scale.node, switches ? switches.note : null);
  return stage;
}

/** Whether values of a layer may be below zero. */
function lookSigned({ layers }, index) {
  const { op, activation } = layers[index];
  if (op === "maxpool") return index > 0 && lookSigned({ layers }, index - 1);
  return activation !== "relu";
}

/** Rows and columns in which the values of a dense layer are shown; those that are compared with codes, in the codes' shape. */
function lookFolded(count, next) {
  if (next.op === "rbf" && count === 84) return [12, 7];
  const columns = Array.from({ length: 30 }, (_, i) => 30 - i).find((width) => count % width === 0);
  return [count / columns, columns];
}

function lookWhat({ op, activation, shape, weight }) {
  const after = { relu: ", ReLU", squash: ", squashed" }[activation] ?? "";
  const maps = `${shape[0]} maps of ${shape[1]}×${shape[2]}`;
  if (op === "conv") return `convolution ${weight.shape[2]}×${weight.shape[3]}${after}: ${maps}`;
  if (op === "maxpool") return `max pooling, 2×2: ${maps}`;
  if (op === "subsample") return `sum pooling, 2×2, scaled${after}: ${maps}`;
  return `fully connected${after}: ${shape[0]} values`;
}

/** A canvas, and an overlay for the marks of a trace. */
function lookFrame(rows, columns, label) {
  const canvas = makeTile(rows, columns, label);
  const marks = element("span", { class: "look-marks", "aria-hidden": "true" });
  return { canvas, marks, rows, columns, node: element("div", { class: "look-frame" }, canvas, marks) };
}

/** The colour scale of a layer. */
function lookScale({ signed }) {
  const bar = makeTile(1, 32, "");
  bar.setAttribute("aria-hidden", "true");
  drawTile(bar, Array.from({ length: 32 }, (_, i) => (signed ? (2 * i) / 31 - 1 : i / 31)), signed ? divergingColour : greyColour);
  const [low, high] = [element("span"), element("span")];
  const short = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
  const draw = (least, most) => {
    low.textContent = short(least);
    high.textContent = short(most);
  };
  return { node: element("p", { class: "look-scale" }, low, bar, high), draw };
}

function lookKeyText({ layers }) {
  return layers.some((_, i) => i < layers.length - 1 && lookSigned({ layers }, i))
    ? "Each square is a value. A layer has one scale, up to its largest magnitude: blue below zero, white at zero, red above."
    : "Each square is a value. A layer has one scale, from 0 (black) to its largest value (white).";
}

function lookSection(state, stage, grid, what, scale, note = null) {
  lookInteract(state, stage, grid);
  grid.setAttribute("aria-label", `${stage.name}, ${what}. Arrow keys read values${stage.tiles?.length > 1 ? ", Page Up and Page Down change the map" : ""}, Enter keeps a value.`);
  const head = element("div", { class: "look-title" }, element("h3", {}, stage.name), element("p", {}, what), scale);
  return element("div", { class: "look-stage", "data-layer": stage.name }, head, grid, note ?? []);
}

/** The classes with their probabilities as bars, and marks for the probabilities with all kernels. */
export function lookOutput(state) {
  const index = state.network.layers.length - 1;
  const layer = state.network.layers[index];
  const rows = state.data.classes.map((name) => {
    const [fill, was] = [element("span", { class: "fill" }), element("span", { class: "was", hidden: true })];
    const [share, earlier] = [element("span", { class: "share" }), element("span", { class: "earlier" })];
    return { fill, was, share, earlier, node: element("li", {}, element("span", { class: "name", title: name }, name), element("span", { class: "track" }, fill, was), share, earlier) };
  });
  const stage = { number: index, name: layer.name, layer, shape: layer.shape, rows };
  stage.positionAt = (row) => row;
  stage.draw = () => {
    const best = argmax(state.passed.probabilities);
    rows.forEach((row, i) => lookBar(row, state.passed.probabilities[i], state.intact?.probabilities[i], i === best));
  };
  const grid = element("div", { class: "look-classes" }, element("ol", { class: rows.length > 12 ? "look-bars many" : "look-bars" }, rows.map((row) => row.node)));
  const what = layer.op === "rbf" ? "distance to the code of each class, then softmax: probabilities" : "fully connected, then softmax: probabilities";
  stage.node = lookSection(state, stage, grid, what, element("p", { class: "look-scale" }));
  return stage;
}

function lookBar(row, share, before, best) {
  row.fill.style.width = `${100 * share}%`;
  row.share.textContent = percent(share, 1);
  const changed = before !== undefined && percent(before, 1) !== percent(share, 1);
  row.was.hidden = !changed;
  row.was.style.left = `${100 * (before ?? 0)}%`;
  row.earlier.textContent = changed ? `was ${percent(before, 1)}` : "";
  row.node.classList.toggle("best", best);
}
