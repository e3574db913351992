// Reads drawings, {pixels: base64 bytes, width, height}, and squares to resize, {pixels, from, to}, from standard input
// and answers with what the page's preparation makes of them, as JSON; an error as {error}.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { prepareDigit, resizeSquare } = await import(pathToFileURL(`${process.argv[2]}/prepare.js`));

const decoded = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const encoded = (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value);

function prepared({ pixels, width, height }) {
  try {
    return prepareDigit(decoded(pixels), width, height);
  } catch (error) {
    return { error: error.message };
  }
}

const asked = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify({
  drawings: (asked.drawings ?? []).map(prepared),
  squares: (asked.squares ?? []).map(({ pixels, from, to }) => resizeSquare(decoded(pixels), from, to)),
}, (name, value) => (name === "pixels" || value instanceof Uint8Array ? encoded(name, value) : value)));
