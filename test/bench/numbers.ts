/** A whole number above 0, out of the command line. */
export function count(option: string, text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new Error(`--${option} takes a whole number above 0, not "${text}"`);
}

/** A number above 0, out of the command line. */
export function positive(option: string, text: string): number {
  if (/^\d{1,4}(\.\d{1,3})?$/.test(text) && Number(text) > 0) return Number(text);
  throw new Error(`--${option} takes a number above 0, not "${text}"`);
}
