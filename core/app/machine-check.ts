import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Finding } from '../api/backend.ts';
import { findUser } from '../system/user.ts';

const LEAST_NODE = 24;
/** Each disk needs a few dozen; stores with many connections need more. */
const LEAST_OPEN_FILES = 1024;
/** Whom packaging/sysusers.d creates. */
const SERVING_USER = 'blockgate';

/** What holds for every disk of this machine: Node, the system, limits. Changes nothing. */
export async function checkMachine(stateDir: string): Promise<Finding[]> {
  return [
    nodeVersion(process.versions.node),
    system(process.platform),
    await openFiles(),
    await stateFolder(stateDir),
    ...(process.getuid?.() === 0 ? [servingUser(SERVING_USER)] : []),
  ];
}

export function nodeVersion(version: string): Finding {
  const isNew = Number(version.split('.')[0]) >= LEAST_NODE;
  if (isNew) return { severity: 'ok', summary: `Node ${version}` };
  return {
    severity: 'error',
    summary: `Node ${version} is too old; blockgate needs ${LEAST_NODE}.`,
    fix: 'Install a newer Node (https://nodejs.org), or run "npm install" in the checkout, which brings one.',
  };
}

export function system(platform: NodeJS.Platform): Finding {
  if (platform === 'linux') return { severity: 'ok', summary: 'Linux' };
  return {
    severity: 'error',
    summary: `The system is ${platform}; VDUSE is a part of Linux.`,
    fix: 'Run blockgate on Linux, or in a virtual machine with Linux.',
  };
}

async function openFiles(): Promise<Finding> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === undefined) return { severity: 'warning', summary: 'The limit of open files is not known.' };
  const summary = `Open files: at most ${soft}`;
  if (soft === 'unlimited' || Number(soft) >= LEAST_OPEN_FILES) return { severity: 'ok', summary };
  return { severity: 'warning', summary, fix: `Raise the limit: ulimit -n ${LEAST_OPEN_FILES * 16}` };
}

/** For root: disks need not be served as root. */
export function servingUser(name: string): Finding {
  if (findUser(name)) return { severity: 'ok', summary: `User ${name}, for --user` };
  return {
    severity: 'warning',
    summary: `There is no user ${name}: disks are served as root.`,
    fix: `systemd-sysusers packaging/sysusers.d/blockgate.conf, then "blockgate run --user ${name}".`,
  };
}

async function stateFolder(folder: string): Promise<Finding> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      await access(path, constants.W_OK | constants.X_OK);
      return { severity: 'ok', summary: `State folder ${folder}` };
    } catch (error) {
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (isMissing && path !== dirname(path)) continue;
      const fix = 'Run as a user who may write there, or name another with --state-dir.';
      return { severity: 'error', summary: `The state folder ${folder} cannot be written.`, fix };
    }
  }
}
