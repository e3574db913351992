// Arrays that the page contains as base64.

/** The bytes of a base64 text; Uint8Array. */
export function decodeBytes(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** Little-endian float32 values; Float32Array. */
export function decodeFloats(text) {
  const bytes = decodeBytes(text);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** Little-endian float16 values, widened; Float32Array. */
export function decodeHalves(text) {
  const bytes = decodeBytes(text);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => widen(view.getUint16(2 * i, true)));
}

function widen(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = (bits & 0x3ff) / 1024;
  if (exponent === 0) return sign * fraction * 2 ** -14;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction) * 2 ** (exponent - 15);
}

/** The index of the greatest value. */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i] > values[best]) best = i;
  return best;
}

/** The greatest magnitude of a value, at least `least`. */
export function magnitude(values, least = 1e-12) {
  let found = least;
  for (const value of values) found = Math.max(found, Math.abs(value));
  return found;
}
