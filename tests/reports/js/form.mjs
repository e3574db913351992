// Reads digits, {pixels: base64 bytes, form}, and answers, {logProbabilities, leastLead}, from standard input and answers
// with what the page makes of them, as JSON.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { isUnsure, placeDigit } = await import(pathToFileURL(`${process.argv[2]}/form.js`));

const { digits, answers } = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify({
  digits: digits.map(({ pixels, form }) => {
    const placed = placeDigit({ pixels: Uint8Array.from(Buffer.from(pixels, "base64")), width: 28, height: 28 }, form);
    return { ...placed, pixels: [...placed.pixels] };
  }),
  answers: answers.map(({ logProbabilities, leastLead }) => isUnsure(Float32Array.from(logProbabilities), leastLead)),
}));
