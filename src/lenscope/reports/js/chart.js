// Line charts in SVG, with a readout under the pointer and under the keyboard's focus.

import { element } from "./elements.js";

const APART = 9;
const CHART = { width: 560, height: 300, left: 62, right: 16, top: 14, bottom: 44 };

/**
 * A chart: `options` are title, xLabel, series [{name, kind, xs, ys, low, high, dots}], bands [{name, low, high}] across
 * the whole chart, bandName of those around a series, logX, logY, dodged (few x positions, the series side by side at each),
 * maxY, above which the y axis does not reach, format and formatX of (value, decimals); decimals, given for ticks only,
 * are those of their step. Returns {node, update(changes)}.
 */
export function lineChart(options) {
  const state = { bands: [], format: String, formatX: String, ...options };
  const svg = svgElement("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": state.title });
  const legend = element("ul", { class: "legend" });
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const reader = element("div", { class: "plot", tabindex: "0", role: "application", "aria-label": `${state.title}; arrow keys read values` }, svg);
  const node = element("figure", { class: "chart" }, element("figcaption", {}, state.title), reader, legend, readout);
  let scales = null;
  let chosen = null;
  const stops = () => [...new Set(state.series.flatMap((line) => [...line.xs]))].sort((a, b) => a - b);
  const redraw = () => {
    node.querySelector("figcaption").textContent = state.title;
    svg.setAttribute("aria-label", state.title);
    scales = drawChart(svg, state);
    const keys = state.series.filter((line) => line.name).map((line) => element("li", {}, chartKey(line, state.dodged), line.name));
    const bands = [...state.bands.map((band) => band.name), ...(state.bandName ? [state.bandName] : [])];
    legend.replaceChildren(...keys, ...bands.map((name) => element("li", {}, chartKey({ band: true }, state.dodged), name)));
    read(chosen);
  };
  const read = (x) => {
    chosen = x;
    svg.querySelector(".cursor")?.remove();
    if (x === null || !scales) {
      readout.textContent = "\u00a0";
      return;
    }
    const at = scales.x(x);
    svg.append(svgElement("line", { class: "cursor", x1: at, x2: at, y1: CHART.top, y2: CHART.height - CHART.bottom }));
    const parts = state.series.filter((line) => line.name && line.xs.includes(x))
      .map((line) => `${line.name} ${readValue(line, line.xs.indexOf(x), state.format)}`);
    readout.textContent = `${state.xLabel} ${state.formatX(x)}: ${parts.join(", ")}`;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = (event.clientX - box.left) / box.width * CHART.width;
    const all = stops().filter((x) => scales.shown(x));
    if (all.length) read(all.reduce((a, b) => (Math.abs(scales.x(b) - wanted) < Math.abs(scales.x(a) - wanted) ? b : a)));
  });
  svg.addEventListener("pointerleave", () => read(null));
  reader.addEventListener("keydown", (event) => {
    const all = stops().filter((x) => scales.shown(x));
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined || !all.length) return;
    event.preventDefault();
    const from = chosen === null ? (move > 0 ? -1 : all.length) : all.indexOf(chosen);
    read(all[Math.max(0, Math.min(all.length - 1, from + move))]);
  });
  reader.addEventListener("blur", () => read(null));
  redraw();
  return { node, update: (changes) => { Object.assign(state, changes); redraw(); } };
}

/** An element of SVG. */
function svgElement(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawChart(svg, state) {
  const { series, bands, logX, logY } = state;
  const xs = series.flatMap((line) => [...line.xs]).filter((x) => !logX || x > 0);
  const shown = (values = [], at) => values.filter((y, i) => Number.isFinite(y) && (!logX || at[i] > 0) && (!logY || y > 0));
  const ys = series.flatMap((line) => [line.ys, line.low, line.high].flatMap((values) => shown(values, line.xs)));
  svg.replaceChildren();
  if (!xs.length || !ys.length) {
    svg.append(svgElement("text", { class: "none", x: CHART.width / 2, y: CHART.height / 2 }, "no values on this scale"));
    return { x: () => 0, shown: () => false };
  }
  const edges = [...ys, ...bands.flatMap((band) => [band.low, band.high])].filter((y) => !logY || y > 0);
  const inset = state.dodged ? APART * series.length / 2 : 0;
  const leastStep = xs.every(Number.isInteger) ? 1 : 0;
  const x = chartScale(xs, logX, CHART.left + inset, CHART.width - CHART.right - inset, { leastStep });
  if (state.dodged) Object.assign(x, { ticks: [...new Set(xs)], decimals: undefined });
  const y = chartScale(edges, logY, CHART.height - CHART.bottom, CHART.top, { range: state.rangeY, most: state.maxY });
  for (const band of bands) {
    const [top, bottom] = [y(band.high), y(Math.max(band.low, y.low))];
    svg.append(svgElement("rect", { class: "band", x: CHART.left, y: top, width: CHART.width - CHART.left - CHART.right, height: Math.max(1, bottom - top) }));
  }
  drawAxes(svg, x, y, state);
  if (state.dodged) series.forEach((line, i) => drawApart(svg, line, (i - (series.length - 1) / 2) * APART, x, y));
  else {
    for (const line of series) if (line.low?.length) drawBand(svg, line, x, y, logX, logY);
    for (const line of series) drawLine(svg, line, x, y, logX, logY);
  }
  return { x, shown: (value) => !logX || value > 0 };
}

/** A piece of a line as the chart draws it, for the legend. */
function chartKey({ kind, dots, band }, dodged) {
  const svg = svgElement("svg", { class: "key", viewBox: "0 0 36 12", "aria-hidden": "true" });
  if (band && dodged) svg.append(svgElement("line", { class: "whisker", x1: 18, x2: 18, y1: 0, y2: 12 }));
  else if (band) svg.append(svgElement("rect", { class: "band", x: 0, y: 0, width: 36, height: 12 }));
  else if (dodged) svg.append(svgElement("circle", { class: `dot ${kind}`, cx: 18, cy: 6, r: 4 }));
  else if (dots) svg.append(svgElement("circle", { class: `dot ${kind} ring`, cx: 18, cy: 6, r: 5 }));
  else svg.append(svgElement("polyline", { class: `line ${kind}`, points: "0,6 36,6" }));
  return svg;
}

/** A value, with its interval where there is one. */
function readValue({ ys, low, high }, at, format) {
  const range = low?.length && low[at] !== null ? ` (${format(low[at])} to ${format(high[at])})` : "";
  return ys[at] === null ? "–" : `${format(ys[at])}${range}`;
}

function drawBand(svg, { kind, xs, low, high }, x, y, logX, logY) {
  const there = xs.map((_, i) => i).filter((i) => Number.isFinite(low[i]) && Number.isFinite(high[i]) && (!logX || xs[i] > 0) && (!logY || high[i] > 0));
  const place = (i, value) => `${x(xs[i]).toFixed(1)},${y(Math.max(value, y.low)).toFixed(1)}`;
  const points = [...there.map((i) => place(i, high[i])), ...there.reverse().map((i) => place(i, low[i]))];
  svg.append(svgElement("polygon", { class: `about ${kind}`, points: points.join(" ") }));
}

function drawLine(svg, line, x, y, logX, logY) {
  const points = [...line.xs].map((at, i) => [at, line.ys[i]])
    .filter(([at, value]) => Number.isFinite(value) && (!logX || at > 0) && (!logY || value > 0));
  const places = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  if (!line.dots && places.length > 1) svg.append(svgElement("polyline", { class: `line ${line.kind}`, points: places.join(" ") }));
  if (line.dots || places.length === 1 || (line.marks && places.length <= 40)) {
    for (const [at, value] of points) svg.append(svgElement("circle", { class: `dot ${line.kind}${line.dots ? " ring" : ""}`, cx: x(at), cy: y(value), r: line.dots ? 5 : 3 }));
  }
}

/** The values of a series with whiskers, shifted so that no series hides another. */
function drawApart(svg, { kind, xs, ys, low, high }, aside, x, y) {
  xs.forEach((at, i) => {
    if (!Number.isFinite(ys[i])) return;
    const place = x(at) + aside;
    if (low?.length && Number.isFinite(low[i])) svg.append(svgElement("line", { class: `whisker ${kind}`, x1: place, x2: place, y1: y(low[i]), y2: y(high[i]) }));
    svg.append(svgElement("circle", { class: `dot ${kind}`, cx: place, cy: y(ys[i]), r: 4 }));
  });
}

function drawAxes(svg, x, y, state) {
  const { left, right, bottom, width, height } = CHART;
  for (const tick of y.ticks) {
    svg.append(svgElement("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(svgElement("text", { class: "tick y", x: left - 8, y: y(tick) + 4 }, state.format(tick, y.decimals)));
  }
  for (const tick of x.ticks) svg.append(svgElement("text", { class: "tick x", x: x(tick), y: height - bottom + 20 }, state.formatX(tick, x.decimals)));
  svg.append(svgElement("text", { class: "name x", x: (left + width - right) / 2, y: height - 6 }, state.xLabel));
  svg.append(svgElement("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
}

function chartScale(values, log, from, to, { range, most = Infinity, leastStep = 0 }) {
  let [low, high] = range && !log ? range : [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  else if (!range || log) [low, high] = log ? [low / 1.15, high * 1.15] : [low - 0.04 * (high - low), high + 0.04 * (high - low)];
  high = Math.min(high, most);
  const change = log ? Math.log10 : (value) => value;
  const scale = (value) => from + (change(value) - change(low)) / (change(high) - change(low)) * (to - from);
  scale.low = low;
  const step = log ? undefined : Math.max(leastStep, tickStep(low, high));
  scale.ticks = (log ? logTicks(low, high) : evenTicks(low, high, step)).filter((tick) => tick >= low && tick <= high);
  scale.decimals = log ? undefined : Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return scale;
}

function tickStep(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
}

function evenTicks(low, high, step) {
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function logTicks(low, high) {
  const decades = Array.from({ length: 40 }, (_, i) => 10 ** (i - 20)).filter((tick) => tick >= low / 10 && tick <= high * 10);
  const few = decades.filter((tick) => tick >= low && tick <= high).length;
  return (few > 2 ? decades : decades.flatMap((tick) => [tick, 2 * tick, 5 * tick])).map((tick) => Number(tick.toPrecision(3)));
}
