/**
 * Makes a fresh clone runnable: installs the dependencies, Node 24 among them, when they are missing or out of date.
 * Runs before the npm scripts, on whatever Node is on PATH (18 or newer), hence plain JavaScript without imports of
 * anything that is not there yet.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST_NODE = 24;
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const modules = join(root, 'node_modules');
const stamp = join(modules, '.blockgate-lock-hash');
const node = join(modules, '.bin', 'node');

const say = (text) => process.stderr.write(`blockgate: ${text}\n`);

function fail(what, fix) {
  say(`${what}\n  Fix    ${fix}`);
  process.exit(1);
}

function npm(...args) {
  // npm itself tells where it is; the scripts of a Node that came with it do the same.
  const cli = process.env.npm_execpath;
  const [command, first] = cli ? [process.execPath, [cli]] : ['npm', []];
  return spawnSync(command, [...first, ...args], { cwd: root, stdio: ['ignore', 2, 2] }).status === 0;
}

function installedNode() {
  const result = spawnSync(node, ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? Number(/^v(\d+)/.exec(result.stdout)?.[1]) : 0;
}

if (process.platform !== 'linux') {
  fail(
    `this is ${process.platform}; virtio disks through VDUSE exist on Linux only.`,
    'Run it on Linux, or in a Linux VM.',
  );
}

const lock = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');
const current = existsSync(stamp) ? readFileSync(stamp, 'utf8') : '';
if (current !== lock) {
  say(
    current === ''
      ? 'first run: installing dependencies and Node 24 (about 450 MB)…'
      : 'dependencies changed: installing…',
  );
  const started = Date.now();
  // Not `npm ci`: that refuses a lock file without the optional packages of platforms that are not this one.
  if (!npm('install', '--no-save', '--no-fund', '--no-audit', '--include=dev', '--loglevel=error')) {
    fail(
      'npm install failed; its own message is above.',
      'Check that the npm registry can be reached, then run the command again.',
    );
  }
  // npm can be set to hold install scripts back; the `node` package needs its own to put the binary in place.
  if (installedNode() < OLDEST_NODE) npm('rebuild', 'node');
  if (installedNode() < OLDEST_NODE) {
    fail(
      `Node ${OLDEST_NODE} did not arrive with the dependencies, and this is Node ${process.versions.node}.`,
      `Allow the install script of the package "node" (npm install-scripts approve node), or put Node ${OLDEST_NODE} on PATH.`,
    );
  }
  writeFileSync(stamp, lock);
  say(`dependencies ready after ${Math.round((Date.now() - started) / 1000)} s`);
}
