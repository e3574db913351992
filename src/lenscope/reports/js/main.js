// The page: reads its data and fills each section.

import { mountComparison } from "./compare.js";
import { mountFindings } from "./findings.js";
import { mountKernels } from "./kernels.js";
import { mountLearning } from "./learning.js";
import { mountLook } from "./look.js";
import { mountMistakes } from "./mistakes.js";
import { explain, forward, makeNetwork } from "./network.js";
import { prepareDigit, resizeSquare } from "./prepare.js";

const page = JSON.parse(document.getElementById("data").textContent);
const sections = Object.fromEntries([...document.querySelectorAll("main > section")].map((section) => [section.id, section]));

mountThemes(document.querySelector(".themes"));
if (page.runs) mountComparison(sections.learning, sections.kernels, page.runs);
else if (page.findings) Object.entries(page.findings).forEach(([anchor, part]) => mountFindings(sections[anchor], part));
else mountRun();

function mountRun() {
  mountLearning(sections.learning, page.curves);
  if (page.layers.length) mountKernels(sections.kernels, page.layers);
  const look = page.look ? mountRunning() : null;
  if (page.mistakes) mountMistakes(sections.mistakes, { ...page.mistakes, classes: page.classes, images: page.images }, look);
}

/** The section in which the network runs; returns what looks through an image in it. */
function mountRunning() {
  const network = makeNetwork(page.look.network);
  globalThis.lenscope = { explain, forward, network, page, prepareDigit, resizeSquare }; // for the curious, in the console
  const { classes, images } = page;
  const ablation = Object.fromEntries(page.layers.map((layer) => [layer.name, layer.ablation]));
  const looking = mountLook(sections.look, { ...page.look, ablation, classes, images });
  return (index) => {
    looking.choose(index);
    sections.look.scrollIntoView();
  };
}

/** Light, dark, or what the system says. */
function mountThemes(fieldset) {
  fieldset.hidden = false;
  fieldset.addEventListener("change", (event) => { document.documentElement.dataset.theme = event.target.value; });
}
