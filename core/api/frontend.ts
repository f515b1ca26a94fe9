import type { Finding, PluginContext } from './backend.ts';
import type { Volume } from './device.ts';
import type { Logger } from './logger.ts';
import type { ConfigSchema } from './schema.ts';
import { API_VERSION } from './version.ts';

/** Who keeps a disk from being stopped. */
export interface Holder {
  readonly kind: 'mount' | 'process' | 'swap' | 'block-device';
  /** For a person: "mounted at /mnt", "pid 812 (fio)". */
  readonly description: string;
}

/** What a frontend tells of itself, for `blockgate status`: few facts, by name. */
export type FrontendStatus = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface FrontendHandle extends AsyncDisposable {
  /** Where the disk can be reached once attached, e.g. `/dev/blockgate/disk0`. */
  readonly path: string;
  /** How to use it, line by line, where its path alone does not tell. Default: nothing to say. */
  readonly usage?: readonly string[];
  /** Who uses it now; empty when it may be stopped without harm. */
  holders(): Promise<readonly Holder[]>;
  /** Stops taking requests and lets those in flight finish; the device node stays. */
  quiesce(): Promise<void>;
  /** Tells the other side that the disk has grown to this many bytes. */
  resize?(bytes: number): Promise<void>;
  /**
   * Ends as disposal does, but leaves the disk where it is, for a successor in another process to serve: whoever uses
   * it waits meanwhile. Called after `quiesce`, in place of disposal.
   */
  release?(): Promise<void>;
  status?(): FrontendStatus;
  /** Settles if the other side goes away or breaks: with the reason, or undefined after disposal. */
  readonly closed: Promise<Error | undefined>;
}

/** Whom a process belongs to. */
export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
}

/** A disk that a process of this frontend's left behind when it died, and that nobody serves. */
export interface Leftover {
  /** Name of the disk in the configuration it was made by. */
  readonly disk: string;
  /** What the frontend calls it. */
  readonly device: string;
  holders(): Promise<readonly Holder[]>;
  /** Removes it from the machine, whoever uses it. `stateDir`: the folder of the disk's own files. */
  destroy(ctx: { readonly stateDir: string; readonly logger: Logger }): Promise<void>;
}

export interface FrontendPlugin<C = unknown> {
  readonly kind: 'frontend';
  readonly apiVersion: number;
  readonly name: string;
  readonly description: string;
  readonly config: ConfigSchema<C>;
  attach(volume: Volume, config: C, ctx: PluginContext): Promise<FrontendHandle>;
  /**
   * For a process that is root and is about to give that up for good, to run this disk as `user`: starts what has to
   * stay root, and returns an `attach` that gets by with that. Without this, `attach` has to work for any user.
   */
  attachUnprivileged?(disk: string, user: ProcessUser): Promise<FrontendPlugin<C>['attach']>;
  /** For `blockgate doctor`: can this machine do it? Changes nothing. */
  check?(config: C | undefined): Promise<readonly Finding[]>;
  /**
   * Imports what `attach` needs, which then need not wait for it. `threadModule`: as the backend's, and absent where a
   * filter keeps threads from opening the volume.
   */
  warmUp?(config: C, threadModule: string | undefined): Promise<unknown>;
  leftovers?(): Promise<readonly Leftover[]>;
}

export function defineFrontend<C>(plugin: Omit<FrontendPlugin<C>, 'kind' | 'apiVersion'>): FrontendPlugin<C> {
  return { kind: 'frontend', apiVersion: API_VERSION, ...plugin };
}
