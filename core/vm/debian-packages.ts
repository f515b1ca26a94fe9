import { spawn } from 'node:child_process';
import { GatewayError } from '../api/errors.ts';
import { type CommandOutput, runCommand } from './run-command.ts';

/** Told in one line each what is going on; for a person who waits. */
export type Progress = (line: string) => void;

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
const DPKG_FORMAT = '${Package} ${db:Status-Status}\n';

/** Of these Debian packages, those that are not installed. Throws `packages.not-debian` where there is no dpkg. */
export async function missingDebianPackages(names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return [];
  let answer: CommandOutput;
  try {
    answer = await runCommand('dpkg-query', ['--show', '--showformat', DPKG_FORMAT, ...names]);
  } catch (cause) {
    throw new GatewayError('packages.not-debian', `Cannot tell whether ${names.join(', ')} is installed.`, {
      why: 'dpkg-query does not run here; this part of blockgate works on Debian and its derivatives only.',
      fix: 'Run it on Debian 12 or later, for example in a container with `debian:12`.',
      cause,
    });
  }
  return notInstalled(names, answer.stdout);
}

/** Reads lines of "package status" as dpkg-query prints them; a package it does not know has no line. */
export function notInstalled(names: readonly string[], statusLines: string): string[] {
  const installed = new Set(
    statusLines
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.slice(0, line.indexOf(' '))),
  );
  return names.filter((name) => !installed.has(name));
}

/**
 * Makes sure that these Debian packages are installed; installs the missing ones when it may.
 * Throws `packages.missing` when not root (with the command that would help) and `packages.install-failed`.
 */
export async function ensureDebianPackages(
  names: readonly string[],
  onProgress: Progress = () => {},
): Promise<void> {
  const missing = await missingDebianPackages(names);
  if (missing.length === 0) return;
  const fix = installCommand(missing);
  if (process.getuid?.() !== 0) {
    throw new GatewayError('packages.missing', `Not installed: ${missing.join(', ')}.`, {
      why: 'Installing Debian packages needs root.',
      fix,
    });
  }
  onProgress(`installing ${missing.join(', ')}`);
  await apt(['update'], onProgress);
  await apt(['install', '--yes', '--no-install-recommends', ...missing], onProgress);
  const still = await missingDebianPackages(missing);
  if (still.length > 0) {
    throw new GatewayError('packages.install-failed', `apt-get installed no ${still.join(', ')}.`, { fix });
  }
}

/** Refreshes the package lists, so that what is downloaded next exists on the mirror. */
export async function updateDebianPackageLists(onProgress: Progress): Promise<void> {
  await apt(['update'], onProgress);
}

/** Downloads one package as a .deb file into `folder`, without installing it. */
export async function downloadDebianPackage(
  name: string,
  folder: string,
  onProgress: Progress,
): Promise<void> {
  // As root apt would drop to user _apt, who cannot write into a folder of ours.
  await apt(['-o', 'APT::Sandbox::User=root', 'download', name], onProgress, folder);
}

function installCommand(names: readonly string[]): string {
  return `apt-get update && apt-get install --yes --no-install-recommends ${names.join(' ')}`;
}

/** Another apt may be at work (unattended upgrades, a second test run): wait for its lock rather than fail. */
const APT_OPTIONS = ['-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];

async function apt(args: readonly string[], onProgress: Progress, cwd?: string): Promise<void> {
  const tail: string[] = [];
  const child = spawn('apt-get', [...APT_OPTIONS, ...args], {
    cwd,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const follow = async (stream: NodeJS.ReadableStream): Promise<void> => {
    for await (const line of lines(stream)) {
      tail.push(line);
      if (tail.length > 20) tail.shift();
      if (/^(Get|Unpacking|Setting up|Err|E:|W:)/.test(line)) onProgress(`apt-get: ${line}`);
    }
  };
  const exit = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  try {
    const [code] = await Promise.all([exit, follow(child.stdout), follow(child.stderr)]);
    if (code === 0) return;
    throw new Error(tail.join('\n'));
  } catch (cause) {
    throw new GatewayError('packages.install-failed', `\`apt-get ${args.join(' ')}\` failed.`, {
      why: tail.findLast((line) => line.startsWith('E:')) ?? tail.at(-1) ?? String(cause),
      fix: 'Run the command by hand to see all of its output; check the network and /etc/apt/sources.list.',
      cause,
    });
  }
}

async function* lines(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream) {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop()!;
    yield* parts;
  }
  if (rest !== '') yield rest;
}
