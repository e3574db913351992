// Trains with the WebAssembly module as a task says: node wasm.mjs MODULE FOLDER. The folder has task.json and arrays
// as plain little-endian bytes; weights, losses and log-probabilities are written into it.
import { readFileSync, writeFileSync } from "node:fs";

const [, , path, folder] = process.argv;
const task = JSON.parse(readFileSync(`${folder}/task.json`));
let memory;
const now = (_clock, _precision, to) => {
  new DataView(memory.buffer).setBigUint64(to, process.hrtime.bigint(), true);
  return 0;
};
const none = () => 0;
const system = { clock_time_get: now, fd_close: none, fd_seek: none, fd_write: none };
const module = await WebAssembly.compile(readFileSync(path));
const { exports: engine } = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: system });
memory = engine.memory;
engine._initialize();

const room = (bytes) => engine.allocate(Math.max(bytes, 1));
const given = (name) => {
  const content = readFileSync(`${folder}/${name}`);
  const at = room(content.length);
  new Uint8Array(memory.buffer).set(content, at);
  return at;
};
const save = (name, at, bytes) => writeFileSync(`${folder}/${name}`, new Uint8Array(memory.buffer, at, bytes));

const { channels, classes, rule, momentum, decay, weights, steps, epoch, seed, images } = task;
const pixels = given("images");
const augmentation = task.augmentation ? given("augmentation") : 0;
const trainer = engine.make_trainer(
  channels, classes, rule, momentum, decay, pixels, given("labels"), augmentation, BigInt(seed),
);
const own = given("weights");
const losses = room(4 * steps);
const began = performance.now();
const taken = engine.run(
  trainer, own, weights, given("indices"), given("ends"), given("rates"), steps, BigInt(epoch), losses,
);
const seconds = (performance.now() - began) / 1000;
const answers = room(4 * images * classes);
engine.evaluate(channels, classes, own, pixels, images, answers);
engine.drop_trainer(trainer);
save("weights.out", own, 4 * weights);
save("losses.out", losses, 4 * steps);
save("answers.out", answers, 4 * images * classes);
console.log(JSON.stringify({ taken, seconds }));
