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

/** A fraction as a percentage. */
export function percent(share, digits = 2) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`;
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

/** A number as short as it can be: three digits, or whole from 100 on; or with the given number of decimals. */
export function shortNumber(value, decimals) {
  if (decimals) return number(value, decimals);
  if (Math.abs(value) >= 100) return count(Math.round(value)).replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/** A fraction as a percentage with two decimals or fewer, or with those of a tick of fractions. */
export function shortPercent(value, decimals) {
  return `${decimals === undefined ? Number((100 * value).toFixed(2)) : number(100 * value, Math.max(0, decimals - 2))}\u00a0%`;
}
