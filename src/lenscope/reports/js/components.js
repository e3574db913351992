// The connected components of a mask of ink, numbered and measured as `data/digits/components.py` does it.

/** Numbers from 1 for the components that hang together, also over corners, in reading order; 0 elsewhere. */
export function labelComponents({ pixels, width, height }) {
  const labels = new Int32Array(pixels.length);
  const roots = [0];
  const root = (number) => {
    while (roots[number] !== number) number = roots[number] = roots[roots[number]];
    return number;
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const i = y * width + x;
      if (!pixels[i]) continue;
      const touched = [];
      if (x > 0) touched.push(labels[i - 1]);
      if (y > 0) {
        touched.push(labels[i - width]);
        if (x > 0) touched.push(labels[i - width - 1]);
        if (x < width - 1) touched.push(labels[i - width + 1]);
      }
      const found = touched.filter((number) => number).map(root);
      const lowest = found.length ? Math.min(...found) : roots.push(roots.length) - 1;
      for (const each of found) roots[each] = lowest;
      labels[i] = lowest;
    }
  }
  const numbers = new Int32Array(roots.length);
  let count = 0;
  for (let number = 1; number < roots.length; number += 1) if (roots[number] === number) numbers[number] = count += 1;
  return labels.map((number) => (number ? numbers[root(number)] : 0));
}

/** Each component: its number, box, size, sums and greatest of ink, and where it lies (see `Component`). */
export function measureComponents(labels, ink, width, height) {
  const components = [];
  for (let i = 0; i < labels.length; i += 1) {
    if (!labels[i]) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    const component = components[labels[i] - 1] ??= {
      number: labels[i], top: y, bottom: 0, left: x, right: 0, mass: 0, core: 0, peak: 0, rim: 0,
    };
    component.top = Math.min(component.top, y);
    component.bottom = Math.max(component.bottom, y + 1);
    component.left = Math.min(component.left, x);
    component.right = Math.max(component.right, x + 1);
    component.mass += ink[i];
    if (8 * y >= height && 8 * y < 7 * height && 8 * x >= width && 8 * x < 7 * width) component.core += ink[i];
    component.peak = Math.max(component.peak, ink[i]);
    if (x === 0 || y === 0 || x === width - 1 || y === height - 1) component.rim += 1;
  }
  for (const component of components) {
    const { top, bottom, left, right } = component;
    component.size = Math.max(bottom - top, right - left);
    component.spans = (top === 0 && bottom === height) || (left === 0 && right === width);
  }
  return components;
}

/** Pixels between the boxes of two components, along the axis on which they are farther apart. */
export function componentGap(a, b) {
  return Math.max(a.top - b.bottom, b.top - a.bottom, a.left - b.right, b.left - a.right, 0);
}

/** Whether the box of `b` lies inside that of `a`. */
export function componentEncloses(a, b) {
  return a.top < b.top && b.bottom < a.bottom && a.left < b.left && b.right < a.right;
}
