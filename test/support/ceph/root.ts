import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Debian's sid has the one Ceph whose conditional requests are right and safe under races. */
const SUITE = 'sid';
const PACKAGES = ['ceph-mon', 'ceph-osd', 'radosgw', 'ceph-common'];
/** Raise it when the way the root is built changes. */
const RECIPE = 1;

/**
 * The folder with a Debian root that holds Ceph, built on first use (about a minute, 650 MB) and kept in the user's
 * cache. Needs root, since mmdebstrap and chroot do.
 */
export async function ensureCephRoot(say: (line: string) => void): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'blockgate');
  const root = join(cache, `ceph-${SUITE}-${RECIPE}`);
  if (existsSync(root)) return root;
  if (process.getuid?.() !== 0)
    throw new Error('the Ceph root can be built by root only; run the tests once as root');
  await mkdir(cache, { recursive: true });
  const building = `${root}.building`;
  await waitForOtherBuild(building, root, say);
  if (existsSync(root)) return root;
  say('building the Ceph root: one minute, 650 MB, once');
  await rm(building, { recursive: true, force: true });
  await writeFile(`${building}.pid`, String(process.pid));
  try {
    if (!existsSync('/usr/bin/mmdebstrap')) await installMmdebstrap();
    await mmdebstrap(building);
    await mkdir(join(building, 'data'), { recursive: true });
    await rename(building, root);
  } finally {
    await rm(`${building}.pid`, { force: true });
    await rm(building, { recursive: true, force: true });
  }
  return root;
}

/** Two test runs on one machine build it once: the second waits for as long as the first one lives. */
async function waitForOtherBuild(building: string, root: string, say: (line: string) => void): Promise<void> {
  for (let told = false; !existsSync(root); told = true) {
    const pid = Number(await readFile(`${building}.pid`, 'utf8').catch(() => '0'));
    if (!pid || pid === process.pid || !existsSync(`/proc/${pid}`)) return;
    if (!told) say(`process ${pid} is building the Ceph root; waiting for it`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function installMmdebstrap(): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-q'], { env });
  await run('apt-get', ['install', '-qy', '--no-install-recommends', 'mmdebstrap'], {
    env,
    maxBuffer: 1 << 26,
  });
}

async function mmdebstrap(target: string): Promise<void> {
  const args = [
    '--variant=apt',
    `--include=${PACKAGES.join(',')}`,
    // A mirror may be a frozen copy, whose lists are past their date.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/man/*',
    SUITE,
    target,
    await debianMirror(),
  ];
  const child = spawn('mmdebstrap', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let tail = '';
  child.stderr.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.toString()).slice(-2000);
  });
  const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (status !== 0) throw new Error(`mmdebstrap ended with ${String(status)}:\n${tail}`);
}

/** The mirror this machine's own apt uses, so that a local mirror is found where there is one. */
async function debianMirror(): Promise<string> {
  const folder = '/etc/apt/sources.list.d';
  const names = await readdir(folder).catch(() => []);
  const files = ['/etc/apt/sources.list', ...names.map((name) => join(folder, name))];
  const text = (await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))).join('\n');
  const lines = text.split('\n').filter((line) => !line.trimStart().startsWith('#'));
  return /https?:\/\/\S+\/debian\/?(?=\s|$)/.exec(lines.join('\n'))?.[0] ?? 'http://deb.debian.org/debian';
}
