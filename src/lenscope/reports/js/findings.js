// The page of an experiment: charts of many runs with their bands, and kernels under one another.

import { decodeBytes } from "./arrays.js";
import { lineChart } from "./chart.js";
import { mountFilms } from "./compare.js";
import { element } from "./elements.js";
import { shortNumber, shortPercent } from "./learning.js";
import { drawImage, makeTile } from "./tiles.js";

/** Fill a section; `part` has charts, a list of {title, xLabel, band, format, logX, logY, lines}, runs as a comparison has them, and
 * pictures, a list of {name, count, channels, height, width, pixels}. */
export function mountFindings(section, { charts, runs, pictures }) {
  if (charts.length) section.querySelector(".charts").append(element("div", { class: "pair" }, charts.map((chart) => findingsChart(chart).node)));
  if (pictures.length) section.querySelector(".pictures").append(...pictures.map(findingsPictures));
  if (runs.length) mountFilms(section.querySelector(".kernels"), runs, `film-${section.id}`);
}

/** A row of images with its name. */
function findingsPictures({ name, count, channels, height, width, pixels }) {
  const bytes = decodeBytes(pixels);
  const tiles = Array.from({ length: count }, (_, place) => {
    const tile = makeTile(height, width, `${name}, image ${place}`);
    drawImage(tile, bytes.subarray(place * channels * height * width, (place + 1) * channels * height * width), channels);
    return tile;
  });
  return element("div", { class: "picture-row" }, element("span", { class: "name" }, name), tiles);
}

function findingsChart({ title, xLabel, band, format, logX, logY, apart, lines }) {
  const series = lines.map((line, i) => ({ ...line, kind: line.points ? "ring" : `run-${i}`, dots: line.points, marks: line.xs.length <= 15 }));
  const shown = format === "percent" ? shortPercent : shortNumber;
  return lineChart({ title, xLabel, series, format: shown, formatX: shortNumber, logX, logY, apart, bandName: lines.some((line) => line.low.length) ? band : "" });
}
