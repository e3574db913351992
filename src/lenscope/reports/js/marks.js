// Marks over the maps: the traced value and its inputs.

import { element } from "./elements.js";
import { strongestInputs } from "./trace.js";

export function lookMarkSources(before, made) {
  if (made.window) {
    const { row, column, size } = made.window;
    for (const { channel } of made.sources) {
      lookMarkWindow(before.tiles[before.number < 0 ? 0 : channel], { row, column, height: size, width: size }, "from");
    }
    if (made.winner !== undefined) {
      lookMarkWindow(before.tiles[made.sources[0].channel], { row: row + (made.winner >> 1), column: column + (made.winner % 2), height: 1, width: 1 }, "won");
    }
  } else for (const position of strongestInputs(made)) lookMark(before, position, "from");
}

export function lookMark(stage, position, kind) {
  if (stage.rows) {
    stage.rows[position].node.classList.add("here");
    return;
  }
  const { tile, row, column } = stage.locate(position);
  lookMarkWindow(stage.tiles[tile], { row, column, height: 1, width: 1 }, kind);
}

export function lookMarkWindow({ marks, rows, columns }, { row, column, height, width }, kind) {
  const mark = element("span", { class: `look-mark ${kind}` });
  Object.assign(mark.style, {
    top: `${(100 * row) / rows}%`, left: `${(100 * column) / columns}%`, height: `${(100 * height) / rows}%`, width: `${(100 * width) / columns}%`,
  });
  marks.append(mark);
}

export function lookClearMarks(state) {
  for (const { tiles, rows } of state.stages) {
    for (const { marks } of tiles ?? []) marks.replaceChildren();
    for (const { node } of rows ?? []) node.classList.remove("here");
  }
}
