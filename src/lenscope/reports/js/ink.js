// Which ink of a picture is its digit, as `data/digits/ink.py` finds it.

import { componentEncloses, componentGap, labelComponents, measureComponents } from "./components.js";
import { noiseOf } from "./paper.js";
import { RULES_LEAST_SIDE, withoutRules } from "./rules.js";

// Of 255: fainter pictures are blank; fainter ink than this part of the strongest is no ink.
const INK_CONTRAST = 32;
const INK_LEAST = 16;
const INK_MOST_COMPONENTS = 200; // that may be joined
export const INK_OUT = 1; // in `found`: ink that was left out
export const INK_DIGIT = 2;

/** {found: 0 paper, INK_OUT or INK_DIGIT; strongest: the digit's strongest ink without noise; noise}. */
export function findDigit(ink, uneven, width, height) {
  let strongest = ink.reduce((a, b) => Math.max(a, b), 0);
  if (strongest < INK_CONTRAST) throw new Error("no digit found: it is blank");
  for (let pass = 0; ; pass += 1) {
    const noise = noiseOf(ink, strongest);
    const faintest = Math.ceil((INK_LEAST * strongest - (strongest >> 1)) / 255);
    const least = Math.max(faintest, Math.min(4 * noise, strongest >> 1),
      Math.min(uneven, (3 * strongest) >> 3));
    const mask = new Uint8Array(ink.length).map((_, i) => Number(ink[i] >= least));
    const kept = withoutRules({ pixels: mask, width, height }).pixels;
    const labels = labelComponents({ pixels: kept.includes(1) ? kept : mask, width, height });
    const chosen = new Set(inkChosen(measureComponents(labels, ink, width, height), Math.max(width, height)));
    const found = mask.map((inked, i) => (chosen.has(labels[i]) ? INK_DIGIT : inked));
    const before = strongest;
    strongest = Math.max(ink.reduce((a, b, i) => (found[i] === INK_DIGIT ? Math.max(a, b) : a), 0) - 3 * noise, 1);
    if (pass === 1 || strongest === before) return { found, strongest, noise };
  }
}

/** The numbers of the components that are the digit. */
function inkChosen(components, longer) {
  if (longer < RULES_LEAST_SIDE) return components.map(({ number }) => number);
  const byMass = components.toSorted((a, b) => b.mass - a.mass);
  const large = byMass.filter(({ size }) => 50 * size >= longer).slice(0, INK_MOST_COMPONENTS);
  const inner = large.filter((each) => !inkIsRim(each) && !inkIsFrame(each, large));
  const near = [inner.filter(({ size }) => 10 * size >= longer), inner, large].find(({ length }) => length);
  if (!near) throw new Error("no digit found: only specks stand out");
  const main = near[0];
  let others = byMass.filter((each) => each !== main).slice(0, INK_MOST_COMPONENTS).filter((each) => !inkIsFrame(each, large));
  const group = [main];
  for (let joined = [main]; joined.length; group.push(...joined)) {
    const before = joined;
    joined = others.filter((each) => before.some((member) => inkBelongs(each, member, main)));
    others = others.filter((each) => !joined.includes(each));
  }
  const several = others.filter((each) => !inkIsRim(each) && 2 * each.size >= main.size
    && 4 * each.mass >= main.mass && 2 * each.peak >= main.peak).length;
  if (several) throw new Error(`${several + 1} digits or shapes of similar size found`);
  return group.map(({ number }) => number);
}

function inkIsRim({ rim, size, core, mass, spans }) {
  return spans || (3 * rim >= size && 2 * core < mass);
}

function inkIsFrame(each, components) {
  return components.some((inside) => componentEncloses(each, inside) && 3 * inside.size >= each.size && 8 * inside.mass >= each.mass);
}

function inkBelongs(each, member, main) {
  const gap = componentGap(each, member);
  if (2 * each.peak < main.peak || 4 * member.size < main.size) return false;
  if (inkIsRim(each) && (4 * each.size > 5 * main.size || 10 * gap > main.size)) return false;
  if (inkIsBeside(each, main)) return false;
  if (4 * each.size >= main.size) return 4 * gap <= main.size;
  if (12 * each.size >= main.size) return 10 * gap <= Math.max(main.size, 50);
  return gap <= Math.max(Math.floor(main.size / 40), 5);
}

/** Whether two components stand side by side, as two digits do. */
function inkIsBeside(a, b) {
  const [lower, higher] = [a.bottom - a.top, b.bottom - b.top].sort((x, y) => x - y);
  return Math.max(a.left - b.right, b.left - a.right) >= 0 && 4 * lower >= 3 * higher;
}
