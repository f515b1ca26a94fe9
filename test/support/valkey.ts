import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const DEBIAN_12 = 'VERSION_CODENAME=bookworm';

/**
 * A Valkey server of a version that has WAITAOF, which Debian 12's Redis has not: from its backports, unpacked into a
 * cache and not installed. Returns the folder of its programs.
 */
export async function ensureValkey(say: (line: string) => void): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'blockgate', 'valkey');
  const programs = join(cache, 'usr', 'bin');
  if (existsSync(join(programs, 'valkey-server'))) return programs;
  say('downloading valkey-server');
  mkdirSync(join(cache, '..'), { recursive: true });
  const work = mkdtempSync(join(cache, '..', 'valkey-'));
  try {
    mkdirSync(join(work, 'lists', 'partial'), { recursive: true });
    const suite = readFileSync('/etc/os-release', 'utf8').includes(DEBIAN_12)
      ? 'bookworm-backports'
      : 'trixie';
    writeFileSync(join(work, 'sources.list'), `deb ${mirror()} ${suite} main\n`);
    const apt = ['-o', `Dir::Etc::sourcelist=${work}/sources.list`, '-o', 'Dir::Etc::sourceparts=-'];
    apt.push('-o', `Dir::State::lists=${work}/lists`, '-o', 'APT::Sandbox::User=root');
    await run('apt-get', [...apt, 'update'], { cwd: work });
    await run('apt-get', [...apt, 'download', 'valkey-server', 'valkey-tools'], { cwd: work });
    for (const file of readdirSync(work).filter((name) => name.endsWith('.deb')))
      await run('dpkg-deb', ['--extract', join(work, file), join(work, 'root')]);
    rmSync(cache, { recursive: true, force: true });
    renameSync(join(work, 'root'), cache);
    return programs;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The archive that this machine is configured for. */
function mirror(): string {
  const files = ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources'];
  const text = files.map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')).join('\n');
  return /https?:\/\/[^\s]+\/debian\/?(?=\s)/.exec(text)?.[0] ?? 'http://deb.debian.org/debian';
}
