/** Times, as people write them. */

const UNITS: Readonly<Record<string, number>> = {
  '': 1000,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Parses seconds, `90`, or `"90s"`, `"30min"`, `"24h"`, `"7d"`. Returns milliseconds; undefined when it is no time. */
export function parseDuration(value: number | string): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value * 1000 : undefined;
  const match = /^\s*(\d+(?:\.\d+)?)\s*(s|min|h|d|)\s*$/.exec(value);
  return match === null ? undefined : Number(match[1]) * UNITS[match[2]!]!;
}

/** `86400000` → `"24h"`: in the largest unit that fits. */
export function formatDuration(ms: number): string {
  const unit = (['h', 'min'] as const).find((name) => ms % UNITS[name]! === 0) ?? 's';
  return `${ms / UNITS[unit]!}${unit}`;
}
