// "Inside the network": an image passes through the network; every value can be traced, every kernel ablated.

import { argmax, decodeBytes } from "./arrays.js";
import { LOOK_BESIDE, lookClose, lookExample } from "./ask.js";
import { lookChooser } from "./choose.js";
import { element, percent } from "./elements.js";
import { isUnsure } from "./form.js";
import { makeNetwork } from "./network.js";
import { lookInput, lookLayer, lookOutput } from "./stages.js";
import { lookAllOn } from "./switches.js";
import { makeTrace } from "./trace.js";

/**
 * Fill the section, and set `page.choose(index)`, which shows the image of that number in it.
 *
 * `page` is described in `reports/data.py`; without `page.look` there is no network to run.
 */
export function mountLook(section, page) {
  if (!page.look) return;
  const { classes, images, layers } = page;
  const ablation = Object.fromEntries(layers.map((layer) => [layer.name, layer.ablation]));
  const data = { ...page.look, ablation, classes, images };
  const network = makeNetwork(data.network);
  const length = images.channels * images.size ** 2;
  const bytes = decodeBytes(images.pixels);
  const state = {
    data, network, pixelsOf: (index) => bytes.subarray(index * length, (index + 1) * length),
    chosen: null, pixels: new Uint8Array(length), blank: false, off: {}, traced: null,
  };
  state.panel = makeTrace(() => lookClose(state));
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
  page.choose = (index) => {
    chooser.choose(index);
    section.scrollIntoView();
  };
}

/** The prediction in words, always in sight, and the prediction with all kernels. */
function lookAnswer(state) {
  const line = element("p", { class: "look-says", "aria-live": "polite" });
  const before = element("p", { class: "look-before" });
  const button = element("button", { type: "button", disabled: true, onclick: () => lookAllOn(state) }, "Restore all kernels");
  const node = element("div", { class: "look-answer" }, line, before, button);
  const draw = () => {
    const { wrong, text } = lookSays(state, state.passed);
    line.textContent = text;
    line.classList.toggle("wrong", wrong);
    before.textContent = state.intact ? `with all kernels: ${lookBest(state, state.intact)}` : "";
    button.disabled = !state.intact;
  };
  return { node, line, draw };
}

function lookBest({ data }, { probabilities }) {
  const best = argmax(probabilities);
  return `${data.classes[best]} (${percent(probabilities[best], 1)})`;
}

function lookSays(state, passed) {
  const best = lookBest(state, passed);
  if (state.blank) return { text: `Nothing drawn yet; a blank image gives ${best}`, wrong: false };
  const unsure = isUnsure(passed.logProbabilities, state.data.leastLead);
  const text = unsure ? `Unsure: ${best}` : `Prediction: ${best}`;
  if (state.chosen === null) return { text, wrong: false };
  const label = state.data.images.labels[state.chosen];
  return { text: `${text}; label: ${state.data.classes[label]}`, wrong: argmax(passed.probabilities) !== label };
}

/** Escape closes the panel; it stays clear of the prediction, and scrolls away with the network on narrow screens. */
function lookWatch(state, pass) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.traced) lookClose(state);
  });
  pass.addEventListener("pointerleave", () => {
    if (state.traced && !state.traced.pinned && !matchMedia(LOOK_BESIDE).matches) lookClose(state);
  });
  new ResizeObserver(([{ target }]) => pass.style.setProperty("--answer", `${target.offsetHeight}px`)).observe(state.answer.node);
  new IntersectionObserver(([seen]) => state.panel.node.classList.toggle("away", !seen.isIntersecting)).observe(pass);
}
