// What any section may show: charts with a switch to logarithmic axes, rows of images, and kernels of several runs.

import { decodeBytes } from "./arrays.js";
import { lineChart } from "./chart.js";
import { element, shortNumber, shortPercent } from "./elements.js";
import { mountFilms } from "./films.js";
import { drawImage, makeTile } from "./tiles.js";

/** Put below the lead of a section what `data`, of `reports/section_data.py`, describes. */
export function mountSection(section, { charts, logarithmic, runs, pictures }) {
  const films = element("div");
  if (runs.length) mountFilms(films, runs, `film-${section.id}`);
  section.querySelector(".lead").after(
    ...(charts.length ? sectionCharts(section.id, charts, logarithmic) : []), ...pictures.map(sectionPictures), ...films.childNodes,
  );
}

function sectionCharts(name, charts, logarithmic) {
  const drawn = charts.map((chart) => lineChart(chartOptions(chart)));
  const pair = element("div", { class: "pair" }, drawn.map(({ node }) => node));
  if (!logarithmic.length) return [pair];
  const box = element("input", { type: "checkbox", id: `${name}-log` });
  box.addEventListener("change", () => drawn.forEach((chart, i) => chart.update(chartOptions((box.checked ? logarithmic : charts)[i]))));
  const words = charts.some(({ format }) => format === "percent") ? " log scale, error instead of accuracy" : " log scale";
  return [element("p", { class: "controls" }, element("label", {}, box, words)), pair];
}

function chartOptions({ title, xLabel, band, format, logX, logY, dodged, lines }) {
  const kind = ({ split, points }, i) => (split ? `part-${split}` : points ? "ring" : `run-${i}`);
  const series = lines.map((line, i) => ({ ...line, kind: kind(line, i), dots: line.points, marks: line.xs.length <= (line.split ? 40 : 15) }));
  const percents = format === "percent";
  const within = percents && lines.every((line) => [...line.ys, ...line.high].every((value) => value === null || value <= 1));
  return {
    title, xLabel, series, logX, logY, dodged, format: percents ? shortPercent : shortNumber, formatX: shortNumber,
    maxY: within ? 1 : Infinity, bandName: lines.some((line) => line.low.length) ? band : "",
  };
}

/** A row of images with its name. */
function sectionPictures({ name, count, channels, height, width, pixels }) {
  const bytes = decodeBytes(pixels);
  const tiles = Array.from({ length: count }, (_, place) => {
    const tile = makeTile(height, width, `${name}, image ${place}`);
    drawImage(tile, bytes.subarray(place * channels * height * width, (place + 1) * channels * height * width), channels);
    return tile;
  });
  return element("div", { class: "picture-row" }, element("span", { class: "name" }, name), tiles);
}
