// The confusion matrix, the images behind its cells, and the most confident mistakes.

import { decodeBytes } from "./arrays.js";
import { count, element, percent } from "./elements.js";
import { drawImage, makeTile } from "./tiles.js";

const MATRIX_CLASSES = 100;
const LISTED = 60;

/**
 * Fill the section; `page.mistakes.confusion` is a list of [label, answer, images]; an image opens in the section in
 * which the network runs, where there is one.
 */
export function mountMistakes(section, { mistakes, images, classes, choose }) {
  if (!mistakes) return;
  const { confusion, cells, worst } = mistakes;
  const bytes = decodeBytes(images.pixels);
  const shown = element("div", { class: "shown", "aria-live": "polite" });
  const show = (title, indices, total) => shown.replaceChildren(
    element("h3", {}, title),
    element("p", { class: "note" }, indices.length < total ? `This file contains ${indices.length} of these ${count(total)} images.` : ""),
    element("ul", { class: "images" }, indices.map((index) => mistakeImage(images, bytes, classes, index, choose))));
  const open = (label, answer, total) => show(`${classes[label]} predicted as ${classes[answer]}`, cells[`${label},${answer}`] ?? [], total);
  const matrix = classes.length <= MATRIX_CLASSES ? confusionMatrix : confusionList;
  section.querySelector(".lead").after(matrix(confusion, classes, open), shown);
  if (worst.length) show("The most confident mistakes", worst, worst.length);
}

function confusionMatrix(confusion, classes, open) {
  const most = confusion.reduce((found, [label, answer, total]) => (label === answer ? found : Math.max(found, total)), 1);
  const totals = new Map(confusion.map(([label, answer, total]) => [`${label},${answer}`, total]));
  const cell = (label, answer) => confusionCell(totals.get(`${label},${answer}`) ?? 0, label, answer, most, classes, open);
  const rows = classes.map((name, label) => element("tr", {}, element("th", { scope: "row" }, name), classes.map((_, answer) => cell(label, answer))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
    element("table", { class: classes.length > 12 ? "confusion dense" : "confusion" },
      element("caption", {}, "Rows: label; columns: prediction. A number opens its images."),
      element("thead", {}, element("tr", {}, element("td"), classes.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows)));
}

/** For very many classes, whose matrix could not be read, the most frequent confusions. */
function confusionList(confusion, classes, open) {
  const wrong = confusion.filter(([label, answer]) => label !== answer).sort((a, b) => b[2] - a[2]).slice(0, LISTED);
  return element("div", {}, element("p", {}, `The most frequent confusions among ${count(classes.length)} classes:`),
    element("ul", { class: "confusions" }, wrong.map(([label, answer, total]) => element("li", {},
      element("button", { type: "button", onclick: () => open(label, answer, total) }, `${count(total)} × ${classes[label]} predicted as ${classes[answer]}`)))));
}

function confusionCell(total, label, answer, most, classes, open) {
  if (label === answer) return element("td", { class: "right" }, total ? count(total) : "");
  if (!total) return element("td");
  const shade = Math.min(5, 1 + Math.floor(5 * Math.log(total) / Math.log(most + 1)));
  const words = `${total} of ${classes[label]} predicted as ${classes[answer]}: show them`;
  return element("td", { class: `wrong shade-${shade}` },
    element("button", { type: "button", "aria-label": words, onclick: () => open(label, answer, total) }, count(total)));
}

function mistakeImage(images, bytes, classes, index, choose) {
  const size = images.size * images.size * images.channels;
  const words = `${classes[images.labels[index]]}, predicted as ${classes[images.predicted[index]]}, ${percent(images.confidence[index], 0)}`;
  const tile = makeTile(images.size, images.size, words);
  drawImage(tile, bytes.subarray(index * size, (index + 1) * size), images.channels);
  if (!choose) return element("li", {}, tile, element("span", {}, words));
  const button = element("button", { type: "button", title: "show it inside the network", "aria-label": `${words}: show it inside the network`, onclick: () => choose(index) }, tile);
  return element("li", {}, button, element("span", {}, words));
}
