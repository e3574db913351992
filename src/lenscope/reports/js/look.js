// "Look through it": a picture on its way through the network, every value open to questions, every kernel to switching off.

import { argmax, decodeBytes } from "./arrays.js";
import { LOOK_BESIDE, lookExample, lookLetGo } from "./ask.js";
import { lookChooser } from "./choose.js";
import { element, percent } from "./elements.js";
import { isUnsure } from "./form.js";
import { makeNetwork } from "./network.js";
import { lookInput, lookLayer, lookOutput } from "./stages.js";
import { lookAllOn } from "./switches.js";
import { makeTrace } from "./trace.js";

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
  const unsure = isUnsure(passed.logProbabilities, state.data.leastLead);
  const text = unsure ? `Unsure: perhaps ${lookBest(state, passed)}` : `Says ${lookBest(state, passed)}`;
  if (state.chosen === null) return { text, wrong: false };
  const label = state.data.images.labels[state.chosen];
  const wrong = argmax(passed.probabilities) !== label;
  return { text: `${text} (${wrong ? "wrong: " : ""}${lookIsA(state.data.classes[label])})`, wrong };
}

function lookIsA(name) {
  if (/^\d+$/.test(name)) return `it is ${/^(8|11$|18$)/.test(name) ? "an" : "a"} ${name}`;
  return `its label is ${name}`;
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
