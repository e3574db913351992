// The page: reads its data and fills each section.

import { mountKernels } from "./kernels.js";
import { mountLook } from "./look.js";
import { mountMistakes } from "./mistakes.js";
import { mountSection } from "./section.js";

/** Sections that show more than charts, tables, films and pictures; each function does nothing on a page without its data. */
const HAND_MADE = { kernels: mountKernels, look: mountLook, mistakes: mountMistakes };

const page = JSON.parse(document.getElementById("data").textContent);

mountThemes(document.querySelector(".themes"));
for (const [anchor, data] of Object.entries(page.sections)) {
  const section = document.getElementById(anchor);
  mountSection(section, data);
  HAND_MADE[anchor]?.(section, page);
}

/** Light, dark, or the system's choice. */
function mountThemes(fieldset) {
  fieldset.hidden = false;
  fieldset.addEventListener("change", (event) => { document.documentElement.dataset.theme = event.target.value; });
}
