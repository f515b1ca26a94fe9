/** `{"level":"warn","time":…,"disk":"disk0","msg":"retrying","try":2}` → `13:38:02 warn  disk0: retrying try=2`. */
export function formatLogLine(json: string): string {
  const { level, time, disk, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const clock = new Date(Number(time)).toTimeString().slice(0, 8);
  const subject = disk === undefined ? '' : `${String(disk)}: `;
  const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${formatValue(value)}`);
  return `${clock} ${String(level).padEnd(5)} ${subject}${String(msg)}${facts.join('')}\n`;
}

function formatValue(value: unknown): string {
  if (typeof value === 'string') return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
  if (isSerializedError(value)) return JSON.stringify(value.message);
  return JSON.stringify(value);
}

function isSerializedError(value: unknown): value is { readonly message: string } {
  return typeof value === 'object' && value !== null && 'message' in value && 'stack' in value;
}
