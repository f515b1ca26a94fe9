import type { DeviceInfo } from '../../../core/api/device.ts';
import type { FrontendHandle } from '../../../core/api/frontend.ts';
import { adaptDevice, protect } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { type VduseConfig, vduseConfig } from '../../../frontends/vduse/config.ts';
import { attachDisk } from '../../../frontends/vduse/frontend.ts';
import { FakeDevice, MemoryLogger } from '../../support/fake-device.ts';
import { FakeKernel } from '../../support/fake-kernel.ts';
import type { FakeVduseDevice } from '../../support/fake-vduse-device.ts';
import type { FakeVirtioDriver } from '../../support/fake-virtio-driver.ts';
import type { KernelGeneration } from '../../support/kernel-generation.ts';
import { tempFolder } from '../../support/temp-folder.ts';

export const NAME = 'blockgate-disk0';
const SIZE = 2 ** 20;

export interface RigOptions {
  /** Default: a `FakeDevice` of 1 MiB. */
  readonly store?: FakeDevice;
  readonly info?: Partial<DeviceInfo>;
  readonly config?: Partial<Record<keyof VduseConfig, unknown>>;
  readonly readOnly?: boolean;
  readonly signal?: AbortSignal;
  /** Default: the oldest. */
  readonly kernel?: KernelGeneration;
}

/** A disk on a scripted kernel. Disposal checks that nothing is left of it. */
export class Rig implements AsyncDisposable {
  readonly kernel: FakeKernel;
  readonly store: FakeDevice;
  readonly logger = new MemoryLogger();
  readonly folder: string;
  readonly #options: RigOptions;
  readonly #temp = tempFolder();
  readonly #handles: FrontendHandle[] = [];

  constructor(options: RigOptions = {}) {
    this.#options = options;
    this.folder = this.#temp.path;
    this.kernel = new FakeKernel(this.folder, options.kernel);
    this.store =
      options.store ?? new FakeDevice({ size: SIZE, caps: { concurrency: 'parallel' }, ...options.info });
    for (let i = 0; i < this.store.data.length; i++) this.store.data[i] = (i >> 9) + i;
  }

  async attach(
    config: RigOptions['config'] = {},
    { readOnly = this.#options.readOnly ?? false } = {},
  ): Promise<FrontendHandle> {
    const device = adaptDevice(resolve(this.store, 'fake')).device;
    const volume = new DiskVolume('disk0', protect(device, readOnly).device, this.logger, {
      content: this.store.info.content,
    });
    const handle = await attachDisk(
      volume,
      vduseConfig.parse({ queueSize: 16, ...this.#options.config, ...config }),
      {
        disk: 'disk0',
        logger: this.logger,
        signal: this.#options.signal ?? new AbortController().signal,
        stateDir: this.folder,
        baseDir: this.folder,
      },
      this.kernel,
    );
    this.#handles.push(handle);
    return handle;
  }

  get device(): FakeVduseDevice {
    const device = this.kernel.devices.get(NAME);
    if (device === undefined) throw new Error('there is no device');
    return device;
  }

  get driver(): FakeVirtioDriver {
    const driver = this.kernel.drivers.get(NAME);
    if (driver === undefined) throw new Error('there is no driver');
    return driver;
  }

  messages(level: string): string[] {
    return this.logger.lines.filter((line) => line.level === level).map(({ message }) => message);
  }

  /** Stops every disk that is attached. */
  async stop(): Promise<void> {
    for (const handle of this.#handles.splice(0)) await handle[Symbol.asyncDispose]();
  }

  /** What was attached has been seen to by the test. */
  forget(): void {
    this.#handles.length = 0;
  }

  /** Ends as SIGKILL would: the device stays, its driver waits. */
  kill(): void {
    this.forget();
    this.kernel.killGateway();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
      const left = this.kernel.leaks;
      if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
    } finally {
      this.kernel[Symbol.dispose]();
      this.#temp[Symbol.dispose]();
    }
  }
}

/** One turn of the event loop after the other, until `done`, at most a thousand. */
export async function turns(done: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    if (done()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error('it did not happen within a thousand turns of the event loop');
}
