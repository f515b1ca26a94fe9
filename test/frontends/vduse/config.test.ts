import { describe, expect, it } from 'vitest';
import { vduseConfig } from '../../../frontends/vduse/config.ts';

describe('configuration of the vduse frontend', () => {
  it('has a default for everything', () => {
    expect(vduseConfig.parse({})).toEqual({
      attach: 'host',
      queues: 1,
      queueSize: 256,
      spin: 50,
      ring: 'split',
      eventIdx: true,
      indirect: true,
      msgTimeout: 120,
      umem: false,
    });
  });

  it('takes any queue size for packed virtqueues', () => {
    expect(vduseConfig.parse({ ring: 'packed', queueSize: 100 })).toMatchObject({ queueSize: 100 });
  });

  it.each([
    ['a queue size that is no power of two', { queueSize: 100 }, 'must be a power of two'],
    ['a queue size above 1024', { queueSize: 2048 }, '1024'],
    ['a queue too small for a request', { ring: 'packed', queueSize: 2 }, '>=3'],
    ['a layout that there is not', { ring: 'round' }, 'split'],
    ['an attachment that there is not', { attach: 'guest' }, 'attach'],
    ['no queues', { queues: 0 }, '>=1'],
    ['a serial number of 21 characters', { serial: 'x'.repeat(21) }, '20'],
    ['a serial number beyond ASCII', { serial: 'größe' }, 'must be printable ASCII'],
    ['bounce memory below what VDUSE can have', { bounceSize: '512KiB' }, 'less than 1 MiB'],
    ['bounce memory beyond what VDUSE can have', { bounceSize: '2GiB' }, 'more than 1 GiB'],
    ['memory of the gateway for a virtual machine', { attach: 'vm', umem: true }, 'disks of this machine'],
    ['a key that there is not', { queueDepth: 1 }, 'queueDepth'],
  ])('refuses %s', (_name, config, message) => {
    expect(() => vduseConfig.parse(config)).toThrow(message);
  });
});
