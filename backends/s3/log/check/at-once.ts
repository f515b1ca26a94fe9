/** Of a check: as many things at once. The store has a bound of its own. */
export const AT_ONCE = 32;
