import type { Logger } from '../../api/logger.ts';
import { sleep } from '../../util/backoff.ts';
import { CaptiveCommand, type CommandEnd } from '../captive-command.ts';
import { compose } from '../container.ts';
import { gatewayControl } from '../control/gateway-control.ts';
import { ControlServer } from '../control/server.ts';
import { SocketFolder } from '../control/socket-folder.ts';
import { type DiskOrder, orderFor } from '../disk-order.ts';
import { allMistakes, validateDisks } from '../disk-validation.ts';
import type { Gateway } from '../gateway.ts';
import type { GatewayEvent } from '../gateway-events.ts';
import { GracefulStop } from '../graceful-stop.ts';
import { selectDisks } from '../select-disks.ts';
import { ServiceReport } from '../service-report.ts';
import type { Settings } from '../settings.ts';
import { onTermination } from '../signals.ts';
import type { ServiceManager } from '../systemd.ts';
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
  /** Who wants to be told how the service is doing. */
  readonly manager?: ServiceManager | undefined;
}

/** Starts disks, serves them until a signal or until the captive command ends, stops them. Returns the exit status. */
export async function runDisks(settings: Settings, request: RunRequest, terminal: Terminal): Promise<number> {
  const { config, registry, gateway, logger } = await compose(settings);
  const show = (event: GatewayEvent) => {
    if (!request.json) return printEvent(event, terminal);
    const line = JSON.stringify(eventToJson(event));
    // The command has standard output to itself.
    if (request.captive) terminal.say(line);
    else terminal.print(line);
  };
  using _events = gateway.observe(show);
  using report = request.manager && new ServiceReport(request.manager, gateway);
  const { keepGoing = false } = request;
  const disks = await validateDisks(selectDisks(config, request.names), registry);
  if (disks.mistakes.size > 0 && (!keepGoing || disks.valid.length === 0)) throw allMistakes(disks);
  for (const [disk, error] of disks.mistakes) show({ type: 'failed', disk, error });
  // A plugin that cannot be used matters only to the disks that use it.
  if (registry.problems.length > 0) printError(terminal, new AggregateError(registry.problems));
  using _control = await serveControl(gateway, config.file, settings, logger);
  const session = new RunSession(gateway, settings, request, terminal, report);
  const status = await session.run(disks.valid.map((disk) => orderFor(config, disk)));
  const isIncomplete = gateway.failed || disks.mistakes.size > 0;
  return status === ExitCode.OK && isIncomplete ? ExitCode.FAILED : status;
}

/** Lets other commands find and steer the gateway. Without a socket it serves disks all the same. */
async function serveControl(
  gateway: Gateway,
  configFile: string,
  { stateDir }: Settings,
  logger: Logger,
): Promise<Disposable | undefined> {
  try {
    return await ControlServer.start(new SocketFolder(stateDir), gatewayControl(gateway, configFile));
  } catch (error) {
    logger.warn('there is no control socket: blockgate status, detach, upgrade and resize do not work', {
      reason: (error as Error).message,
    });
    return undefined;
  }
}

/** One run of a set of disks, from start to stop. */
class RunSession {
  readonly #gateway: Gateway;
  readonly #settings: Settings;
  readonly #request: RunRequest;
  readonly #terminal: Terminal;
  readonly #stop: GracefulStop;
  readonly #report: ServiceReport | undefined;
  /** What a signal means now. One listener serves the whole run: between two of them a signal would be lost. */
  #onSignal: (signal: NodeJS.Signals) => void = () => {};

  constructor(
    gateway: Gateway,
    settings: Settings,
    request: RunRequest,
    terminal: Terminal,
    report: ServiceReport | undefined,
  ) {
    this.#gateway = gateway;
    this.#settings = settings;
    this.#request = request;
    this.#terminal = terminal;
    this.#report = report;
    this.#stop = new GracefulStop(gateway, (error) => {
      if (request.json) return;
      printError(terminal, error);
      terminal.say('Still running. Ask again within 10 seconds to stop all the same.');
    });
  }

  async run(orders: readonly DiskOrder[]): Promise<number> {
    using _signals = onTermination((signal) => this.#onSignal(signal));
    if (!(await this.#start(orders))) return ExitCode.FAILED;
    this.#report?.ready();
    if (this.#request.captive) return await this.#serveCommand(this.#request.captive);
    if (this.#report) return await this.#serveService();
    await this.#serve();
    return ExitCode.OK;
  }

  /** False when a disk could not start; the events have said why. */
  async #start(orders: readonly DiskOrder[]): Promise<boolean> {
    const giveUp = new AbortController();
    this.#onSignal = (signal) => giveUp.abort(new Interrupted(signal));
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
    this.#onSignal = () => {
      const force = this.#request.force ?? false;
      this.#stop.request({ force }).then((isDown) => isDown && down.resolve(), down.reject);
    };
    if (this.#terminal.isInteractive) this.#terminal.say(this.#terminal.tint('dim', 'Ctrl-C stops.'));
    await Promise.race([down.promise, this.#gateway.ended()]);
    await this.#stop.request({ force: true });
  }

  /**
   * As a service: systemd takes no refusal, but kills what does not stop in time. So a stop waits until nobody uses
   * the disks, within limits, and then takes them away in good order.
   */
  async #serveService(): Promise<number> {
    const asked = Promise.withResolvers<void>();
    this.#onSignal = () => asked.resolve();
    await Promise.race([asked.promise, this.#gateway.ended()]);
    return (await this.#stopOnceReleased()) ? ExitCode.OK : ExitCode.IN_USE;
  }

  async #serveCommand(command: readonly string[]): Promise<number> {
    const captive = new CaptiveCommand(command, this.#gateway.disks);
    this.#onSignal = (signal) => captive.forward(signal);
    let end: CommandEnd;
    try {
      end = await captive.ended;
    } catch (error) {
      await this.#stop.request({ force: true });
      throw error;
    }
    const wasReleased = await this.#stopOnceReleased();
    const status = end.signal ? signalExitCode(end.signal) : (end.status ?? ExitCode.FAILED);
    return status === ExitCode.OK && !wasReleased ? ExitCode.IN_USE : status;
  }

  /** Somebody may have a disk mounted: waits for the grace period, or a signal, and then takes it away. */
  async #stopOnceReleased(): Promise<boolean> {
    this.#report?.stopping();
    const hurry = new AbortController();
    this.#onSignal = () => hurry.abort();
    if (await this.#stop.request({ force: this.#request.force ?? false })) return true;
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
