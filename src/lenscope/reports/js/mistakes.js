// The confusion matrix, the images behind its cells, and the most confident mistakes.

import { decodeBytes } from "./arrays.js";
import { count, element, percent } from "./elements.js";
import { drawImage, makeTile } from "./tiles.js";

/** Fill the section; `look(index)` opens an image in the section that looks through the network. */
export function mountMistakes(section, { confusion, cells, worst, images, classes }, look) {
  const place = section.querySelector(".matrix");
  if (!place) return;
  const bytes = decodeBytes(images.pixels);
  const shown = element("div", { class: "shown", "aria-live": "polite" });
  const show = (title, indices, total) => shown.replaceChildren(
    element("h3", {}, title),
    element("p", { class: "note" }, indices.length < total ? `${indices.length} of ${count(total)} are in this file.` : ""),
    element("ul", { class: "images" }, indices.map((index) => mistakeImage(images, bytes, classes, index, look))));
  const most = Math.max(1, ...confusion.flatMap((row, label) => row.filter((_, answer) => answer !== label)));
  const cell = (label, answer) => confusionCell(confusion, label, answer, most, classes, () =>
    show(`${classes[label]} called ${classes[answer]}`, cells[`${label},${answer}`] ?? [], confusion[label][answer]));
  const rows = classes.map((name, label) => element("tr", {}, element("th", { scope: "row" }, name), classes.map((_, answer) => cell(label, answer))));
  place.append(
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
      element("table", { class: classes.length > 12 ? "confusion dense" : "confusion" },
        element("caption", {}, "Rows are what an image is, columns what it was called. A number opens its images."),
        element("thead", {}, element("tr", {}, element("td"), classes.map((name) => element("th", { scope: "col" }, name)))),
        element("tbody", {}, rows))),
    shown);
  if (worst.length) show("The most confident mistakes", worst, worst.length);
}

function confusionCell(confusion, label, answer, most, classes, open) {
  const images = confusion[label][answer];
  if (label === answer) return element("td", { class: "right" }, images ? count(images) : "");
  if (!images) return element("td");
  const shade = Math.min(5, 1 + Math.floor(5 * Math.log(images) / Math.log(most + 1)));
  return element("td", { class: `wrong shade-${shade}` },
    element("button", { type: "button", "aria-label": `${images} of ${classes[label]} called ${classes[answer]}: show them`, onclick: open }, count(images)));
}

function mistakeImage(images, bytes, classes, index, look) {
  const size = images.size * images.size * images.channels;
  const words = `${classes[images.labels[index]]}, called ${classes[images.predicted[index]]}, ${percent(images.confidence[index], 0)}`;
  const tile = makeTile(images.size, images.size, words);
  drawImage(tile, bytes.subarray(index * size, (index + 1) * size), images.channels);
  const button = element("button", { type: "button", title: "look through the network with it", "aria-label": `${words}: look through the network with it`, onclick: () => look(index) }, tile);
  return element("li", {}, button, element("span", {}, words));
}
