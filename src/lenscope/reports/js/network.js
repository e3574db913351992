// The trained network in the page: the forward pass, and the inputs of any of its values.
//
// Sums are computed in double precision and stored as float32, so that they are at least as exact as those of PyTorch.

import { argmax, decodeFloats } from "./arrays.js";

/** The network of a spec (layers, tensors as base64, range of the input), its shapes worked out. */
export function makeNetwork(spec) {
  const shape = [spec.channels, spec.size, spec.size];
  const layers = [];
  for (const { name, op, activation } of spec.layers) {
    const parts = Object.fromEntries(["weight", "bias", "codes"].filter((part) => spec.tensors[`${name}.${part}`])
      .map((part) => [part, netTensor(spec.tensors[`${name}.${part}`])]));
    const before = layers.length ? layers.at(-1).shape : shape;
    layers.push({ name, op, activation, ...parts, inputShape: before, shape: netShape(op, before, parts) });
  }
  return { shape, layers, range: spec.input ?? { scale: 1, shift: 0 } };
}

/**
 * One image through the network.
 *
 * `pixels` are channel after channel, bytes or numbers from 0 to 1. `off` names the ablated kernels by layer,
 * {conv1: Set of numbers}: their weights and their bias count as 0.
 */
export function forward(network, pixels, off = {}) {
  const { scale, shift } = network.range;
  const unit = pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray ? 255 : 1;
  const input = { shape: network.shape, values: Float32Array.from(pixels, (pixel) => (pixel / unit) * scale + shift) };
  const stages = [];
  let values = input.values;
  for (const layer of network.layers) {
    values = netLayer(layer, values, off[layer.name] ?? new Set());
    stages.push({ name: layer.name, op: layer.op, activation: layer.activation, shape: layer.shape, values });
  }
  const logProbabilities = netLogSoftmax(values);
  return { input, stages, off, logProbabilities, probabilities: logProbabilities.map(Math.exp) };
}

/**
 * The inputs of one value of a pass: `stage` is the number of its stage, `position` its index among the values.
 *
 * Always given: op, activation, name, place ({map, row, column} or {unit}), total (before the activation), value. For
 * maps, `window` ({row, column, size}) is their window on each of `sources`, the maps of the previous stage.
 */
export function explain(network, passed, stage, position) {
  const layer = network.layers[stage];
  const before = stage ? passed.stages[stage - 1].values : passed.input.values;
  const off = (passed.off[layer.name] ?? new Set()).has(netPlace(layer.shape, position).map);
  const made = {
    conv: netExplainConv, maxpool: netExplainMaxpool, subsample: netExplainSubsample, dense: netExplainDense, rbf: netExplainRbf,
  }[layer.op](layer, before, position, off);
  const { op, activation, name } = layer;
  return { op, activation, name, off, place: netPlace(layer.shape, position), ...made, value: passed.stages[stage].values[position] };
}

/** The receptive field of a value in the input, {row, column, height, width}; null after a dense layer. */
export function receptiveField(network, stage, position) {
  const { map, row, column } = netPlace(network.layers[stage].shape, position);
  if (map === undefined) return null;
  let [top, left, bottom, right] = [row, column, row, column];
  for (const layer of network.layers.slice(0, stage + 1).reverse()) {
    if (layer.op === "conv") [bottom, right] = [bottom + layer.weight.shape[2] - 1, right + layer.weight.shape[3] - 1];
    else [top, left, bottom, right] = [2 * top, 2 * left, 2 * bottom + 1, 2 * right + 1];
  }
  return { row: top, column: left, height: bottom - top + 1, width: right - left + 1 };
}

/** The position of a value: {map, row, column} in maps, {unit} in a dense layer. */
export function netPlace(shape, position) {
  if (shape.length === 1) return { unit: position };
  const [, height, width] = shape;
  return { map: Math.floor(position / (height * width)), row: Math.floor(position / width) % height, column: position % width };
}

function netTensor({ shape, data }) {
  return { shape, values: decodeFloats(data) };
}

function netShape(op, [maps, height, width], { weight, codes }) {
  if (op === "conv") return [weight.shape[0], height - weight.shape[2] + 1, width - weight.shape[3] + 1];
  if (op === "maxpool" || op === "subsample") return [maps, height >> 1, width >> 1];
  return [op === "rbf" ? codes.shape[0] : weight.shape[0]];
}

function netLayer(layer, before, off) {
  const make = { conv: netConv, maxpool: netMaxpool, subsample: netSubsample, dense: netDense, rbf: netRbf }[layer.op];
  return make(layer, before, netActivation(layer.activation), off);
}

function netActivation(name) {
  if (name === "relu") return (value) => Math.max(value, 0);
  if (name === "squash") return (value) => 1.7159 * Math.tanh((value * 2) / 3);
  return (value) => value;
}

function netConv({ inputShape: [channels, rows, columns], shape: [maps, height, width], weight, bias }, before, activate, off) {
  const size = weight.shape[2];
  const made = new Float32Array(maps * height * width);
  const sums = new Float64Array(height * width);
  for (let map = 0; map < maps; map += 1) {
    sums.fill(off.has(map) ? 0 : bias.values[map]);
    for (let channel = 0; channel < channels && !off.has(map); channel += 1) {
      for (let tap = 0; tap < size * size; tap += 1) {
        const factor = weight.values[(map * channels + channel) * size * size + tap];
        if (factor === 0) continue;
        const from = (channel * rows + Math.floor(tap / size)) * columns + (tap % size);
        for (let y = 0; y < height; y += 1) {
          for (let x = 0; x < width; x += 1) sums[y * width + x] += factor * before[from + y * columns + x];
        }
      }
    }
    for (let i = 0; i < sums.length; i += 1) made[map * sums.length + i] = activate(sums[i]);
  }
  return made;
}

/** The four inputs of position `position` of a pool, row after row. */
function netFour({ inputShape: [, rows, columns], shape }, before, position) {
  const { map, row, column } = netPlace(shape, position);
  const corner = (map * rows + 2 * row) * columns + 2 * column;
  return [before[corner], before[corner + 1], before[corner + columns], before[corner + columns + 1]];
}

function netMaxpool(layer, before, activate) {
  return netFilled(layer, (position) => activate(Math.max(...netFour(layer, before, position))));
}

function netSubsample(layer, before, activate) {
  const each = layer.shape[1] * layer.shape[2];
  return netFilled(layer, (position) => {
    const [a, b, c, d] = netFour(layer, before, position);
    const map = Math.floor(position / each);
    return activate((a + b + c + d) * layer.weight.values[map] + layer.bias.values[map]);
  });
}

function netDense(layer, before, activate) {
  const { values } = layer.weight;
  return netFilled(layer, (unit) => {
    let sum = layer.bias.values[unit];
    const row = unit * before.length;
    for (let i = 0; i < before.length; i += 1) sum += values[row + i] * before[i];
    return activate(sum);
  });
}

function netRbf(layer, before) {
  const { values } = layer.codes;
  return netFilled(layer, (unit) => {
    let penalty = 0;
    for (let i = 0; i < before.length; i += 1) penalty += (before[i] - values[unit * before.length + i]) ** 2;
    return -penalty;
  });
}

function netFilled({ shape }, at) {
  return Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, position) => at(position));
}

function netLogSoftmax(scores) {
  const greatest = scores[argmax(scores)];
  const log = Math.log(scores.reduce((sum, score) => sum + Math.exp(score - greatest), 0));
  return scores.map((score) => score - greatest - log);
}

function netExplainConv({ inputShape: [channels, rows, columns], shape, weight, bias: biases }, before, position, off) {
  const { map, row, column } = netPlace(shape, position);
  const size = weight.shape[2];
  const sources = Array.from({ length: channels }, (_, channel) => {
    const taps = Array.from({ length: size * size }, (_, tap) => tap);
    const patch = taps.map((tap) => before[(channel * rows + row + Math.floor(tap / size)) * columns + column + (tap % size)]);
    const kernel = taps.map((tap) => (off ? 0 : weight.values[(map * channels + channel) * size * size + tap]));
    const products = taps.map((tap) => patch[tap] * kernel[tap]);
    return { channel, patch, kernel, products, sum: netSum(products) };
  });
  const bias = off ? 0 : biases.values[map];
  const total = netSum(sources.map((source) => source.sum)) + bias;
  return { window: { row, column, size }, sources, bias, total };
}

function netExplainMaxpool(layer, before, position) {
  const { map, row, column } = netPlace(layer.shape, position);
  const four = netFour(layer, before, position);
  const winner = argmax(four);
  return { window: { row: 2 * row, column: 2 * column, size: 2 }, sources: [{ channel: map, patch: four }], winner, total: four[winner] };
}

function netExplainSubsample(layer, before, position) {
  const { map, row, column } = netPlace(layer.shape, position);
  const four = netFour(layer, before, position);
  const [sum, coefficient, bias] = [netSum(four), layer.weight.values[map], layer.bias.values[map]];
  return {
    window: { row: 2 * row, column: 2 * column, size: 2 }, sources: [{ channel: map, patch: four }],
    sum, coefficient, bias, total: sum * coefficient + bias,
  };
}

function netExplainDense(layer, before, unit) {
  const weights = layer.weight.values.subarray(unit * before.length, (unit + 1) * before.length);
  const products = Float64Array.from(before, (value, i) => value * weights[i]);
  const [sum, bias] = [netSum(products), layer.bias.values[unit]];
  return { inputs: before, weights, products, sum, bias, total: sum + bias };
}

function netExplainRbf(layer, before, unit) {
  const codes = layer.codes.values.subarray(unit * before.length, (unit + 1) * before.length);
  const products = Float64Array.from(before, (value, i) => (value - codes[i]) ** 2);
  const sum = netSum(products);
  return { inputs: before, weights: codes, products, sum, total: -sum };
}

function netSum(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
