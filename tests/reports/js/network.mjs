// Reads {spec, images: base64 float32, passes: [{image, off}], explained: [[stage, position], …]} from standard input and
// answers with what the page's network makes of them, as JSON.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { makeNetwork, forward, explain, receptiveField } = await import(pathToFileURL(`${process.argv[2]}/network.js`));
const { decodeFloats } = await import(pathToFileURL(`${process.argv[2]}/arrays.js`));

const asked = JSON.parse(readFileSync(0, "utf8"));
const network = makeNetwork(asked.spec);
const length = network.shape.reduce((a, b) => a * b);
const pixels = decodeFloats(asked.images);

const passes = asked.passes.map(({ image, off }) => forward(
  network, pixels.subarray(image * length, (image + 1) * length),
  Object.fromEntries(Object.entries(off).map(([name, kernels]) => [name, new Set(kernels)])),
));

const plain = (_, value) => (ArrayBuffer.isView(value) ? [...value] : value instanceof Set ? [...value] : value);
process.stdout.write(JSON.stringify({
  passes: passes.map(({ input, stages, logProbabilities, probabilities }) => ({ input, stages, logProbabilities, probabilities })),
  explained: (asked.explained ?? []).map(([stage, position]) => ({
    ...explain(network, passes[0], stage, position), field: receptiveField(network, stage, position),
  })),
}, plain));
