import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FileSystem, fileSystem, fioVerify } from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';

/**
 * Both layouts of rings, one queue and several, with and without event index and indirect descriptors: each of these with
 * each of the others once, one pass of fio and a file system each. `BLOCKGATE_TEST_RINGS_SECONDS=225` takes all eight
 * together, has fio go on for so long in each, and takes all file systems.
 */

const SECONDS = Number(process.env['BLOCKGATE_TEST_RINGS_SECONDS'] ?? 0);
const DEVICE = '/dev/blockgate/disk0';
const TREE = join(import.meta.dirname, '..', '..', 'node_modules', 'zod', 'v4');
const FILE_SYSTEMS: readonly FileSystem[] = ['ext4', 'xfs', 'btrfs'];

const ALL = ['split', 'packed'].flatMap((ring) =>
  [1, 4].flatMap((queues) => [true, false].map((features) => ({ ring, queues, features }))),
);
/** Every pair of values is in one of them. */
const PAIRS = ALL.filter(
  ({ ring, queues, features }) => ((ring === 'split') === (queues === 1)) === features,
);
const VARIANTS = SECONDS > 0 ? ALL : PAIRS;

let guest: Guest;
let gateway: GuestGateway | undefined;

beforeAll(async () => {
  guest = await Guest.start({ disks: [{ sizeMiB: 1024 }] });
  await guest.sh('mkfs.ext4 -qF /dev/vda; mkdir -p /scratch; mount /dev/vda /scratch');
});

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

describe('a disk', () => {
  it.each(
    VARIANTS.map(({ ring, queues, features }, index) => ({
      name: `${ring} rings, ${queues} of them, ${features ? 'with' : 'without'} event index and indirect descriptors`,
      frontend: { type: 'vduse', ring, queues, eventIdx: features, indirect: features },
      kinds: SECONDS > 0 ? FILE_SYSTEMS : FILE_SYSTEMS.filter((_, i) => i === index % 3),
    })),
  )(
    'with $name verifies, and carries what file systems it is given',
    { timeout: 900_000 + SECONDS * 3000 },
    async ({ frontend, kinds }) => {
      const backend = { type: 'file', path: '/scratch/disk0.img', size: 512 * 2 ** 20 };
      gateway = await guest.startGateway({ disks: { disk0: { backend, frontend } } });
      const seed = Math.floor(Math.random() * 2 ** 31);
      const passes = await guest.sh(
        `verify() { ${fioVerify(DEVICE, { depth: 32, direct: true }, `$((${seed} + pass))`)}; } >&2
       end=$((SECONDS + ${SECONDS})); pass=0
       while [ $pass = 0 ] || [ $SECONDS -lt $end ]; do verify; pass=$((pass + 1)); done
       echo $pass`,
        { timeoutMs: 300_000 + SECONDS * 2000 },
      );
      expect(Number(passes)).toBeGreaterThan(0);
      for (const kind of kinds) await guest.sh(fileSystem(DEVICE, kind, TREE));
      if (SECONDS > 0) process.stderr.write(`${JSON.stringify(frontend)}: ${passes.trim()} passes of fio\n`);
    },
  );
});
