// The forward pass of one image, shown in every stage.

import { lookTrace } from "./ask.js";
import { forward } from "./network.js";

/** Run the network on the image and show every stage. */
export function lookRun(state) {
  const off = Object.values(state.off).some((kernels) => kernels.size > 0);
  state.passed = forward(state.network, state.pixels, state.off);
  state.intact = off ? forward(state.network, state.pixels) : null;
  for (const stage of state.stages) stage.draw();
  state.answer.draw();
  if (state.traced) lookTrace(state, state.traced, false);
}
