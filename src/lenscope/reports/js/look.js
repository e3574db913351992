// "Look through it": a picture on its way through the network, every value open to questions, every kernel to switching off.

import { argmax, decodeBytes, magnitude } from "./arrays.js";
import { makePad, makeSteps } from "./draw.js";
import { element, percent } from "./elements.js";
import { explain, forward, makeNetwork, netPlace, receptiveField } from "./network.js";
import { prepareDigit, resizeSquare } from "./prepare.js";
import { divergingColour, drawImage, drawTile, greyColour, makeTile } from "./tiles.js";
import { makeTrace, strongestInputs, traceNumber } from "./trace.js";

// As in look.css: where the panel stands beside the way; elsewhere it lies over the page, below this share of the window.
const LOOK_BESIDE = "(min-width: 1080px)";
const LOOK_CLEAR = 0.48;

/**
 * Fill the section; returns {choose(index)}, which looks through the image of that number.
 *
 * `data` is what `reports/data.py` puts under "look", and the images.
 */
export function mountLook(section, data) {
  const network = makeNetwork(data.network);
  const { images } = data;
  const length = images.channels * images.size ** 2;
  const bytes = decodeBytes(images.pixels);
  const state = {
    data, network, pixelsOf: (index) => bytes.subarray(index * length, (index + 1) * length),
    chosen: null, pixels: new Uint8Array(length), blank: false, off: {}, traced: null,
  };
  state.panel = makeTrace(() => lookLetGo(state));
  state.answer = lookAnswer(state);
  state.stages = [lookInput(state), ...network.layers.slice(0, -1).map((_, i) => lookLayer(state, i)), lookOutput(state)];
  const chooser = lookChooser(state);
  section.classList.add("look");
  const flow = element("div", { class: "look-flow" }, state.stages.map((stage) => stage.node));
  const pass = element("div", { class: "look-pass" }, state.answer.node, flow, state.panel.node);
  section.append(chooser.node, pass);
  lookWatch(state, pass);
  chooser.start();
  lookExample(state);
  return { choose: chooser.choose };
}

// Choosing a picture.

function lookChooser(state) {
  const { data } = state;
  const strip = lookStrip(state, (index) => lookAtImage(state, index));
  const drawing = data.digits ? lookDrawing(state) : null;
  const node = element("div", { class: "look-choose" });
  const ways = [["image", `${data.part ? `a ${data.part}` : "an"} image`, strip.node], ...(drawing ? [["draw", "a drawing", drawing.node]] : [])];
  const inputs = ways.map(([value]) => element("input", { type: "radio", name: "look-way", value, onchange: () => show(value) }));
  const show = (way) => ways.forEach(([value, , part], i) => {
    inputs[i].checked = value === way;
    part.hidden = value !== way;
    if (value === way) (way === "draw" ? drawing.look : strip.look)();
  });
  if (drawing) {
    node.append(element("fieldset", { class: "choice look-ways" }, element("legend", {}, "Look at"),
      ways.map(([, name], i) => element("label", {}, inputs[i], element("span", {}, name)))));
  }
  node.append(...ways.map(([, , part]) => part));
  const choose = (index) => {
    strip.select(index);
    show("image");
  };
  return { node, choose, start: () => (data.sample.length ? choose(data.sample[0]) : show(drawing ? "draw" : "image")) };
}

/** Images as one group of radio buttons: Tab reaches it, arrow keys choose. */
function lookStrip({ data, pixelsOf }, chosen) {
  const { images, classes } = data;
  const state = { selected: null, shown: [...data.sample] };
  const node = element("div", { class: classes.every((name) => name.length < 3) ? "look-strip" : "look-strip wordy", role: "radiogroup", "aria-label": "Images" });
  const select = (index, focus = false) => {
    if (!state.shown.includes(index)) state.shown.unshift(index);
    state.selected = index;
    node.replaceChildren(...state.shown.map(thumbnail));
    const button = node.children[state.shown.indexOf(index)];
    if (focus) button.focus();
    node.scrollLeft = button.offsetLeft - node.clientWidth / 2;
  };
  const thumbnail = (index) => {
    const [label, called] = [images.labels[index], images.predicted[index]].map((place) => classes[place]);
    const tile = makeTile(images.size, images.size, "");
    tile.setAttribute("aria-hidden", "true");
    drawImage(tile, pixelsOf(index), images.channels);
    const selected = index === state.selected;
    return element("button", {
      type: "button", role: "radio", "aria-checked": String(selected), tabindex: selected ? "0" : "-1", class: called === label ? "" : "wrong",
      "aria-label": called === label ? label : `${label}, called ${called}`, title: called === label ? label : `${label}, called ${called}`,
      onclick: () => take(index),
    }, tile, element("span", {}, called === label ? label : `${label}→${called}`));
  };
  const take = (index) => {
    select(index, true);
    chosen(index);
  };
  node.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const place = state.shown.indexOf(state.selected) + step;
    take(state.shown[Math.max(0, Math.min(state.shown.length - 1, place))]);
  });
  return { node, select, look: () => state.selected !== null && chosen(state.selected) };
}

function lookAtImage(state, index) {
  state.chosen = index;
  state.blank = false;
  state.pixels = state.pixelsOf(index);
  lookThrough(state);
}

/** The pad and its steps; the drawing goes through the network as it grows. */
function lookDrawing(state) {
  const steps = makeSteps();
  const note = element("p", { class: "note" });
  const size = state.data.network.size;
  const look = (drawing = false) => {
    if (node.hidden) return;
    const { shown, pixels, problem } = lookPrepared(pad, size);
    steps.show(shown);
    note.textContent = problem ?? "";
    state.chosen = null;
    state.blank = pixels === null;
    state.pixels = pixels ?? new Uint8Array(size ** 2);
    state.answer.line.setAttribute("aria-busy", String(drawing));
    lookThrough(state);
  };
  const pad = makePad(look);
  const node = element("div", { class: "look-draw", hidden: true }, pad.node, element("div", { class: "look-prepared" }, steps.node, note));
  return { node, look: () => look() };
}

function lookPrepared({ grey, side, canvas, isBlank }, size) {
  const drawn = { name: "drawn", note: `${side}×${side}`, drawn: canvas, width: side, height: side };
  if (isBlank()) return { shown: [drawn], pixels: null, problem: "Draw a digit; it is prepared while you draw, as the images of MNIST were." };
  try {
    const { cropped, boxed, centred } = prepareDigit(grey, side, side);
    const pixels = resizeSquare(centred.pixels, centred.width, size);
    const shown = [
      drawn,
      { name: "cropped", note: `${cropped.width}×${cropped.height}, to the ink`, ...cropped },
      { name: "boxed", note: `${boxed.width}×${boxed.height}, its aspect kept`, ...boxed },
      { name: "centred", note: `${centred.width}×${centred.height}, by centre of mass`, ...centred, middle: true },
      { name: "resized", note: `${size}×${size}, for the network`, pixels, width: size, height: size },
    ];
    return { shown, pixels };
  } catch (error) {
    return { shown: [drawn], pixels: null, problem: error.message };
  }
}

// The pass.

/** Let the picture through the network and show all that comes of it. */
function lookThrough(state) {
  const off = Object.values(state.off).some((kernels) => kernels.size > 0);
  state.passed = forward(state.network, state.pixels, state.off);
  state.intact = off ? forward(state.network, state.pixels) : null;
  for (const stage of state.stages) stage.draw();
  state.answer.draw();
  if (state.traced) lookTrace(state, state.traced, false);
}

/** What the network says, in words, always in sight; beside it what it said with all kernels. */
function lookAnswer(state) {
  const line = element("p", { class: "look-says", "aria-live": "polite" });
  const before = element("p", { class: "look-before" });
  const button = element("button", { type: "button", disabled: true, onclick: () => lookAllOn(state) }, "All on again");
  const node = element("div", { class: "look-answer" }, line, before, button);
  const draw = () => {
    const { wrong, text } = lookSays(state, state.passed);
    line.textContent = text;
    line.classList.toggle("wrong", wrong);
    before.textContent = state.intact ? `with all kernels on: ${lookBest(state, state.intact)}` : "";
    button.disabled = !state.intact;
  };
  return { node, line, draw };
}

function lookBest({ data }, { probabilities }) {
  const best = argmax(probabilities);
  return `${data.classes[best]}, ${percent(probabilities[best], 1)}`;
}

function lookSays(state, passed) {
  if (state.blank) return { text: `Nothing to see yet; of a black picture it says ${lookBest(state, passed)}`, wrong: false };
  const text = `Says ${lookBest(state, passed)}`;
  if (state.chosen === null) return { text, wrong: false };
  const label = state.data.images.labels[state.chosen];
  const wrong = argmax(passed.probabilities) !== label;
  return { text: `${text} (${wrong ? "wrong: " : ""}${lookIsA(state.data.classes[label])})`, wrong };
}

function lookIsA(name) {
  if (/^\d+$/.test(name)) return `it is ${/^(8|11$|18$)/.test(name) ? "an" : "a"} ${name}`;
  return `its label is ${name}`;
}

// Stages: each is {node, tiles, draw(), locate(position), positionAt(tile, row, column), scale}.

function lookInput(state) {
  const { size, channels } = state.data.network;
  const tile = lookFrame(size, size, "The picture as the network sees it");
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

function lookLayer(state, index) {
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

/** Rows and columns in which a strip of values is shown; those that face codes are shown as the codes were drawn. */
function lookFolded(count, next) {
  if (next.op === "rbf" && count === 84) return [12, 7];
  const columns = Array.from({ length: 30 }, (_, i) => 30 - i).find((width) => count % width === 0);
  return [count / columns, columns];
}

function lookWhat({ op, activation, shape, weight }) {
  const after = { relu: ", ReLU", squash: ", squashed" }[activation] ?? "";
  const maps = `${shape[0]} maps of ${shape[1]}×${shape[2]}`;
  if (op === "conv") return `convolution ${weight.shape[2]}×${weight.shape[3]}${after}: ${maps}`;
  if (op === "maxpool") return `the greatest of each 2×2: ${maps}`;
  if (op === "subsample") return `the sum of each 2×2, scaled${after}: ${maps}`;
  return `fully connected${after}: ${shape[0]} values`;
}

/** A canvas, and a layer above it for the marks of a trace. */
function lookFrame(rows, columns, label) {
  const canvas = makeTile(rows, columns, label);
  const marks = element("span", { class: "look-marks", "aria-hidden": "true" });
  return { canvas, marks, rows, columns, node: element("div", { class: "look-frame" }, canvas, marks) };
}

/** What black and white, or blue and red, stand for in a layer. */
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
    ? "Each square is a value. All of a layer share one scale, up to the layer’s largest magnitude: blue below zero, white at zero, red above."
    : "Each square is a value. All of a layer share one scale: from 0, which is black, to the layer’s largest value, which is white.";
}

function lookSection(state, stage, grid, what, scale, note = null) {
  lookInteract(state, stage, grid);
  grid.setAttribute("aria-label", `${stage.name}, ${what}. Arrow keys read values${stage.tiles?.length > 1 ? ", Page Up and Page Down change the map" : ""}, Enter keeps one.`);
  const head = element("div", { class: "look-title" }, element("h3", {}, stage.name), element("p", {}, what), scale);
  return element("div", { class: "look-stage", "data-layer": stage.name }, head, grid, note ?? []);
}

/** The classes with their probabilities as bars; those with all kernels on are marked beside them. */
function lookOutput(state) {
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

// Switching kernels off.

/** A checkbox for each map of a convolution, and a note on what it costs to be without the kernel. */
function lookSwitches(state, stage) {
  const convolutions = state.network.layers.filter(({ op }) => op === "conv");
  const known = state.data.ablation?.[`conv${convolutions.indexOf(stage.layer) + 1}`] ?? state.data.ablation?.[stage.name] ?? null;
  const boxes = [];
  const note = element("p", { class: "look-cost" });
  const cost = (kernel) => known?.find((entry) => entry.kernel === kernel);
  const say = (kernel) => { note.textContent = lookCost(state, stage, kernel, kernel === null ? known : cost(kernel)); };
  const around = (frame, kernel) => {
    const box = element("input", { type: "checkbox", "aria-label": `kernel ${kernel} of ${stage.name}` });
    box.checked = true;
    boxes[kernel] = box;
    const figure = element("div", { class: "look-map" }, frame,
      element("label", { class: "look-switch" }, box, element("span", {}, element("span", { class: "word" }, "kernel "), String(kernel))),
      element("span", { class: "look-change" }, cost(kernel) ? lookPoints(cost(kernel).change) : ""));
    box.addEventListener("change", () => {
      lookSwitch(state, stage, kernel, box.checked);
      figure.classList.toggle("off", !box.checked);
      const off = [...(state.off[stage.name] ?? [])];
      say(off.length ? off.at(-1) : null);
      lookThrough(state);
    });
    return figure;
  };
  stage.allOn = () => {
    boxes.forEach((box) => {
      box.checked = true;
      box.closest(".look-map").classList.remove("off");
    });
    say(null);
  };
  say(null);
  return { around, note };
}

function lookSwitch(state, { name }, kernel, on) {
  const off = (state.off[name] ??= new Set());
  if (on) off.delete(kernel);
  else off.add(kernel);
}

function lookAllOn(state) {
  state.off = {};
  for (const stage of state.stages) stage.allOn?.();
  lookThrough(state);
  state.stages[1].node.querySelector("input")?.focus({ preventScroll: true });
}

/** `known` is of the kernel, or of all of them while none is off. */
function lookCost({ data, off }, { name }, kernel, known) {
  const on = data.measuredOn ? ` on ${data.measuredOn}` : "";
  if (kernel === null) {
    return known ? `Untick a kernel to switch it off. The number: what that alone does to the accuracy${on}, in points.` : "Untick a kernel to switch it off.";
  }
  const others = [...off[name]].filter((each) => each !== kernel).sort((a, b) => a - b);
  const also = others.length ? ` Off as well: ${others.join(", ")}.` : "";
  if (!known) return `Kernel ${kernel} is off.${also}`;
  return `Kernel ${kernel} is off; that alone: ${lookPoints(known.change)} points${on}; ${known.lost} lost, ${known.gained} gained.${also}`;
}

function lookPoints(change) {
  const shown = (100 * change).toFixed(2);
  return Number(shown) === 0 ? "±0.00" : `${change > 0 ? "+" : "−"}${shown.replace("-", "")}`;
}

// Asking for a value: by pointer, finger or keyboard.

function lookInteract(state, stage, grid) {
  grid.setAttribute("tabindex", "0");
  grid.setAttribute("role", "application");
  stage.grid = grid;
  stage.cursor = null;
  grid.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || state.traced?.pinned || lookWouldCover(state, event.clientY)) return;
    const position = lookUnder(stage, event);
    if (position !== null && !lookSame(state.traced, stage, position)) lookTrace(state, { stage, position, pinned: false }, false);
  });
  grid.addEventListener("click", (event) => {
    const position = lookUnder(stage, event);
    if (position === null) return;
    if (state.traced?.pinned && lookSame(state.traced, stage, position)) lookLetGo(state);
    else lookTrace(state, { stage, position, pinned: true }, true);
  });
  grid.addEventListener("focus", () => {
    if (grid.matches(":focus-visible") && !state.traced?.pinned) lookTrace(state, { stage, position: stage.cursor ?? lookFirst(stage), pinned: false }, true);
  });
  grid.addEventListener("keydown", (event) => {
    if (event.target === grid) lookKey(state, stage, event);
  });
}

/** Beside the way, where there is room for it, an example stands from the start: the greatest value of the first layer. */
function lookExample(state) {
  const stage = state.stages[1];
  if (!matchMedia(LOOK_BESIDE).matches) return;
  lookTrace(state, { stage, position: argmax(state.passed.stages[0].values), pinned: false }, false);
  stage.cursor = null;
}

function lookSame(traced, stage, position) {
  return traced !== null && traced.stage === stage && traced.position === position;
}

/** The place of the value under the pointer; null between the maps. */
function lookUnder(stage, event) {
  if (stage.rows) {
    const row = stage.rows.findIndex(({ node }) => node.contains(event.target));
    return row < 0 ? null : row;
  }
  const tile = stage.tiles.findIndex(({ node }) => node.contains(event.target));
  if (tile < 0) return null;
  const { canvas, rows, columns } = stage.tiles[tile];
  const box = canvas.getBoundingClientRect();
  const within = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
  const row = within((event.clientY - box.top) / box.height, rows);
  return stage.positionAt(tile, row, within((event.clientX - box.left) / box.width, columns));
}

function lookFirst(stage) {
  if (stage.rows) return 0;
  const { rows, columns } = stage.tiles[0];
  return stage.positionAt(0, rows >> 1, columns >> 1);
}

function lookKey(state, stage, event) {
  const from = stage.cursor ?? lookFirst(stage);
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    const keep = !(state.traced?.pinned && lookSame(state.traced, stage, from));
    lookTrace(state, { stage, position: from, pinned: keep }, true);
    return;
  }
  const position = stage.rows ? lookStepRow(stage, from, event.key) : lookStep(stage, from, event.key);
  if (position === null) return;
  event.preventDefault();
  lookTrace(state, { stage, position, pinned: state.traced?.pinned ?? false }, true);
}

function lookStepRow({ rows }, from, key) {
  const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, Home: -Infinity, End: Infinity }[key];
  return step === undefined ? null : Math.max(0, Math.min(rows.length - 1, from + step));
}

/** Arrow keys stay in the map; Page Up and Page Down go to the same place of the next one. */
function lookStep(stage, from, key) {
  const { tile, row, column } = stage.locate(from);
  const { rows, columns } = stage.tiles[tile];
  const [tiles, down, right] = {
    ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], PageUp: [-1, 0, 0], PageDown: [1, 0, 0],
    Home: [0, 0, -Infinity], End: [0, 0, Infinity],
  }[key] ?? [];
  if (tiles === undefined) return null;
  const clamp = (value, most) => Math.max(0, Math.min(most - 1, value));
  return stage.positionAt(clamp(tile + tiles, stage.tiles.length), clamp(row + down, rows), clamp(column + right, columns));
}

// Telling where a value comes from.

function lookTrace(state, traced, spoken) {
  const { stage, position, pinned } = traced;
  if (!lookSame(state.traced, stage, position)) state.panel.channel = null;
  state.traced = traced;
  stage.cursor = position;
  lookClearMarks(state);
  const before = state.stages[stage.number];
  const made = stage.number < 0 ? { op: "input", value: state.passed.input.values[position] } : explain(state.network, state.passed, stage.number, position);
  const field = stage.number > 0 ? receptiveField(state.network, stage.number, position) : null;
  lookMark(stage, position, "here");
  if (before) lookMarkSources(before, made);
  if (field) lookMarkWindow(state.stages[0].tiles[0], field, "field");
  state.panel.show({ made, title: lookTitle(state, stage, position), pinned, spoken, field, ...lookContext(state, stage, before, position) });
  if (spoken) lookKeepInSight(state, stage, position);
}

/** Whether the panel would come to lie over what the pointer is on; there it takes a click, which moves that out. */
function lookWouldCover(state, height) {
  return !matchMedia(LOOK_BESIDE).matches && height > innerHeight * LOOK_CLEAR;
}

/** Where the panel lies over the page, what was asked about is moved out from under it. */
function lookKeepInSight(state, stage, position) {
  if (matchMedia(LOOK_BESIDE).matches) return;
  const asked = stage.rows ? stage.rows[position].node : stage.tiles[stage.locate(position).tile].node;
  const hidden = asked.getBoundingClientRect().bottom + 8 - state.panel.node.getBoundingClientRect().top;
  if (hidden > 0) scrollBy(0, hidden);
}

/** What the panel has to know of the stage before, of the weights and of the class. */
function lookContext(state, stage, before, position) {
  const told = {};
  if (before) {
    const plural = before.number < 0 ? ["red", "green", "blue"] : null;
    told.source = {
      colour: before.colour,
      channelName: (channel) => (before.number < 0 ? (before.shape[0] === 3 ? plural[channel] : "input") : `${before.name} map ${channel}`),
      channelShort: (channel) => (plural ? plural[channel] : `map ${channel}`),
      nameOf: (place) => lookShortName(before, place),
    };
  }
  if (stage.layer?.op === "conv") told.weightScale = (stage.weightScale ??= magnitude(stage.layer.weight.values));
  if (stage.rows) Object.assign(told, { logProbability: state.passed.logProbabilities[position], className: state.data.classes[position] });
  return told;
}

function lookTitle(state, stage, position) {
  if (stage.rows) return `${state.data.classes[position]}: ${percent(state.passed.probabilities[position], 1)}`;
  const value = (stage.number < 0 ? state.passed.input : state.passed.stages[stage.number]).values[position];
  return `${lookPlaceName(stage, position)}: ${traceNumber(value)}`;
}

function lookPlaceName({ name, shape, number: stage }, position) {
  const { map, row, column, unit } = netPlace(shape, position);
  if (unit !== undefined) return `${name} value ${unit}`;
  return stage < 0 ? `input, row ${row}, column ${column}` : `${name} map ${map}, row ${row}, column ${column}`;
}

function lookShortName({ name, shape }, position) {
  const { map, row, column, unit } = netPlace(shape, position);
  return unit === undefined ? `${name} map ${map} (${row}, ${column})` : `${name} value ${unit}`;
}

function lookMarkSources(before, made) {
  if (made.window) {
    const { row, column, size } = made.window;
    for (const { channel } of made.sources) {
      lookMarkWindow(before.tiles[before.number < 0 ? 0 : channel], { row, column, height: size, width: size }, "from");
    }
    if (made.winner !== undefined) {
      lookMarkWindow(before.tiles[made.sources[0].channel], { row: row + (made.winner >> 1), column: column + (made.winner % 2), height: 1, width: 1 }, "won");
    }
  } else for (const position of strongestInputs(made)) lookMark(before, position, "from");
}

function lookMark(stage, position, kind) {
  if (stage.rows) {
    stage.rows[position].node.classList.add("here");
    return;
  }
  const { tile, row, column } = stage.locate(position);
  lookMarkWindow(stage.tiles[tile], { row, column, height: 1, width: 1 }, kind);
}

function lookMarkWindow({ marks, rows, columns }, { row, column, height, width }, kind) {
  const mark = element("span", { class: `look-mark ${kind}` });
  Object.assign(mark.style, {
    top: `${(100 * row) / rows}%`, left: `${(100 * column) / columns}%`, height: `${(100 * height) / rows}%`, width: `${(100 * width) / columns}%`,
  });
  marks.append(mark);
}

function lookClearMarks(state) {
  for (const { tiles, rows } of state.stages) {
    for (const { marks } of tiles ?? []) marks.replaceChildren();
    for (const { node } of rows ?? []) node.classList.remove("here");
  }
}

function lookLetGo(state) {
  const back = state.panel.node.contains(document.activeElement) ? state.traced?.stage.grid : null;
  state.traced = null;
  lookClearMarks(state);
  state.panel.clear();
  back?.focus({ preventScroll: true });
}

/** Escape lets go from anywhere; the panel stays clear of the answer, and leaves with the network on narrow screens. */
function lookWatch(state, pass) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.traced) lookLetGo(state);
  });
  pass.addEventListener("pointerleave", () => {
    if (state.traced && !state.traced.pinned && !matchMedia(LOOK_BESIDE).matches) lookLetGo(state);
  });
  new ResizeObserver(([{ target }]) => pass.style.setProperty("--answer", `${target.offsetHeight}px`)).observe(state.answer.node);
  new IntersectionObserver(([seen]) => state.panel.node.classList.toggle("away", !seen.isIntersecting)).observe(pass);
}
