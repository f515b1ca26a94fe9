import type { Holder } from '../api/frontend.ts';
import type { LogLevel } from '../observe/log-level.ts';
import { compose } from './container.ts';
import { orderFor } from './disk-order.ts';
import { allMistakes, validateDisks } from './disk-validation.ts';
import type { GatewayObserver } from './gateway-events.ts';
import type { DiskDetails } from './running-disk.ts';
import { selectDisks } from './select-disks.ts';
import { DEFAULT_GRACE_MS, defaultStateDir } from './settings.ts';

export interface RunGatewayOptions {
  /** Disks to start. Default: all of the configuration. */
  readonly disks?: readonly string[];
  /** `path=value` pairs that win over the file, e.g. `disks.disk0.readOnly=true`. */
  readonly overrides?: readonly string[];
  /** Run the disks in this process instead of one each. Default false. */
  readonly inProcess?: boolean;
  /** What has to survive a restart. Default /var/lib/blockgate for root, else ~/.local/state/blockgate. */
  readonly stateDir?: string;
  /** How long a stop may take before stores are given up. Milliseconds; default 30 000. */
  readonly graceMs?: number;
  /** Take volumes over from an owner that is gone. Default false. */
  readonly takeOver?: boolean;
  /** Default `silent`. */
  readonly logLevel?: LogLevel;
  /** Receives the log, a line of JSON each. */
  readonly writeLog?: (line: string) => void;
  /** Told of everything that happens to the disks, their start included. */
  readonly onEvent?: GatewayObserver;
  /** Gives up starting. */
  readonly signal?: AbortSignal;
}

/** Disks that are being served. Disposing of it stops them, whoever uses them. */
export interface RunningGateway extends AsyncDisposable {
  readonly disks: readonly DiskDetails[];
  /** Who uses which disk. */
  holders(): Promise<ReadonlyMap<string, readonly Holder[]>>;
  /** Fails with `disk.held`, and stops none, while somebody uses a disk, unless forced. */
  stop(options?: { readonly force?: boolean }): Promise<void>;
  /** Settles when no disk runs any more. */
  ended(): Promise<void>;
}

/**
 * Starts the disks of a plugins.json and returns once all can be used. Throws `ConfigErrors` when the file has
 * mistakes, and the error of the first disk that cannot start, with nothing left running.
 *
 * @example
 * await using gateway = await runGateway('plugins.json', { disks: ['disk0'] });
 * useDisk(gateway.disks[0]!.path);
 */
export async function runGateway(
  configFile: string,
  options: RunGatewayOptions = {},
): Promise<RunningGateway> {
  const { config, registry, gateway } = await compose({
    configFile,
    overrides: options.overrides ?? [],
    inProcess: options.inProcess ?? false,
    stateDir: options.stateDir ?? defaultStateDir(),
    graceMs: options.graceMs ?? DEFAULT_GRACE_MS,
    logLevel: options.logLevel ?? 'silent',
    logFormat: 'json',
    writeLog: options.writeLog ?? (() => {}),
  });
  if (options.onEvent) gateway.observe(options.onEvent);
  const disks = await validateDisks(selectDisks(config, options.disks ?? []), registry);
  if (disks.mistakes.size > 0) throw allMistakes(disks);
  const orders = disks.valid.map((disk) => orderFor(config, disk));
  await gateway.start(orders, {
    takeOver: options.takeOver ?? false,
    ...(options.signal && { signal: options.signal }),
  });
  return gateway;
}
