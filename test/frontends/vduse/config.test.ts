import { describe, expect, it } from 'vitest';
import { vduseConfig } from '../../../frontends/vduse/config.ts';

describe('configuration of the vduse frontend', () => {
  it('has a default for everything', () => {
    expect(vduseConfig.parse({})).toEqual({ queues: 1, queueSize: 256, spin: 50, msgTimeout: 120 });
  });

  it.each([
    ['a queue size that is no power of two', { queueSize: 100 }, 'must be a power of two'],
    ['a queue size above 1024', { queueSize: 2048 }, '1024'],
    ['no queues', { queues: 0 }, '>=1'],
    ['a serial number of 21 characters', { serial: 'x'.repeat(21) }, '20'],
    ['a serial number beyond ASCII', { serial: 'größe' }, 'must be printable ASCII'],
    ['bounce memory in which a request might never find room', { bounceSize: '32MiB' }, 'less than 64 MiB'],
    ['bounce memory beyond what VDUSE can have', { bounceSize: '2GiB' }, 'more than 1 GiB'],
    ['a key that there is not', { queueDepth: 1 }, 'queueDepth'],
  ])('refuses %s', (_name, config, message) => {
    expect(() => vduseConfig.parse(config)).toThrow(message);
  });
});
