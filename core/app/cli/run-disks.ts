import type { GatewayError } from '../../api/errors.ts';
import type { DiskConfig } from '../../config/config.ts';
import { ConfigErrors } from '../../config/config-errors.ts';
import type { PluginRegistry } from '../../plugins/registry.ts';
import { sleep } from '../../util/backoff.ts';
import { CaptiveCommand, type CommandEnd } from '../captive-command.ts';
import { compose } from '../container.ts';
import { orderFor } from '../disk-order.ts';
import type { Gateway } from '../gateway.ts';
import type { GatewayEvent } from '../gateway-events.ts';
import { GracefulStop } from '../graceful-stop.ts';
import { selectDisks } from '../select-disks.ts';
import type { Settings } from '../settings.ts';
import { onTermination } from '../signals.ts';
import { eventToJson, printEvent } from './event-printer.ts';
import { ExitCode, Interrupted, signalExitCode } from './exit-code.ts';
import { printError } from './print-error.ts';
import { ProgressBar } from './progress-bar.ts';
import type { Terminal } from './terminal.ts';

/** How often to look whether a disk that the command left in use is free. Milliseconds. */
const RELEASE_POLL_MS = 1_000;

export interface RunRequest {
  readonly names: readonly string[];
  readonly captive: readonly string[] | undefined;
  readonly keepGoing?: boolean;
  readonly takeOver?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Starts disks, serves them until a signal or until the captive command ends, stops them. Returns the exit status. */
export async function runDisks(settings: Settings, request: RunRequest, terminal: Terminal): Promise<number> {
  const { config, registry, gateway } = await compose(settings);
  const show = (event: GatewayEvent) => {
    if (!request.json) return printEvent(event, terminal);
    const line = JSON.stringify(eventToJson(event));
    // The command has standard output to itself.
    if (request.captive) terminal.say(line);
    else terminal.print(line);
  };
  using _events = gateway.observe(show);
  const disks = await validDisks(selectDisks(config, request.names), registry, {
    keepGoing: request.keepGoing ?? false,
    onError: (disk, error) => show({ type: 'failed', disk, error }),
  });
  const session = new RunSession(gateway, settings, request, terminal);
  const status = await session.run(disks.map((disk) => orderFor(config, disk)));
  const isIncomplete = gateway.failed || disks.length < (request.names.length || config.disks.size);
  return status === ExitCode.OK && isIncomplete ? ExitCode.FAILED : status;
}

/** Mistakes of every disk are found before any disk is started. */
async function validDisks(
  disks: readonly DiskConfig[],
  registry: PluginRegistry,
  options: { keepGoing: boolean; onError: (disk: string, error: unknown) => void },
): Promise<DiskConfig[]> {
  const valid: DiskConfig[] = [];
  const errors: GatewayError[] = [];
  for (const disk of disks) {
    try {
      await registry.prepareDisk(disk);
      valid.push(disk);
    } catch (error) {
      if (!(error instanceof ConfigErrors)) throw error;
      errors.push(...error.errors);
      if (options.keepGoing) options.onError(disk.name, error);
    }
  }
  if (errors.length > 0 && (!options.keepGoing || valid.length === 0)) throw new ConfigErrors(errors);
  return valid;
}

/** One run of a set of disks, from start to stop. */
class RunSession {
  readonly #gateway: Gateway;
  readonly #settings: Settings;
  readonly #request: RunRequest;
  readonly #terminal: Terminal;
  readonly #stop: GracefulStop;

  constructor(gateway: Gateway, settings: Settings, request: RunRequest, terminal: Terminal) {
    this.#gateway = gateway;
    this.#settings = settings;
    this.#request = request;
    this.#terminal = terminal;
    this.#stop = new GracefulStop(gateway, (error) => {
      if (request.json) return;
      printError(terminal, error);
      terminal.say('Still running. Ask again within 10 seconds to stop all the same.');
    });
  }

  async run(orders: Parameters<Gateway['start']>[0]): Promise<number> {
    if (!(await this.#start(orders))) return ExitCode.FAILED;
    if (this.#request.captive) return this.#serveCommand(this.#request.captive);
    await this.#serve();
    return ExitCode.OK;
  }

  /** False when a disk could not start; the events have said why. */
  async #start(orders: Parameters<Gateway['start']>[0]): Promise<boolean> {
    const giveUp = new AbortController();
    using _signals = onTermination((signal) => giveUp.abort(new Interrupted(signal)));
    using _progress = new ProgressBar(this.#terminal, 'Starting');
    const { keepGoing = false, takeOver = false } = this.#request;
    try {
      await this.#gateway.start(orders, { keepGoing, takeOver, signal: giveUp.signal });
      return true;
    } catch (error) {
      if (this.#gateway.failed) return false;
      throw error;
    }
  }

  /** Until a signal has stopped every disk, or the last one has died. */
  async #serve(): Promise<void> {
    const down = Promise.withResolvers<void>();
    using _signals = onTermination(() => {
      const force = this.#request.force ?? false;
      this.#stop.request({ force }).then((isDown) => isDown && down.resolve(), down.reject);
    });
    if (this.#terminal.isInteractive) this.#terminal.say(this.#terminal.tint('dim', 'Ctrl-C stops.'));
    await Promise.race([down.promise, this.#gateway.ended()]);
    await this.#gateway.stop({ force: true }).catch(() => {});
  }

  async #serveCommand(command: readonly string[]): Promise<number> {
    const captive = new CaptiveCommand(command, this.#gateway.disks);
    let end: CommandEnd;
    {
      using _signals = onTermination((signal) => captive.forward(signal));
      try {
        end = await captive.ended;
      } catch (error) {
        await this.#gateway.stop({ force: true }).catch(() => {});
        throw error;
      }
    }
    const wasReleased = await this.#stopOnceReleased();
    const status = end.signal ? signalExitCode(end.signal) : (end.status ?? ExitCode.FAILED);
    return status === ExitCode.OK && !wasReleased ? ExitCode.IN_USE : status;
  }

  /** The command may have left a disk mounted: waits for the grace period, or a signal, and then takes it away. */
  async #stopOnceReleased(): Promise<boolean> {
    if (await this.#stop.request({ force: this.#request.force ?? false })) return true;
    const hurry = new AbortController();
    using _signals = onTermination(() => hurry.abort());
    const deadline = performance.now() + this.#settings.graceMs;
    while (performance.now() < deadline && !hurry.signal.aborted) {
      if ((await this.#gateway.holders()).size === 0) break;
      await sleep(RELEASE_POLL_MS, hurry.signal).catch(() => {});
    }
    const isHeld = (await this.#gateway.holders()).size > 0;
    if (isHeld) this.#terminal.say('Taking the disks away although they are in use.');
    await this.#stop.request({ force: true });
    return !isHeld;
  }
}
