// Switching kernels off, and what each costs.

import { element } from "./elements.js";
import { lookThrough } from "./pass.js";

/** A checkbox for each map of a convolution, and a note on what it costs to be without the kernel. */
export function lookSwitches(state, stage) {
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

export function lookAllOn(state) {
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
