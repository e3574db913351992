// Loss and accuracy against epoch.

import { lineChart } from "./chart.js";
import { count, element, number } from "./elements.js";

/** Fill the section with its two charts; `curves` has loss and accuracy, each a list of {name, epochs, values}, and the
 * title of the loss; an autoencoder has no accuracy. */
export function mountLearning(section, curves) {
  const logarithmic = element("input", { type: "checkbox", id: "learning-log" });
  const accuracy = { title: "Accuracy", series: learningSeries(curves.accuracy) };
  const errors = { title: "Errors, what accuracy lacks", series: learningSeries(curves.accuracy, (value) => 1 - value) };
  const axis = { xLabel: "epoch", formatX: shortNumber };
  const charts = [
    lineChart({ ...axis, title: curves.title, format: shortNumber, series: learningSeries(curves.loss) }),
    lineChart({ ...axis, ...accuracy, format: shortPercent }),
  ];
  logarithmic.addEventListener("change", () => {
    const log = { logX: logarithmic.checked, logY: logarithmic.checked };
    charts[0].update(log);
    charts[1].update({ ...log, ...(logarithmic.checked ? errors : accuracy) });
  });
  const answers = curves.accuracy.length > 0;
  section.querySelector(".charts").append(
    element("p", { class: "controls" }, element("label", {}, logarithmic, answers ? " logarithmic, with errors for accuracy" : " logarithmic")),
    element("div", { class: "pair" }, (answers ? charts : charts.slice(0, 1)).map((chart) => chart.node)),
  );
}

/** A number as short as it can be: three digits, or whole from 100 on; or with the given number of decimals. */
export function shortNumber(value, decimals) {
  if (decimals) return number(value, decimals);
  if (Math.abs(value) >= 100) return count(Math.round(value)).replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/** A fraction as a percentage with two decimals or fewer, or with those of a tick of fractions. */
export function shortPercent(value, decimals) {
  return `${decimals === undefined ? Number((100 * value).toFixed(2)) : number(100 * value, Math.max(0, decimals - 2))} %`;
}

function learningSeries(curves, change = (value) => value) {
  return curves.map(({ name, epochs, values }) => ({
    name: name === "lecture" ? "the lecture's" : name, kind: `part-${name}`, xs: epochs, ys: values.map(change), dots: name === "lecture", marks: true,
  }));
}
