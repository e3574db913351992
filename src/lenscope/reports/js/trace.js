// The panel with the computation of one value: patch, kernel, products, sums, bias, activation.

import { magnitude } from "./arrays.js";
import { element, number, percent } from "./elements.js";
import { divergingColour, drawTile, makeTile } from "./tiles.js";

const TRACE_STRONGEST = 10;
const TRACE_HINT = "Point at any value, or tap it, to see how it was computed. A click keeps it here; Escape closes it.";

/**
 * The panel: {node, show(traced), clear()}.
 *
 * `traced` is {made: what `explain` gave (or {op: "input"}), title, source: {name, colour(value), nameOf(position)},
 * weightScale, field, logProbability and className for a class, pinned, spoken: whether to read it out}.
 */
export function makeTrace(close) {
  const body = element("div", { class: "look-made" });
  const voice = element("p", { class: "unseen", "aria-live": "polite" });
  const hint = element("p", { class: "look-hint" }, TRACE_HINT);
  const button = element("button", { type: "button", class: "look-close", onclick: close }, "Close");
  const title = element("h3", {}, "How a value was computed");
  const head = element("div", { class: "look-head" }, title, button);
  const node = element("div", { class: "look-trace", role: "region", "aria-label": "How a value was computed", tabindex: "0" }, head, hint, body, voice);
  const panel = { node, channel: null };
  panel.show = (traced) => {
    node.classList.add("open");
    node.classList.toggle("pinned", traced.pinned);
    title.textContent = traced.title;
    panel.traced = traced;
    traceFill(panel, body);
    if (traced.spoken) voice.textContent = traced.title;
  };
  panel.clear = () => {
    node.classList.remove("open", "pinned");
    title.textContent = "How a value was computed";
    body.replaceChildren();
    panel.traced = null;
  };
  return panel;
}

/** The indices of the inputs with the largest products, the largest first. */
export function strongestInputs({ products }) {
  return [...products.keys()].sort((a, b) => Math.abs(products[b]) - Math.abs(products[a])).slice(0, TRACE_STRONGEST);
}

/** A number for reading: three decimals, none where it is large. */
export function traceNumber(value) {
  return number(value, Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : 3);
}

function traceFill(panel, body) {
  const { traced } = panel;
  const fill = { input: traceInput, conv: traceConv, maxpool: tracePool, subsample: tracePool, dense: traceDense, rbf: traceRbf }[traced.made.op];
  const field = traced.field && element("p", { class: "look-field" }, `The dashed frame is its receptive field, ${traced.field.height}×${traced.field.width} pixels of the image.`);
  body.replaceChildren(...fill(traced, panel, body), ...(field ? [field] : []));
}

function traceInput({ made }) {
  return [traceLedger([["input value", made.value, "total"]])];
}

function traceConv(traced, panel, body) {
  const { made, source, weightScale } = traced;
  const chosen = traceChannel(made, panel);
  const { patch, kernel, products, sum } = made.sources[chosen];
  const scale = magnitude(made.sources.flatMap((each) => each.products));
  const colours = { patch: source.colour, kernel: traceDiverging(weightScale), products: traceDiverging(scale) };
  const several = made.sources.length > 1;
  const place = several ? `${source.channelName(chosen)} ` : "";
  const sums = several
    ? [[`sum of ${source.channelName(chosen)}`, sum], [`sum of the other ${made.sources.length - 1}`, made.total - made.bias - sum]]
    : [[`sum of the ${products.length} products`, sum]];
  return [
    element("div", { class: "look-product" },
      traceGrid(`${place}patch`, patch, colours.patch, made.window.size), element("span", { class: "look-sign" }, "×"),
      traceGrid("kernel", kernel, colours.kernel, made.window.size),
      element("div", { class: "look-result" }, element("span", { class: "look-sign" }, "="), traceGrid("products", products, colours.products, made.window.size)),
      traceLedger([...sums, ["bias", made.bias], ["total", made.total, "total"], ...traceActivated(made)]),
      ...(several ? [traceChannels(traced, panel, body, chosen, colours)] : [])),
    ...(made.off ? [element("p", { class: "look-field" }, "This kernel is ablated: its weights and its bias count as 0.")] : []),
  ];
}

/** The channel whose numbers are shown: the chosen one, else that with the largest sum. */
function traceChannel({ sources }, panel) {
  if (panel.channel !== null && panel.channel < sources.length) return panel.channel;
  return sources.reduce((best, source, i) => (Math.abs(source.sum) > Math.abs(sources[best].sum) ? i : best), 0);
}

/** All channels side by side: patch, kernel, products and their sum; a click shows one in numbers. */
function traceChannels({ made, source }, panel, body, chosen, colours) {
  const choose = (channel) => {
    panel.channel = channel;
    traceFill(panel, body);
    body.querySelectorAll(".look-channel")[channel].focus();
  };
  const columns = made.sources.map((each, channel) => element("button", {
    type: "button", class: "look-channel", "aria-pressed": String(channel === chosen), onclick: () => choose(channel),
    "aria-label": `${source.channelName(channel)}: sum ${traceNumber(each.sum)}; show its numbers`,
  }, element("span", {}, source.channelShort(channel)), ...["patch", "kernel", "products"].map((part) => traceTile(each[part], colours[part], made.window.size)),
  element("span", {}, number(each.sum, 2))));
  const names = ["", "patch", "kernel", "products", "sum"].map((name) => element("span", {}, name));
  return element("div", { class: "look-channels", role: "group", "aria-label": "Channels" },
    element("div", { class: "look-rows", "aria-hidden": "true" }, names), columns);
}

function tracePool({ made, source }) {
  const [{ channel, patch }] = made.sources;
  const sentence = made.op === "maxpool" ? "The maximum of the four values is framed." : "The four values are added.";
  const rows = made.op === "maxpool" ? [["maximum", made.total, "total"]]
    : [["sum of the four", made.sum], ["times the map’s coefficient", made.coefficient], ["bias", made.bias], ["total", made.total, "total"], ...traceActivated(made)];
  return [
    element("p", {}, sentence),
    element("div", { class: "look-product" }, traceGrid(`2×2 of ${source.channelName(channel)}`, patch, source.colour, 2, made.winner), traceLedger(rows)),
  ];
}

function traceDense(traced) {
  const { made } = traced;
  const { rows, rest } = traceTerms(traced, ["input", "value", "weight", "product"]);
  return [
    rows,
    traceLedger([
      [`sum of the other ${made.products.length - TRACE_STRONGEST}`, rest], ["bias", made.bias], ["total", made.total, "total"],
      ...traceActivated(made), ...traceSoftmax(traced, made.total),
    ]),
  ];
}

function traceRbf(traced) {
  const { made, className } = traced;
  const { rows, rest } = traceTerms(traced, ["input", "value", "code", "difference²"]);
  const pictures = made.inputs.length === 84 && [["inputs", made.inputs], [`code of ${className}`, made.weights]].map(([name, values]) => {
    const tile = traceTile(values, traceDiverging(1.7159), 7);
    return element("figure", {}, tile, element("figcaption", {}, name));
  });
  return [
    element("p", {}, "The penalty of a class is the squared distance of the inputs from its fixed code."),
    element("div", { class: "look-codes" }, rows, ...(pictures ? [element("div", {}, pictures)] : [])),
    traceLedger([
      [`sum of the other ${made.products.length - TRACE_STRONGEST}`, rest], ["penalty", made.sum], ["score, minus the penalty", made.total, "total"],
      ...traceSoftmax(traced, made.total),
    ]),
  ];
}

/** The inputs with the largest products as a table, and the sum of the others. */
function traceTerms({ made, source }, names) {
  const strongest = strongestInputs(made);
  const scale = magnitude(strongest.map((place) => made.products[place]));
  const shown = strongest.map((place) => element("tr", {},
    element("th", { scope: "row" }, source.nameOf(place)),
    [made.inputs[place], made.weights[place]].map((value) => element("td", {}, traceNumber(value))),
    element("td", { class: "look-term" }, traceBar(made.products[place] / scale), element("span", {}, traceNumber(made.products[place])))));
  const rest = made.sum - strongest.reduce((sum, place) => sum + made.products[place], 0);
  const rows = element("table", { class: "look-terms" },
    element("caption", {}, `The ${strongest.length} of ${made.products.length} inputs with the largest products`),
    element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, shown));
  return { rows, rest };
}

/** A bar from the middle: to the right above zero, to the left below. */
function traceBar(share) {
  const bar = element("span", { class: share < 0 ? "below" : "above" });
  bar.style.width = `${(50 * Math.abs(share)).toFixed(1)}%`;
  return element("span", { class: "look-stem", "aria-hidden": "true" }, bar);
}

function traceActivated({ activation, value }) {
  if (activation === "relu") return [["after ReLU, max(0, total)", value, "total"]];
  if (activation === "squash") return [["after tanh, 1.7159 tanh(⅔ total)", value, "total"]];
  return [];
}

function traceSoftmax({ logProbability }, score) {
  if (logProbability === undefined) return [];
  return [
    ["minus log Σ exp of all scores", score - logProbability],
    ["log-probability", logProbability, "total"],
    ["probability, its exp", percent(Math.exp(logProbability), 2)],
  ];
}

/** Names and numbers in two columns. */
function traceLedger(rows) {
  return element("dl", { class: "look-ledger" }, rows.map(([name, value, kind]) =>
    element("div", { class: kind ?? "" }, element("dt", {}, name), element("dd", {}, typeof value === "string" ? value : traceNumber(value)))));
}

/** A square of numbers on a ground of their colours. */
function traceGrid(name, values, colour, size, winner) {
  const cells = Array.from(values, (value, i) => {
    const cell = element("span", { class: i === winner ? "won" : "" }, number(value, Math.abs(value) >= 10 ? 1 : 2));
    const ground = colour(value);
    cell.style.backgroundColor = `rgb(${ground.join(" ")})`;
    cell.style.color = traceInkOn(ground);
    return cell;
  });
  const rows = Array.from({ length: size }, (_, row) => Array.from(values.slice(row * size, (row + 1) * size), (value) => number(value, 2)).join(" "));
  return element("figure", {}, element("div", { class: `look-grid of-${size}`, role: "img", "aria-label": `${name}: ${rows.join("; ")}` }, cells),
    element("figcaption", {}, name));
}

/** Black or white, whichever is easier to read on a colour, by the relative luminance of WCAG 2. */
function traceInkOn(colour) {
  const [red, green, blue] = colour.map((channel) => (channel <= 10 ? channel / 3294.6 : ((channel / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

function traceTile(values, colour, width) {
  const tile = makeTile(values.length / width, width, "");
  tile.setAttribute("aria-hidden", "true");
  drawTile(tile, values, colour);
  return tile;
}

function traceDiverging(scale) {
  return (value) => divergingColour(value / scale);
}
