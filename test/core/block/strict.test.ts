import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runGateway } from '../../../core/app/run-gateway.ts';
import { strictDevice } from '../../../core/block/strict.ts';
import { FakeDevice } from '../../support/fake-device.ts';
import { Rig } from '../app/rig.ts';

describe('a device that is watched', () => {
  let device: FakeDevice;
  let violations: string[];

  beforeEach(() => {
    device = new FakeDevice({ size: 65536, limits: { maxIo: 65536 } });
    violations = [];
  });

  const watched = () => strictDevice(device, (what) => void violations.push(what));

  it('does what it does unwatched', async () => {
    const strict = watched();
    await strict.write!(512, [new Uint8Array(100).fill(1), new Uint8Array(412).fill(2)], 0);
    const bytes = new Uint8Array(1024);
    await strict.read(512, [bytes.subarray(0, 700), bytes.subarray(700)], 0);
    expect([bytes[0], bytes[99], bytes[100], bytes[511], bytes[512]]).toEqual([1, 1, 2, 2, 0]);
    await strict.flush!(0);
    await strict.discard!(0, 512, 0);
    await strict.prefetch!(0, 1024);
    await strict[Symbol.asyncDispose]();
    expect(violations).toEqual([]);
    expect(device.disposed).toBe(1);
  });

  it.each<[string, (strict: ReturnType<typeof watched>) => unknown]>([
    ['is beyond the end', (strict) => strict.read(65536, [new Uint8Array(512)], 0)],
    ['is not aligned', (strict) => strict.read(1, [new Uint8Array(512)], 0)],
    ['of 131072 bytes is longer', (strict) => strict.prefetch!(0, 131072)],
    ['was not declared', (strict) => strict.write!(0, [new Uint8Array(512)], 1)],
    ['with flags 0x8', (strict) => strict.writeZeroes!(0, 512, 8)],
  ])('tells of a call that %s', async (what, call) => {
    await call(watched());
    expect(violations.join()).toContain(what);
  });

  it('tells of calls at the same time, where one is all that it takes', async () => {
    device.gate = () => new Promise((resolve) => setTimeout(resolve, 5));
    const strict = watched();
    await Promise.all([strict.flush!(0), strict.flush!(0)]);
    expect(violations.join()).toContain('flush while another call is running');
  });

  it('tells of calls after the end, and of a second one', async () => {
    const strict = watched();
    await strict[Symbol.asyncDispose]();
    await strict.flush!(0);
    await strict[Symbol.asyncDispose]();
    expect(violations).toEqual(['flush after disposal', 'disposed of twice']);
  });
});

describe('BLOCKGATE_STRICT', () => {
  afterEach(() => void vi.unstubAllEnvs());

  it('puts it between a disk and its backend', async () => {
    vi.stubEnv('BLOCKGATE_STRICT', '1');
    await using rig = await Rig.make();
    const lines: string[] = [];
    await using gateway = await runGateway(rig.configFile, {
      inProcess: true,
      stateDir: rig.path('state'),
      logLevel: 'warn',
      writeLog: (line) => void lines.push(line),
    });
    await gateway.stop();
    expect(lines.join('')).toContain('each request is copied and checked');
  });
});
