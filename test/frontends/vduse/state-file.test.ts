import { readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DeviceState, StateFile, stateDifference } from '../../../frontends/vduse/state-file.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const STATE: DeviceState = {
  name: 'blockgate-disk0',
  attach: 'vm',
  features: (1n << 33n) | (1n << 32n),
  queues: 2,
  queueSize: 256,
  configSpace: Uint8Array.of(1, 2, 3),
  serial: 'disk0',
};

describe('StateFile', () => {
  it('gives back what was written', () => {
    using folder = tempFolder();
    const file = new StateFile(folder.path);
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
    expect(stateDifference(STATE, { ...STATE, configSpace: Uint8Array.of(1, 2, 3) })).toBeUndefined();
  });

  it.each([
    ['features', { features: 1n << 33n }],
    ['size', { configSpace: Uint8Array.of(1, 2, 4) }],
    ['attach', { attach: 'host' }],
    ['queues', { queues: 1 }],
    ['queueSize', { queueSize: 128 }],
    ['serial', { serial: 'disk1' }],
  ] as const)('names %s', (word, change) => {
    expect(stateDifference(STATE, { ...STATE, ...change })).toContain(word);
  });
});
