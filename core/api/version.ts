/**
 * The version of the plugin contract: one integer, raised when a plugin written for the previous one would break.
 *
 * 1  first version.
 * 2  `prefetch`: a filter says what becomes of it.
 */
export const API_VERSION = 2;
