import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Settings } from '../../../core/app/settings.ts';
import type { WindowConfig } from './fixtures/window.ts';

const WINDOW = fileURLToPath(new URL('./fixtures/window.ts', import.meta.url));

export type RigDisk = Partial<WindowConfig> & {
  readonly size?: string;
  readonly readOnly?: boolean;
  /** In a file: its content does not end with its process. Default false. */
  readonly durable?: boolean;
};

/** A folder with a plugins.json whose disks have the `window` frontend and the memory backend. */
export class Rig implements AsyncDisposable {
  readonly folder: string;

  static async make(disks: Readonly<Record<string, RigDisk>> = { disk0: {} }): Promise<Rig> {
    const rig = new Rig(await mkdtemp(join(tmpdir(), 'blockgate-app-')));
    const entries = Object.entries(disks).map(([name, disk]) => {
      const { size = '1MiB', readOnly = false, durable = false, ...window } = disk;
      const backend = durable ? { type: 'file', path: `${name}.img`, size } : { type: 'memory', size };
      const frontend = { type: 'window', journal: rig.path('journal'), ...window };
      return [name, { readOnly, frontend, backend }];
    });
    const config = { version: 1, plugins: [WINDOW], disks: Object.fromEntries(entries) };
    await writeFile(rig.configFile, JSON.stringify(config));
    await writeFile(rig.path('journal'), '');
    return rig;
  }

  private constructor(folder: string) {
    this.folder = folder;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  get configFile(): string {
    return this.path('plugins.json');
  }

  settings(changes: Partial<Settings> = {}): Settings {
    return {
      configFile: this.configFile,
      overrides: [],
      stateDir: this.path('state'),
      graceMs: 1000,
      inProcess: false,
      logLevel: 'warn',
      logFormat: 'json',
      writeLog: () => {},
      ...changes,
    };
  }

  /** What the frontends wrote down, without process ids. */
  async journal(): Promise<string[]> {
    const text = await readFile(this.path('journal'), 'utf8');
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.replace(/attach \d+/, 'attach'));
  }

  /** Process in which a disk was attached last. */
  async pidOf(disk: string): Promise<number> {
    const text = await readFile(this.path('journal'), 'utf8');
    return Number([...text.matchAll(new RegExp(`^${disk} attach (\\d+)$`, 'gm'))].at(-1)?.[1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}

/** Waits for something that another process does. */
export async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 10));
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
