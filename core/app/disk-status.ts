import type { DiskDetails, DiskReport } from './running-disk.ts';
import type { StandbyState } from './standby.ts';

/** `dead`: it died and is not started again. `stopped`: it was told to stop. */
export type DiskState = 'starting' | 'running' | 'upgrading' | 'restarting' | 'stopping' | 'stopped' | 'dead';

/** What `blockgate status` shows of one disk. */
export interface DiskStatus {
  readonly disk: string;
  readonly state: DiskState;
  /** How often it has been started again in this run of the gateway. */
  readonly restarts: number;
  /** Of the process that served it last. */
  readonly details?: Pick<DiskDetails, 'path' | 'stack'>;
  /** Absent while it does not run, and when its process does not answer. */
  readonly report?: DiskReport;
  /** How the process is that goes on when that of the disk dies. Absent when none is wanted, or none needed now. */
  readonly standby?: StandbyState;
  /** Why it died the last time. */
  readonly lastError?: { readonly code?: string; readonly message: string };
}
