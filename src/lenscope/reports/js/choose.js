// Choosing the input of the network: an image of the run's data, or a drawing.

import { makePad, makeSteps } from "./draw.js";
import { element } from "./elements.js";
import { isPlacedAsMnist, placeDigit } from "./form.js";
import { INK_OUT } from "./ink.js";
import { lookRun } from "./pass.js";
import { prepareDigit, resizeSquare } from "./prepare.js";
import { drawImage, makeTile } from "./tiles.js";

export function lookChooser(state) {
  const { data } = state;
  const strip = lookStrip(state, (index) => lookAtImage(state, index));
  const drawing = data.form ? lookDrawing(state) : null;
  const node = element("div", { class: "look-choose" });
  const ways = [["image", `${data.part ? `a ${data.part}` : "an"} image`, strip.node], ...(drawing ? [["draw", "a drawing", drawing.node]] : [])];
  const inputs = ways.map(([value]) => element("input", { type: "radio", name: "look-way", value, onchange: () => show(value) }));
  const show = (way) => ways.forEach(([value, , part], i) => {
    inputs[i].checked = value === way;
    part.hidden = value !== way;
    if (value === way) (way === "draw" ? drawing.look : strip.look)();
  });
  if (drawing) {
    node.append(element("fieldset", { class: "choice look-ways" }, element("legend", {}, "Input"),
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
      "aria-label": called === label ? label : `${label}, predicted as ${called}`, title: called === label ? label : `${label}, predicted as ${called}`,
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
  lookRun(state);
}

/** The pad and its steps; the network runs on the drawing as it grows. */
function lookDrawing(state) {
  const steps = makeSteps();
  const note = element("p", { class: "note" });
  const size = state.data.network.size;
  const look = (drawing = false) => {
    if (node.hidden) return;
    const { shown, pixels, problem } = lookPrepared(pad, size, state.data.form);
    steps.show(shown);
    note.textContent = problem ?? "";
    state.chosen = null;
    state.blank = pixels === null;
    state.pixels = pixels ?? new Uint8Array(size ** 2);
    state.answer.line.setAttribute("aria-busy", String(drawing));
    lookRun(state);
  };
  const pad = makePad(look);
  const node = element("div", { class: "look-draw", hidden: true }, pad.node, element("div", { class: "look-prepared" }, steps.node, note));
  return { node, look: () => look() };
}

function lookPrepared({ grey, side, canvas, isBlank }, size, form) {
  const drawn = { name: "drawn", note: `${side}×${side}`, drawn: canvas, width: side, height: side };
  if (isBlank()) return { shown: [drawn], pixels: null, problem: "Draw a digit; the drawing is prepared like the training images." };
  try {
    const { found, cropped, boxed, centred } = prepareDigit(grey, side, side);
    const rest = found.pixels.includes(INK_OUT) ? "; other ink ignored" : "";
    const placed = placeDigit(centred, form);
    const pixels = resizeSquare(placed.pixels, placed.width, size);
    const shown = [
      drawn,
      { name: "cropped", note: `${cropped.width}×${cropped.height}, cropped to the digit${rest}`, ...cropped },
      { name: "boxed", note: `${boxed.width}×${boxed.height}, aspect ratio kept`, ...boxed },
      { name: "centred", note: `${centred.width}×${centred.height}, by centre of mass`, ...centred, middle: true },
      ...(isPlacedAsMnist(form) ? [] : [{ name: "placed", note: `${placed.width}×${placed.height}, like the training images`, ...placed }]),
      { name: "resized", note: `${size}×${size}, for the network`, pixels, width: size, height: size },
    ];
    return { shown, pixels };
  } catch (error) {
    return { shown: [drawn], pixels: null, problem: error.message };
  }
}
