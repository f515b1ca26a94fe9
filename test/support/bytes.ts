/** Index of the first byte that differs, or undefined when all are the same: quicker than comparing as values. */
export function firstDifference(actual: Uint8Array, expected: Uint8Array): number | undefined {
  if (Buffer.compare(actual, expected) === 0) return undefined;
  const index = actual.findIndex((byte, i) => byte !== expected[i]);
  return index === -1 ? actual.length : index;
}
