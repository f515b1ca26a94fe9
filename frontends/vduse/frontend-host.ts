import type { ProcessUser } from '../../core/api/frontend.ts';
import { linux } from '../../core/system/libc.ts';
import { loopReactor, type Reactor } from '../../core/system/reactor.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { type DeviceAdmin, LocalAdmin } from './device-admin.ts';
import { type HostPaths, hostPaths } from './host-paths.ts';
import { loadModules } from './modules.ts';
import { kernelVdpaBus } from './vdpa-bus.ts';

/** The machine: everything outside of this process that a VDUSE disk needs. */
export interface Host {
  readonly syscalls: Syscalls;
  readonly reactor: Reactor;
  readonly paths: HostPaths;
  /** What takes root. */
  administer(disk: string): DeviceAdmin;
}

/** For this process, and for one that does what takes root on behalf of another. */
export const localAdmin = (disk: string, owner?: ProcessUser): DeviceAdmin =>
  new LocalAdmin(
    {
      syscalls: linux,
      bus: kernelVdpaBus,
      paths: hostPaths,
      loadModules: (driver) => loadModules(driver),
    },
    disk,
    owner,
  );

export const linuxHost: Host = {
  syscalls: linux,
  reactor: loopReactor,
  paths: hostPaths,
  administer: localAdmin,
};
