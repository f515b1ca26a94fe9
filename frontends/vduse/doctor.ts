import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Finding } from '../../core/api/backend.ts';
import { linux } from '../../core/system/libc.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { ControlDevice } from './control-device.ts';
import { controlPath, type HostPaths, hostPaths } from './host-paths.ts';
import { moduleLoaded, VDUSE_MODULE } from './modules.ts';
import { type Attachment, OUTLETS } from './outlet.ts';

/** Bit of CAP_NET_ADMIN in a capability set. */
const CAP_NET_ADMIN = 12n;

/** Can this machine have VDUSE disks, and may this process make them? Changes nothing. */
export function checkHost(
  attach: Attachment,
  paths: HostPaths = hostPaths,
  modulesFolder = '/lib/modules',
  syscalls: Syscalls = linux,
): Finding[] {
  const status = read(join(paths.proc, 'self/status'));
  const isRoot = /^Uid:\s*\d+\s+(\d+)/m.exec(status)?.[1] === '0';
  return [
    ...[VDUSE_MODULE, OUTLETS[attach].driver].map((name) =>
      checkModule(paths, join(modulesFolder, release()), name, isRoot),
    ),
    ...reportApi(paths, syscalls),
    checkPermission(paths, status, isRoot),
    checkNamespace(paths),
  ];
}

function checkModule(paths: HostPaths, folder: string, name: string, isRoot: boolean): Finding {
  if (moduleLoaded(paths, name)) return { severity: 'ok', summary: `kernel module ${name} is loaded` };
  if (listed(folder, name)) {
    const summary = `kernel module ${name} is there to be loaded`;
    if (isRoot) return { severity: 'ok', summary };
    return {
      severity: 'warning',
      summary: `${summary}, by root`,
      fix: `modprobe ${name}; for every boot, put packaging/modules-load.d/blockgate.conf into /etc/modules-load.d`,
    };
  }
  return {
    severity: 'error',
    summary: `kernel ${release()} has no module ${name}`,
    fix: 'boot a kernel with CONFIG_VDPA_USER, CONFIG_VIRTIO_VDPA and CONFIG_VHOST_VDPA, such as Debian’s linux-image-amd64',
  };
}

/** As a file of the running kernel, or as a part of it. Names there have `-` or `_` as the author liked. */
function listed(folder: string, name: string): boolean {
  const pattern = new RegExp(`/${name.replaceAll('_', '[_-]')}\\.ko(\\.[a-z]+)?(:|$)`, 'm');
  return ['modules.dep', 'modules.builtin'].some((file) => {
    const path = join(folder, file);
    return existsSync(path) && pattern.test(readFileSync(path, 'utf8'));
  });
}

/** Nothing before the module is loaded; that it may not be opened is `checkPermission`'s business. */
function reportApi(paths: HostPaths, syscalls: Syscalls): Finding[] {
  try {
    using control = new ControlDevice(syscalls, controlPath(paths));
    return [{ severity: 'ok', summary: `VDUSE of kernel ${release()} has ${control.offered}` }];
  } catch {
    return [];
  }
}

function checkPermission(paths: HostPaths, status: string, isRoot: boolean): Finding {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  if (((effective >> CAP_NET_ADMIN) & 1n) === 0n) {
    return {
      severity: 'error',
      summary: 'this process may not attach devices: it lacks CAP_NET_ADMIN',
      fix: 'run the gateway as root; with "--user NAME" only helpers of it stay root',
    };
  }
  const control = controlPath(paths);
  if (!isRoot) {
    return {
      severity: 'warning',
      summary: `this process is not root, and ${control} belongs to root`,
      fix: `run the gateway as root, or give its user access to ${control} and load the modules beforehand`,
    };
  }
  return { severity: 'ok', summary: 'this process may make and attach devices' };
}

/** The vDPA family of netlink exists in the first network namespace only. */
function checkNamespace(paths: HostPaths): Finding {
  const own = link(join(paths.proc, 'self/ns/net'));
  const first = link(join(paths.proc, '1/ns/net'));
  if (own === undefined || first === undefined || own === first)
    return { severity: 'ok', summary: 'this process is in the host’s network namespace' };
  return {
    severity: 'error',
    summary: 'this process is in a network namespace of its own, where the vDPA bus cannot be reached',
    fix: 'run the gateway in the host’s network namespace (for a container: --network host)',
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
