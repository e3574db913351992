// The confusion matrix, the images behind its cells, and the most confident mistakes.

import { decodeBytes } from "./arrays.js";
import { count, element, percent } from "./elements.js";
import { drawImage, makeTile } from "./tiles.js";

const MATRIX_CLASSES = 100;
const LISTED = 60;

/** Fill the section; `confusion` is a list of [label, answer, images]; `look(index)` opens an
 * image in another section, where there is one that runs the network. */
export function mountMistakes(section, { confusion, cells, worst, images, classes }, look) {
  const place = section.querySelector(".matrix");
  const bytes = decodeBytes(images.pixels);
  const shown = element("div", { class: "shown", "aria-live": "polite" });
  const show = (title, indices, total) => shown.replaceChildren(
    element("h3", {}, title),
    element("p", { class: "note" }, indices.length < total ? `${indices.length} of ${count(total)} are in this file.` : ""),
    element("ul", { class: "images" }, indices.map((index) => mistakeImage(images, bytes, classes, index, look))));
  const open = (label, answer, total) => show(`${classes[label]} called ${classes[answer]}`, cells[`${label},${answer}`] ?? [], total);
  place.append(classes.length <= MATRIX_CLASSES ? confusionMatrix(confusion, classes, open) : confusionList(confusion, classes, open), shown);
  if (worst.length) show("The most confident mistakes", worst, worst.length);
}

function confusionMatrix(confusion, classes, open) {
  const most = confusion.reduce((found, [label, answer, total]) => (label === answer ? found : Math.max(found, total)), 1);
  const totals = new Map(confusion.map(([label, answer, total]) => [`${label},${answer}`, total]));
  const cell = (label, answer) => confusionCell(totals.get(`${label},${answer}`) ?? 0, label, answer, most, classes, open);
  const rows = classes.map((name, label) => element("tr", {}, element("th", { scope: "row" }, name), classes.map((_, answer) => cell(label, answer))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
    element("table", { class: classes.length > 12 ? "confusion dense" : "confusion" },
      element("caption", {}, "Rows are what an image is, columns what it was called. A number opens its images."),
      element("thead", {}, element("tr", {}, element("td"), classes.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows)));
}

/** Of very many classes the most frequent confusions, as a matrix of them could not be read. */
function confusionList(confusion, classes, open) {
  const wrong = confusion.filter(([label, answer]) => label !== answer).sort((a, b) => b[2] - a[2]).slice(0, LISTED);
  return element("div", {}, element("p", {}, `The most frequent of the confusions among ${count(classes.length)} classes:`),
    element("ul", { class: "confusions" }, wrong.map(([label, answer, total]) => element("li", {},
      element("button", { type: "button", onclick: () => open(label, answer, total) }, `${count(total)} × ${classes[label]} called ${classes[answer]}`)))));
}

function confusionCell(total, label, answer, most, classes, open) {
  if (label === answer) return element("td", { class: "right" }, total ? count(total) : "");
  if (!total) return element("td");
  const shade = Math.min(5, 1 + Math.floor(5 * Math.log(total) / Math.log(most + 1)));
  const words = `${total} of ${classes[label]} called ${classes[answer]}: show them`;
  return element("td", { class: `wrong shade-${shade}` },
    element("button", { type: "button", "aria-label": words, onclick: () => open(label, answer, total) }, count(total)));
}

function mistakeImage(images, bytes, classes, index, look) {
  const size = images.size * images.size * images.channels;
  const words = `${classes[images.labels[index]]}, called ${classes[images.predicted[index]]}, ${percent(images.confidence[index], 0)}`;
  const tile = makeTile(images.size, images.size, words);
  drawImage(tile, bytes.subarray(index * size, (index + 1) * size), images.channels);
  if (!look) return element("li", {}, tile, element("span", {}, words));
  const button = element("button", { type: "button", title: "look through the network with it", "aria-label": `${words}: look through the network with it`, onclick: () => look(index) }, tile);
  return element("li", {}, button, element("span", {}, words));
}
