// Ablating kernels, and the effect of each on the accuracy.

import { count, element } from "./elements.js";
import { lookRun } from "./pass.js";

/** A checkbox for each map of a convolution, and a note on the effect of ablating its kernel. */
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
      lookRun(state);
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
  lookRun(state);
  state.stages[1].node.querySelector("input")?.focus({ preventScroll: true });
}

/** `known` is the measured effect of the kernel, or of every kernel while none is ablated. */
function lookCost({ data, off }, { name }, kernel, known) {
  const on = data.measuredOn ? ` on ${data.measuredOn}` : "";
  if (kernel === null) {
    return known ? `Untick a kernel to ablate it. The number is the change of the accuracy${on}, in percentage points, without this kernel alone.` : "Untick a kernel to ablate it.";
  }
  const others = [...off[name]].filter((each) => each !== kernel).sort((a, b) => a - b);
  const also = others.length ? ` Also ablated: ${others.join(", ")}.` : "";
  if (!known) return `Kernel ${kernel} is ablated.${also}`;
  return `Kernel ${kernel} is ablated. Ablating it alone changes the accuracy by ${lookPoints(known.change)} points${on}: ${count(known.lost)} answers become wrong, ${count(known.gained)} become right.${also}`;
}

function lookPoints(change) {
  const shown = (100 * change).toFixed(2);
  return Number(shown) === 0 ? "±0.00" : `${change > 0 ? "+" : "−"}${shown.replace("-", "")}`;
}
