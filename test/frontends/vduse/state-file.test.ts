import { readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DeviceState, StateFile, stateDifference } from '../../../frontends/vduse/state-file.ts';
import { capacityField } from '../../../frontends/virtio/blk/config-space.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const SECTORS = 100;

function space(sectors: number, blockSize = 1): Uint8Array {
  const bytes = new Uint8Array(96);
  bytes.set(capacityField(sectors * 512));
  bytes[20] = blockSize;
  return bytes;
}

const STATE: DeviceState = {
  name: 'blockgate-disk0',
  attach: 'vm',
  features: (1n << 33n) | (1n << 32n),
  queues: 2,
  queueSize: 256,
  configSpace: space(SECTORS),
  serial: 'disk0',
};

describe('StateFile', () => {
  it('gives back what was written', () => {
    using folder = tempFolder();
    const file = new StateFile(folder.path);
    file.write({ ...STATE, content: 'an image' });
    expect(file.read()).toEqual({ ...STATE, content: 'an image' });
    file.write(STATE);
    expect(file.read()).toEqual(STATE);
    file.remove();
    expect(file.read()).toBeUndefined();
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it.each([['{"version":1,'], ['{"version":2}'], ['[]']])(
    'has nothing to say of a damaged file: %s',
    (text) => {
      using folder = tempFolder();
      writeFileSync(folder.file('vduse.json'), text);
      expect(new StateFile(folder.path).read()).toBeUndefined();
    },
  );
});

describe('stateDifference', () => {
  it('finds none between equals', () => {
    expect(stateDifference(STATE, { ...STATE, configSpace: space(SECTORS) })).toBeUndefined();
  });

  it('finds none in a disk that has grown: its driver can be told', () => {
    expect(stateDifference(STATE, { ...STATE, configSpace: space(SECTORS + 1) })).toBeUndefined();
  });

  it('says in the words of the configuration that a disk has become read-only', () => {
    expect(stateDifference(STATE, { ...STATE, features: STATE.features | (1n << 5n) })).toBe(
      'readOnly: false, now true',
    );
  });

  it.each([
    ['VERSION_1', { features: 1n << 33n }],
    ['size: 51200 bytes, now 50688', { configSpace: space(SECTORS - 1) }],
    ['block size', { configSpace: space(SECTORS, 2) }],
    ['attach', { attach: 'host' }],
    ['queues', { queues: 1 }],
    ['queueSize', { queueSize: 128 }],
    ['serial', { serial: 'disk1' }],
    ['what is in the store: unknown, now an image', { content: 'an image' }],
  ] as const)('names %s', (word, change) => {
    expect(stateDifference(STATE, { ...STATE, ...change })).toContain(word);
  });
});
