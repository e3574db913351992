// Elements of the page. Text is always put in as text: a name that looks like HTML is shown as it is.

/** A new element: its attributes, and its children, which are elements or texts. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat());
  return made;
}

/** A table with a header, of rows of texts or elements; the first cell of a row names it. */
export function table(caption, header, rows, attributes = {}) {
  const head = element("tr", {}, header.map((name) => element("th", { scope: "col" }, name)));
  const body = rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), cells.map((cell) => element("td", {}, cell))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", attributes, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, body)));
}

/** A fraction as a percentage. */
export function percent(share, digits = 2) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

/** A number with some digits, with a true minus, but none before a zero. */
export function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const shown = value.toFixed(digits);
  return Number(shown) === 0 ? shown.replace("-", "") : shown.replace("-", "−");
}

/** A whole number with its thousands set off. */
export function count(value) {
  return value.toLocaleString("en-GB");
}
