import { DatagramSocket } from '../system/datagram-socket.ts';

/** The service manager that started this process, by the protocol of sd_notify(3) and sd_watchdog_enabled(3). */
export class ServiceManager implements Disposable {
  /** It kills the service when it has not heard `alive` for so long. Milliseconds; undefined: it does not care. */
  readonly watchdogMs: number | undefined;
  readonly #socket: DatagramSocket;

  /** Undefined when nobody wants to be told. Takes the variables away: they are not meant for programs started here. */
  static of(env: NodeJS.ProcessEnv): ServiceManager | undefined {
    const address = env['NOTIFY_SOCKET'];
    const { WATCHDOG_USEC: limit, WATCHDOG_PID: pid } = env;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
    if (address === undefined || !/^[@/]./.test(address)) return undefined;
    const isForUs = pid === undefined || Number(pid) === process.pid;
    const watchdogMs = Number(limit) / 1000;
    return new ServiceManager(address, isForUs && watchdogMs > 0 ? watchdogMs : undefined);
  }

  private constructor(address: string, watchdogMs: number | undefined) {
    this.#socket = new DatagramSocket(address);
    this.watchdogMs = watchdogMs;
  }

  ready(): void {
    this.#tell('READY=1');
  }

  alive(): void {
    this.#tell('WATCHDOG=1');
  }

  stopping(): void {
    this.#tell('STOPPING=1');
  }

  /** One line, for `systemctl status`. */
  status(text: string): void {
    this.#tell(`STATUS=${text.replaceAll('\n', ' ')}`);
  }

  /** What goes on just now, starting or stopping, takes at least so much longer. */
  needsAnother(ms: number): void {
    this.#tell(`EXTEND_TIMEOUT_USEC=${Math.ceil(ms) * 1000}`);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #tell(text: string): void {
    try {
      this.#socket.send(text);
    } catch {
      // It restarts, or is too busy to read: the disks matter more than what is said about them.
    }
  }
}
