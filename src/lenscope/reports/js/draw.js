// The drawing pad: white ink on black under mouse, finger, pen or keyboard, and the steps that prepare a drawing.
//
// The ink is computed here, not by the canvas, so that the same bytes are shown, prepared and saved.

import { element } from "./elements.js";
import { drawImage, makeTile } from "./tiles.js";

const PAD_SIDE = 280;
// The ink is white up to PAD_CORE from the line and black from PAD_REACH on: a soft brush some 20 pixels wide.
const PAD_CORE = 8;
const PAD_REACH = 12;
const PAD_STEP = 7;
const PAD_HINT = "Arrow keys move the pen; the space bar puts it down and lifts it, or hold Shift to draw.";

/**
 * A pad to draw on: {node, grey (280×280 bytes), side, isBlank(), focus()}.
 *
 * `changed(drawing)` is called after each change, at most once per frame; `drawing` says whether a stroke is under way.
 */
export function makePad(changed) {
  const canvas = makeTile(PAD_SIDE, PAD_SIDE, "Your drawing");
  const cursor = element("span", { class: "look-pen", "aria-hidden": "true" });
  const field = element("div", {
    class: "look-pad", tabindex: "0", role: "application", "aria-label": `Drawing pad. ${PAD_HINT}`, "aria-keyshortcuts": "Control+Z",
  }, canvas, cursor);
  const pad = { grey: new Uint8Array(PAD_SIDE ** 2), side: PAD_SIDE, strokes: [], open: null, at: [140, 140], canvas, cursor, field };
  pad.isBlank = () => pad.strokes.length === 0;
  pad.focus = () => field.focus();
  pad.refresh = padRefresher(pad, changed);
  padPointer(pad);
  padKeyboard(pad);
  pad.node = element("div", { class: "look-drawing" }, field, padButtons(pad), element("p", { class: "note" }, PAD_HINT));
  pad.refresh();
  return pad;
}

/** The steps of a drawing, in a row: {node, show(steps)}; a step is {name, note, width, height} with `pixels` or a canvas, `drawn`. */
export function makeSteps() {
  const node = element("ol", { class: "look-steps", "aria-label": "How the drawing is prepared" });
  const show = (steps) => node.replaceChildren(...steps.map(({ name, note, pixels, drawn, width, height, middle }) => {
    const tile = makeTile(height, width, `${name}, ${width} by ${height} pixels`);
    if (drawn) tile.getContext("2d").drawImage(drawn, 0, 0);
    else drawImage(tile, pixels, 1);
    return element("li", {}, element("span", { class: middle ? "look-step middle" : "look-step" }, tile), element("b", {}, name), element("span", {}, note));
  }));
  return { node, show };
}

/** Update bytes and canvas at most once per frame. */
function padRefresher(pad, changed) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      padShow(pad);
      padShowCursor(pad);
      changed(pad.open !== null);
    });
  };
}

function padButtons(pad) {
  const undo = () => {
    pad.strokes.pop();
    padRepaint(pad);
  };
  const clear = () => {
    pad.strokes = [];
    padRepaint(pad);
  };
  pad.undo = undo;
  return element("div", { class: "look-buttons" },
    element("button", { type: "button", onclick: clear }, "Clear"),
    element("button", { type: "button", onclick: undo }, "Undo"),
    element("button", { type: "button", onclick: () => padSave(pad) }, "Save as PNG"));
}

function padPointer(pad) {
  const place = (event) => {
    const box = pad.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * PAD_SIDE, ((event.clientY - box.top) / box.height) * PAD_SIDE];
  };
  pad.field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.field.setPointerCapture(event.pointerId);
    padLift(pad);
    padMove(pad, place(event), true);
  });
  pad.field.addEventListener("pointermove", (event) => {
    if (!pad.field.hasPointerCapture(event.pointerId)) return;
    const seen = event.getCoalescedEvents?.() ?? [];
    for (const each of seen.length ? seen : [event]) padMove(pad, place(each), true);
  });
  for (const end of ["pointerup", "pointercancel"]) pad.field.addEventListener(end, () => padLift(pad));
}

function padKeyboard(pad) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  pad.field.addEventListener("keydown", (event) => {
    const way = ways[event.key];
    if (way) padMove(pad, pad.at.map((at, i) => at + way[i] * PAD_STEP), pad.open !== null || event.shiftKey);
    else if (event.key === " " && !event.repeat) {
      if (pad.open) padLift(pad);
      else padMove(pad, pad.at, true);
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) pad.undo();
    else return;
    event.preventDefault();
  });
  pad.field.addEventListener("keyup", (event) => {
    if (event.key === "Shift") padLift(pad);
  });
  pad.field.addEventListener("blur", () => padLift(pad));
}

/** Move the pen to a position, with or without ink. */
function padMove(pad, place, inked) {
  pad.at = place.map((at) => Math.min(PAD_SIDE, Math.max(0, at)));
  if (inked) {
    if (!pad.open) pad.strokes.push((pad.open = []));
    pad.open.push(pad.at);
    padInk(pad.grey, pad.open.at(-2) ?? pad.at, pad.at);
  }
  pad.refresh();
}

function padLift(pad) {
  if (!pad.open) return;
  pad.open = null;
  pad.refresh();
}

/** The bytes as grey, one 32-bit word per pixel: `drawImage` of tiles.js is too slow for this many pixels per frame. */
function padShow({ canvas, grey }) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(PAD_SIDE, PAD_SIDE);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < words.length; i += 1) words[i] = 0xff000000 + grey[i] * 0x010101; // opaque; low bytes come first
  context.putImageData(image, 0, 0);
}

function padShowCursor({ cursor, at: [x, y], open }) {
  cursor.style.left = `${(100 * x) / PAD_SIDE}%`;
  cursor.style.top = `${(100 * y) / PAD_SIDE}%`;
  cursor.classList.toggle("down", open !== null);
}

function padRepaint(pad) {
  pad.open = null;
  pad.grey.fill(0);
  for (const stroke of pad.strokes) stroke.forEach((place, i) => padInk(pad.grey, stroke[Math.max(0, i - 1)], place));
  pad.refresh();
}

/** Ink along a line, whiter closer to it; existing ink is never made darker. */
function padInk(grey, [fromX, fromY], [toX, toY]) {
  const [dx, dy] = [toX - fromX, toY - fromY];
  const length = Math.max(dx * dx + dy * dy, 1e-9);
  const low = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - PAD_REACH));
  const high = (a, b) => Math.min(PAD_SIDE - 1, Math.ceil(Math.max(a, b) + PAD_REACH));
  for (let y = low(fromY, toY); y <= high(fromY, toY); y += 1) {
    for (let x = low(fromX, toX); x <= high(fromX, toX); x += 1) {
      const along = Math.min(1, Math.max(0, ((x + 0.5 - fromX) * dx + (y + 0.5 - fromY) * dy) / length));
      const away = Math.hypot(x + 0.5 - fromX - along * dx, y + 0.5 - fromY - along * dy);
      const level = Math.round((255 * Math.min(PAD_REACH - PAD_CORE, PAD_REACH - away)) / (PAD_REACH - PAD_CORE));
      if (level > grey[y * PAD_SIDE + x]) grey[y * PAD_SIDE + x] = level;
    }
  }
}

function padSave(pad) {
  padShow(pad);
  pad.canvas.toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: "drawing.png" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }, "image/png");
}
