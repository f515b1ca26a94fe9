import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { shellQuote } from './shell-quote.ts';

/** Bash source text, or a command with its arguments. */
export type GuestScript = string | readonly string[];

export interface GuestScriptOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly terminal?: boolean;
}

/** `NODE_OPTIONS` for a Node.js in the VM that runs TypeScript: see the file. */
export const GUEST_NODE_OPTIONS = `--require="${fileURLToPath(new URL('./no-wasm-tier-up.cjs', import.meta.url))}"`;
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The sh script that the guest's agent starts: makes the surroundings and becomes the command, so that the process the
 * agent waits for and kills is the command's. The Node.js of this process comes first on PATH, whatever the system has.
 */
export function startScript(command: readonly string[], options: GuestScriptOptions = {}): string {
  const env: Readonly<Record<string, string>> = {
    PATH: `${dirname(process.execPath)}:${SYSTEM_PATH}`,
    HOME: '/root',
    LANG: 'C.UTF-8',
    VM_RESULTS: '/run/vm/results',
    ...(options.terminal && { TERM: process.env['TERM'] ?? 'linux' }),
    ...options.env,
  };
  const lines = Object.entries(env).map(([name, value]) => `export ${name}=${shellQuote(value)}`);
  if (options.terminal) {
    // The first terminal that the leader of a session opens becomes its controlling one: Ctrl-C works.
    lines.push('exec </dev/hvc0 >/dev/hvc0 2>&1');
    // A pseudo terminal that nobody told its size has 0 rows and columns.
    lines.push(`stty rows ${process.stdout.rows || 24} cols ${process.stdout.columns || 80}`);
  }
  lines.push(`cd ${shellQuote(options.cwd ?? process.cwd())} || exit 126`);
  lines.push(`exec ${command.map(shellQuote).join(' ')}`);
  return `${lines.join('\n')}\n`;
}
