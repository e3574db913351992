// Tracing a value to its inputs: by pointer, finger or keyboard.

import { argmax, magnitude } from "./arrays.js";
import { percent } from "./elements.js";
import { lookClearMarks, lookMark, lookMarkSources, lookMarkWindow } from "./marks.js";
import { explain, netPlace, receptiveField } from "./network.js";
import { traceNumber } from "./trace.js";

// As in look.css: where the panel is beside the network; elsewhere it covers the page below this fraction of the window.
export const LOOK_BESIDE = "(min-width: 1080px)";

const LOOK_CLEAR = 0.48;

export function lookInteract(state, stage, grid) {
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
    if (state.traced?.pinned && lookSame(state.traced, stage, position)) lookClose(state);
    else lookTrace(state, { stage, position, pinned: true }, true);
  });
  grid.addEventListener("focus", () => {
    if (grid.matches(":focus-visible") && !state.traced?.pinned) lookTrace(state, { stage, position: stage.cursor ?? lookFirst(stage), pinned: false }, true);
  });
  grid.addEventListener("keydown", (event) => {
    if (event.target === grid) lookKey(state, stage, event);
  });
}

/** Where the panel is beside the network, it shows an example at first: the greatest value of the first layer. */
export function lookExample(state) {
  const stage = state.stages[1];
  if (!matchMedia(LOOK_BESIDE).matches) return;
  lookTrace(state, { stage, position: argmax(state.passed.stages[0].values), pinned: false }, false);
  stage.cursor = null;
}

function lookSame(traced, stage, position) {
  return traced !== null && traced.stage === stage && traced.position === position;
}

/** The position of the value under the pointer; null between the maps. */
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

/** Arrow keys stay in the map; Page Up and Page Down go to the same position of the next map. */
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

export function lookTrace(state, traced, spoken) {
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

/** Whether the panel would cover the value under the pointer; there a click is needed, which scrolls the value into sight. */
function lookWouldCover(state, height) {
  return !matchMedia(LOOK_BESIDE).matches && height > innerHeight * LOOK_CLEAR;
}

/** Where the panel covers the page, scroll the traced value out from under it. */
function lookKeepInSight(state, stage, position) {
  if (matchMedia(LOOK_BESIDE).matches) return;
  const asked = stage.rows ? stage.rows[position].node : stage.tiles[stage.locate(position).tile].node;
  const hidden = asked.getBoundingClientRect().bottom + 8 - state.panel.node.getBoundingClientRect().top;
  if (hidden > 0) scrollBy(0, hidden);
}

/** What the panel needs of the previous stage, of the weights and of the class. */
function lookContext(state, stage, before, position) {
  const context = {};
  if (before) {
    const plural = before.number < 0 ? ["red", "green", "blue"] : null;
    context.source = {
      colour: before.colour,
      channelName: (channel) => (before.number < 0 ? (before.shape[0] === 3 ? plural[channel] : "input") : `${before.name} map ${channel}`),
      channelShort: (channel) => (plural ? plural[channel] : `map ${channel}`),
      nameOf: (place) => lookShortName(before, place),
    };
  }
  if (stage.layer?.op === "conv") context.weightScale = (stage.weightScale ??= magnitude(stage.layer.weight.values));
  if (stage.rows) Object.assign(context, { logProbability: state.passed.logProbabilities[position], className: state.data.classes[position] });
  return context;
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

export function lookClose(state) {
  const back = state.panel.node.contains(document.activeElement) ? state.traced?.stage.grid : null;
  state.traced = null;
  lookClearMarks(state);
  state.panel.clear();
  back?.focus({ preventScroll: true });
}
