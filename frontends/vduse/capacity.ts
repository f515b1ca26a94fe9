import { capacityField } from '../virtio/blk/config-space.ts';
import type { VduseDevice } from './device.ts';
import { InterruptLine } from './interrupt-line.ts';
import type { Session } from './session.ts';
import type { DeviceState, StateFile } from './state-file.ts';

export interface CapacityOptions {
  readonly device: VduseDevice;
  readonly session: Session;
  readonly stateFile: StateFile;
  /** How the device was made. */
  readonly state: DeviceState;
}

/** The size of a disk, as its driver and a later process are told: the one thing of a device that may change. */
export class Capacity implements Disposable {
  readonly #options: CapacityOptions;
  readonly #interrupt: InterruptLine;
  #state: DeviceState;

  constructor(options: CapacityOptions) {
    const { device, session } = options;
    this.#options = options;
    this.#state = options.state;
    this.#interrupt = new InterruptLine({
      // A driver that comes later reads the size by itself.
      inject: () => !session.driving || device.injectConfigIrq(),
      // The queues' interrupts break as well, and say so.
      onBroken: () => {},
    });
  }

  /** The device as it is now, in the words of its state file. */
  get state(): DeviceState {
    return this.#state;
  }

  /** `bytes`: of the whole disk. Whoever adopts the device announces it again, so the record may come first. */
  announce(bytes: number): void {
    const { device, stateFile } = this.#options;
    const field = capacityField(bytes);
    const configSpace = Uint8Array.from(this.#state.configSpace);
    configSpace.set(field);
    this.#state = { ...this.#state, configSpace };
    stateFile.write(this.#state);
    // All eight bytes in one call: the driver must not see half of a size.
    device.setConfig(0, field);
    this.#interrupt.raise();
  }

  [Symbol.dispose](): void {
    this.#interrupt[Symbol.dispose]();
  }
}
