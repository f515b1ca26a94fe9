import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guest } from '../support/guest.ts';
import { blockgate } from '../support/host-cli.ts';
import { S3_SERVICES, type S3Service, startS3Service } from '../support/kernel-backends.ts';
import type { DatabaseState } from './programs/sqlite-check.ts';

/**
 * The machine is lost with all that was in its memory, file systems and databases in the middle of their work; another one
 * takes the volumes over. `BLOCKGATE_TEST_CRASHES=10` for a long run, with xfs as well.
 */

const CRASHES = Number(process.env['BLOCKGATE_TEST_CRASHES'] ?? 1);
const MIB = 2 ** 20;
const PROGRAMS = join(import.meta.dirname, 'programs');
/** Commits that each database has made, at least, when the machine is lost. */
const COMMITS = 15;
const COMMITS_MS = 180_000;

/** Each with the way in which SQLite keeps its promise that asks another thing of the file system. */
const ALL = [
  { kind: 'ext4', journal: 'DELETE', mkfs: 'mkfs.ext4 -qF', check: 'e2fsck -fn' },
  { kind: 'xfs', journal: 'WAL', mkfs: 'mkfs.xfs -qf', check: 'xfs_repair -n' },
  { kind: 'btrfs', journal: 'PERSIST', mkfs: 'mkfs.btrfs -qf', check: 'btrfs check' },
] as const;
const DATABASES = CRASHES > 1 ? ALL : ALL.filter(({ kind }) => kind !== 'xfs');

const deviceOf = (kind: string): string => `/dev/blockgate/${kind}`;

describe('volumes in a log whose machine is lost', () => {
  let service: S3Service;
  /** The guest has it as /run/vm/results. */
  let results: string;
  let guest: Guest | undefined;

  beforeAll(async () => {
    service = await startS3Service(S3_SERVICES[0]!);
    results = await mkdtemp(join(tmpdir(), 'blockgate-machine-loss-'));
  });

  afterAll(async () => {
    await guest?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
    if (results !== undefined) await rm(results, { recursive: true, force: true });
  });

  const backendOf = (kind: string): object => ({ ...service.backend, prefix: kind, size: 512 * MIB });
  const disks = () => Object.fromEntries(DATABASES.map(({ kind }) => [kind, { backend: backendOf(kind) }]));

  /** Which row of the database was committed last, as far as somebody was told. */
  async function committed(kind: string): Promise<number> {
    const said = await readFile(join(results, kind), 'utf8').catch(() => '');
    return Number(said.split('\n').at(-2) ?? 0);
  }

  async function write(on: Guest, before: ReadonlyMap<string, number>): Promise<void> {
    for (const { kind, journal } of DATABASES)
      await on.sh(
        `setsid node ${PROGRAMS}/sqlite-writer.ts /mnt/${kind}/database ${journal} /run/vm/results/${kind} \
          < /dev/null > /run/vm/results/${kind}.out 2>&1 &`,
      );
    const end = performance.now() + COMMITS_MS;
    for (const { kind } of DATABASES)
      while ((await committed(kind)) < (before.get(kind) ?? 0) + COMMITS) {
        if (performance.now() > end)
          throw new Error(`no commits on ${kind}: ${await readFile(join(results, `${kind}.out`), 'utf8')}`);
        await delay(200);
      }
  }

  it(
    'have every commit that SQLite has answered, on file systems that are whole',
    async () => {
      for (const { kind } of DATABASES) {
        const backend = { ...backendOf(kind), endpoint: service.hostBackend['endpoint'] };
        const { exitCode, output } = await blockgate(
          { disk: { backend } },
          ['volume', 'create', 'disk'],
          service.env,
        );
        if (exitCode !== 0) throw new Error(output);
      }
      guest = await Guest.start({ results });
      await guest.startGateway({ disks: disks() }, { env: service.env });
      for (const { kind, mkfs } of DATABASES)
        await guest.sh(
          `${mkfs} ${deviceOf(kind)}; mkdir -p /mnt/${kind}; mount ${deviceOf(kind)} /mnt/${kind}`,
        );
      let rows: ReadonlyMap<string, number> = new Map();
      for (let crash = 0; crash < CRASHES; crash++) {
        await write(guest, rows);
        await guest[Symbol.asyncDispose]();
        guest = await Guest.start({ results });
        await guest.startGateway({ disks: disks() }, { env: service.env, arguments: '--take-over' });
        const found = new Map<string, number>();
        for (const { kind, check } of DATABASES) {
          // Mounted once, so that its journal is replayed, and checked then.
          const state: DatabaseState = JSON.parse(
            await guest.sh(`
            mkdir -p /mnt/${kind}; mount ${deviceOf(kind)} /mnt/${kind}
            node ${PROGRAMS}/sqlite-check.ts /mnt/${kind}/database 2>/dev/null
            umount /mnt/${kind}; ${check} ${deviceOf(kind)} > /tmp/check 2>&1 || { cat /tmp/check >&2; exit 1; }
            mount ${deviceOf(kind)} /mnt/${kind}`),
          );
          const last = await committed(kind);
          expect({ kind, ...state, lost: Math.max(0, last - state.rows) }).toEqual({
            kind,
            integrity: 'ok',
            rows: state.rows,
            missing: 0,
            damaged: 0,
            lost: 0,
          });
          // What nobody was told of may have been committed.
          expect(state.rows).toBeLessThanOrEqual(last + 1);
          found.set(kind, state.rows);
        }
        rows = found;
      }
      for (const { kind } of DATABASES) await guest.sh(`umount /mnt/${kind}`);
    },
    900_000 * CRASHES,
  );
});
