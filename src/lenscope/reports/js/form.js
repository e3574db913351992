// A prepared digit in the form of the training images, byte by byte as `data/digits/form.py` places it, and when an answer is unsure.

/** A centred digit {pixels, width} in a form {ground, centred, field}: {pixels, width, height}. */
export function placeDigit({ pixels, width }, { ground, centred, field }) {
  const rows = new Array(width).fill(false);
  const columns = new Array(width).fill(false);
  pixels.forEach((pixel, i) => {
    if (pixel === 0) return;
    rows[Math.floor(i / width)] = true;
    columns[i % width] = true;
  });
  const [down, across] = [rows, columns].map((inked) => formShift(inked, centred, field));
  const placed = new Uint8Array(field * field);
  for (let y = Math.max(0, -down); y < Math.min(width, field - down); y += 1) {
    for (let x = Math.max(0, -across); x < Math.min(width, field - across); x += 1) {
      placed[(y + down) * field + x + across] = pixels[y * width + x];
    }
  }
  return { pixels: ground === "light" ? placed.map((pixel) => 255 - pixel) : placed, width: field, height: field };
}

/** Whether a centred digit is in this form already. */
export function isPlacedAsMnist({ ground, centred, field }) {
  return ground === "dark" && centred === "mass" && field === 28;
}

/** How far rows (or columns) move: the field grows on both sides alike, or the ink comes into its middle. */
function formShift(inked, centred, field) {
  const first = inked.indexOf(true);
  if (centred !== "box" || first < 0) return Math.floor((field - inked.length) / 2);
  return Math.floor((field - (inked.lastIndexOf(true) - first + 1)) / 2) - first;
}

/** Whether the best of log-probabilities leads their mean by less than the run's rule asks for (`runs/unsure.py`). */
export function isUnsure(logProbabilities, leastLead) {
  if (leastLead === null) return false;
  return Math.max(...logProbabilities) - logProbabilities.reduce((a, b) => a + b, 0) / logProbabilities.length < leastLead;
}
