import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Where the kernel shows itself. Tests put a folder of their own in its place. */
export interface HostPaths {
  readonly dev: string;
  readonly proc: string;
  readonly sys: string;
  readonly run: string;
}

export const hostPaths: HostPaths = { dev: '/dev', proc: '/proc', sys: '/sys', run: '/run' };

/** `/dev/vduse/control`: makes and destroys devices. */
export const controlPath = (paths: HostPaths): string => join(paths.dev, 'vduse/control');

/** `/dev/vduse/NAME`: one device; only one process can have it open. */
export const devicePath = (paths: HostPaths, name: string): string => join(paths.dev, 'vduse', name);

/** Attributes of a VDUSE device: msg_timeout, bounce_size. */
export const classPath = (paths: HostPaths, name: string): string => join(paths.sys, 'class/vduse', name);

/** The device on the vDPA bus; exists while it is attached. */
export const busPath = (paths: HostPaths, name: string): string => join(paths.sys, 'bus/vdpa/devices', name);

export const isAttached = (paths: HostPaths, name: string): boolean => existsSync(busPath(paths, name));

/** What is in flight in the queues of a device; has to be on a tmpfs. */
export const inFlightPath = (paths: HostPaths, name: string): string =>
  join(paths.run, 'blockgate', `${name}.inflight`);
