import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findHolders, mountedOn } from '../../../frontends/vduse/holders.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** /sys and /proc as files, with a disk vda that has one partition. */
function machine(files: Record<string, string> = {}, links: Record<string, string> = {}) {
  const folder = tempFolder();
  const place = (name: string): string => {
    mkdirSync(dirname(folder.file(name)), { recursive: true });
    return folder.file(name);
  };
  const all = { 'sys/block/vda/dev': '254:0\n', 'sys/block/vda/vda1/dev': '254:1\n', ...files };
  for (const [name, text] of Object.entries(all)) writeFileSync(place(name), text);
  for (const [name, target] of Object.entries(links)) symlinkSync(target, place(name));
  const paths = {
    dev: folder.file('dev'),
    proc: folder.file('proc'),
    sys: folder.file('sys'),
    run: folder.file('run'),
  };
  return {
    holders: () => findHolders(paths, { name: 'vda', path: '/dev/vda' }),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

const NUMBERS = new Map([
  ['254:0', 'vda'],
  ['254:1', 'vda1'],
]);
const NAMES = new Set(NUMBERS.values());

describe('findHolders', () => {
  it('finds nobody on a disk that is free', async () => {
    using host = machine(
      { 'proc/1/mountinfo': '23 1 8:1 / / rw - ext4 /dev/sda1 rw\n' },
      { 'proc/1/ns/mnt': 'mnt:[1]' },
    );
    expect(await host.holders()).toEqual([]);
  });

  it('finds mounts in every mount namespace, each once', async () => {
    using host = machine(
      {
        'proc/1/mountinfo': '30 23 254:1 / /srv/data rw - ext4 /dev/vda1 rw\n',
        'proc/2/mountinfo': '30 23 254:1 / /srv/data rw - ext4 /dev/vda1 rw\n',
        'proc/3/mountinfo': '99 90 254:0 / /mnt rw - xfs /dev/vda rw\n',
      },
      { 'proc/1/ns/mnt': 'mnt:[1]', 'proc/2/ns/mnt': 'mnt:[1]', 'proc/3/ns/mnt': 'mnt:[3]' },
    );
    expect(await host.holders()).toEqual([
      { kind: 'mount', description: 'mounted at /srv/data' },
      { kind: 'mount', description: 'mounted at /mnt' },
    ]);
  });

  it('finds swap, device mapper and loop devices', async () => {
    using host = machine({
      'proc/swaps': 'Filename\tType\tSize\n/dev/vda1 partition 1024 0 -2\n/dev/vdb partition 1 0 -3\n',
      'sys/block/vda/holders/dm-0/dev': '252:0',
      'sys/block/vda/vda1/holders/md127/dev': '9:127',
      'sys/block/loop0/loop/backing_file': '/dev/vda\n',
      'sys/block/loop1/loop/backing_file': '/var/image\n',
    });
    expect(await host.holders()).toEqual([
      { kind: 'swap', description: 'swap space on /dev/vda1' },
      { kind: 'block-device', description: 'block device dm-0 is built on it' },
      { kind: 'block-device', description: 'block device md127 is built on it' },
      { kind: 'block-device', description: 'block device loop0 is built on it' },
    ]);
  });

  it('does not take a file of the same name for the disk', async () => {
    using host = machine({ 'proc/7/comm': 'cat\n', 'home/vda': '' }, { 'proc/7/fd/3': '../../../home/vda' });
    expect(await host.holders()).toEqual([]);
  });
});

describe('mountedOn', () => {
  it('knows btrfs by its source, since its mounts have a device number of their own', () => {
    expect(mountedOn('40 23 0:52 / /data rw - btrfs /dev/vda rw\n', NAMES, NUMBERS)).toEqual(['/data']);
  });

  it('reads mount points with spaces and optional fields', () => {
    const line = '40 23 254:0 / /my\\040disk rw shared:1 master:2 - ext4 /dev/vda rw';
    expect(mountedOn(line, NAMES, NUMBERS)).toEqual(['/my disk']);
  });

  it('is not misled by lines that are cut short', () => {
    expect(mountedOn('40 23 254:0 / /x rw\n\n', NAMES, NUMBERS)).toEqual([]);
  });
});
