import { describe, expect, it } from 'vitest';
import { resolve } from '../../../../core/block/resolve.ts';
import { DiskVolume } from '../../../../core/block/volume.ts';
import { ControlDevice } from '../../../../frontends/vduse/control-device.ts';
import { type QueueInfo, VduseDevice } from '../../../../frontends/vduse/device.ts';
import { controlPath, devicePath, inFlightPath } from '../../../../frontends/vduse/host-paths.ts';
import { InFlightFile, provideInFlightFile } from '../../../../frontends/vduse/inflight-file.ts';
import { QueueServer } from '../../../../frontends/vduse/workers/queue-server.ts';
import { type ToWorker, WorkerState } from '../../../../frontends/vduse/workers/worker-messages.ts';
import { blkConfigSpace } from '../../../../frontends/virtio/blk/config-space.ts';
import { offeredFeatures } from '../../../../frontends/virtio/blk/features.ts';
import { blkLimits } from '../../../../frontends/virtio/blk/limits.ts';
import { FakeDevice, MemoryLogger } from '../../../support/fake-device.ts';
import { FakeKernel } from '../../../support/fake-kernel.ts';
import { FakeVirtioDriver } from '../../../support/fake-virtio-driver.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { turns } from '../rig.ts';

const NAME = 'blockgate-worker';
const QUEUE_SIZE = 16;

/** A queue's thread without the thread: `asleep` runs in place of sleeping in the kernel. */
class Rig implements AsyncDisposable {
  readonly #temp = tempFolder();
  readonly kernel = new FakeKernel(this.#temp.path);
  readonly store = new FakeDevice({ size: 2 ** 20, caps: { concurrency: 'parallel' } });
  readonly state = new Int32Array(new SharedArrayBuffer(WorkerState.BYTES));
  readonly listening = new Set<number>();
  readonly driver: FakeVirtioDriver;
  readonly server: QueueServer;
  readonly #inFlight: InFlightFile;
  readonly #device: VduseDevice;
  readonly #features: bigint;
  #id = 0;
  sleeps = 0;
  /** Settles when the volume has seen how large it is. */
  readonly growth = Promise.withResolvers<void>();
  /** What happens while the thread sleeps; without anything it would sleep for ever, so it is told to end. */
  asleep: (() => void)[] = [];

  constructor() {
    const logger = new MemoryLogger();
    const volume = new DiskVolume('disk0', resolve(this.store, 'fake'), logger);
    const limits = blkLimits(volume.caps, volume.limits, QUEUE_SIZE);
    this.#features = offeredFeatures(volume.caps, { layout: 'split', eventIdx: true, indirect: true });
    using control = new ControlDevice(this.kernel.syscalls, controlPath(this.kernel.paths));
    control.create({
      name: NAME,
      features: this.#features,
      queues: 1,
      configSpace: blkConfigSpace({
        size: volume.size,
        caps: volume.caps,
        limits: volume.limits,
        blk: limits,
        queues: 1,
      }),
    });
    const path = devicePath(this.kernel.paths, NAME);
    this.#device = VduseDevice.open(this.kernel.syscalls, path, NAME);
    this.#device.setupQueue(0, QUEUE_SIZE);
    const fake = this.kernel.devices.get(NAME)!;
    fake.features = this.#features;
    this.driver = new FakeVirtioDriver(fake, this.#temp.path, (fd) => this.kernel.kick(fd));
    fake.status = 0x0f;
    const file = inFlightPath(this.kernel.paths, NAME);
    const logs = { queues: 1, queueSize: QUEUE_SIZE };
    provideInFlightFile(file, { ...logs, keep: false });
    this.#inFlight = new InFlightFile({ syscalls: this.kernel.syscalls, path: file, ...logs });
    this.server = new QueueServer({
      inFlight: this.#inFlight,
      index: 0,
      device: this.#device,
      syscalls: this.kernel.syscalls,
      reactor: this.kernel.reactor,
      sleep: {
        add: (fd) => void this.listening.add(fd),
        remove: (fd) => void this.listening.delete(fd),
        wait: () => this.#sleep(),
      },
      logger,
      volume,
      grow: () => this.growth.promise,
      limits,
      serial: 'rig',
      spinUs: 0,
      state: this.state,
      onBroken: (error) => {
        throw error;
      },
    });
  }

  tell(message: ToWorker): Promise<unknown> {
    Atomics.add(this.state, WorkerState.SENT, 1);
    return this.server.receive(message);
  }

  ask(type: 'pause' | 'stop' | 'grow' | 'close'): Promise<unknown> {
    return this.tell({ type, id: this.#id++ });
  }

  get info(): QueueInfo {
    return this.#device.queueInfo(0, 'split');
  }

  async start(info = this.info): Promise<void> {
    await this.tell({ type: 'open', id: this.#id++, features: this.#features, info, asid: 0 });
    await this.tell({ type: 'resume' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ask('close');
    this.#inFlight[Symbol.dispose]();
    this.#device[Symbol.dispose]();
    expect(this.kernel.leaks).toEqual([]);
    expect(this.listening.size).toBe(0);
    this.driver[Symbol.dispose]();
    this.kernel[Symbol.dispose]();
    this.#temp[Symbol.dispose]();
  }

  #sleep(): void {
    this.sleeps++;
    const next = this.asleep.shift();
    if (next === undefined) Atomics.store(this.state, WorkerState.ENDING, 1);
    else next();
  }
}

describe('the thread of a queue', () => {
  it('serves requests between one sleep and the next, while the event loop stands still', async () => {
    await using rig = new Rig();
    const statuses: Promise<number>[] = [];
    const submit = () => void statuses.push(rig.driver.read(0, 512).then(({ status }) => status));
    rig.asleep = [submit, submit, submit];
    await rig.start();
    await turns(() => rig.sleeps === 4);
    expect(await Promise.all(statuses)).toEqual([0, 0, 0]);
    expect(rig.store.calls.length).toBe(3);
  });

  it('leaves waiting to the event loop while a request completes later, and sleeps again afterwards', async () => {
    await using rig = new Rig();
    const gate = Promise.withResolvers<void>();
    rig.store.gate = () => gate.promise;
    const reads: Promise<unknown>[] = [];
    rig.asleep = [() => void reads.push(rig.driver.read(0, 512))];
    await rig.start();
    await turns(() => rig.store.active === 1);
    expect(rig.sleeps).toBe(1);
    // A kick that comes meanwhile is heard by the event loop.
    reads.push(rig.driver.read(1, 512));
    await turns(() => rig.store.active === 2);
    expect([rig.sleeps, Atomics.load(rig.state, WorkerState.IN_FLIGHT)]).toEqual([1, 1]);
    gate.resolve();
    await Promise.all(reads);
    await turns(() => rig.sleeps === 2);
    expect(Atomics.load(rig.state, WorkerState.IN_FLIGHT)).toBe(0);
  });

  it('does not fall asleep over a message', async () => {
    await using rig = new Rig();
    // The message is sent while it sleeps: it wakes up, has nothing to serve, and must not sleep again before it has it.
    rig.asleep = [() => void Atomics.add(rig.state, WorkerState.SENT, 1)];
    await rig.start();
    await turns(() => rig.sleeps === 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rig.sleeps).toBe(1);
    await rig.server.receive({ type: 'pause', id: 99 });
    expect(rig.sleeps).toBe(1);
  });

  it('does not fall asleep while it carries a message out', async () => {
    await using rig = new Rig();
    await rig.start();
    await turns(() => rig.sleeps === 1);
    Atomics.store(rig.state, WorkerState.ENDING, 0);
    const grown = rig.ask('grow');
    // What is served meanwhile must not end in a sleep either.
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(rig.sleeps).toBe(1);
    rig.growth.resolve();
    await grown;
    await turns(() => rig.sleeps === 2);
  });

  it('takes nothing while paused, and goes on where it stopped', async () => {
    await using rig = new Rig();
    await rig.start();
    await turns(() => rig.sleeps === 1);
    Atomics.store(rig.state, WorkerState.ENDING, 0);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
    await rig.ask('pause');
    const read = rig.driver.read(0, 512);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rig.store.calls.length).toBe(1);
    await rig.tell({ type: 'resume' });
    expect(await read).toMatchObject({ status: 0 });
    expect(await rig.ask('stop')).toEqual({ layout: 'split', availIndex: 2 });
  });

  it('serves a queue that is made ready later, and again after it was stopped', async () => {
    await using rig = new Rig();
    await rig.start({ ...rig.info, ready: false });
    await turns(() => rig.sleeps === 1);
    Atomics.store(rig.state, WorkerState.ENDING, 0);
    const first = rig.driver.read(0, 512);
    await rig.tell({ type: 'start', id: 50, info: rig.info });
    expect(await first).toMatchObject({ status: 0 });
    expect(await rig.ask('stop')).toEqual({ layout: 'split', availIndex: 1 });
    const second = rig.driver.read(1, 512);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rig.driver.outstanding).toBe(1);
    await rig.tell({ type: 'start', id: 51, info: rig.info });
    expect(await second).toMatchObject({ status: 0 });
    expect(await rig.ask('stop')).toEqual({ layout: 'split', availIndex: 2 });
  });

  it('goes on when its memory is somewhere else', async () => {
    await using rig = new Rig();
    await rig.start();
    await turns(() => rig.sleeps === 1);
    Atomics.store(rig.state, WorkerState.ENDING, 0);
    await rig.driver.read(0, 512);
    await rig.tell({ type: 'remap', id: 52, asid: 0 });
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });
});
