// The page of an experiment: charts of many runs with their bands, and kernels under one another.

import { lineChart } from "./chart.js";
import { mountFilms } from "./compare.js";
import { element } from "./elements.js";
import { shortNumber } from "./learning.js";

/** Fill a section; `part` has charts, a list of {title, xLabel, band, format, logX, logY, lines}, and runs as a comparison has them. */
export function mountFindings(section, { charts, runs }) {
  if (charts.length) section.querySelector(".charts").append(element("div", { class: "pair" }, charts.map((chart) => findingsChart(chart).node)));
  if (runs.length) mountFilms(section.querySelector(".kernels"), runs);
}

function findingsChart({ title, xLabel, band, format, logX, logY, lines }) {
  const series = lines.map((line, i) => ({ ...line, kind: line.points ? "ring" : `run-${i}`, dots: line.points, marks: line.xs.length <= 15 }));
  const shown = format === "percent" ? (value) => `${Number((100 * value).toFixed(2))} %` : shortNumber;
  return lineChart({ title, xLabel, series, format: shown, formatX: shortNumber, logX, logY, bandName: lines.some((line) => line.low.length) ? band : "" });
}
