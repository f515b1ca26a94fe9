import { existsSync } from 'node:fs';
import { PluginRegistry } from '../../plugins/registry.ts';
import { ensureDebianPackages } from '../../vm/debian-packages.ts';
import { warmCompileCache } from './compile-cache.ts';
import { LocalPlayground } from './local-playground.ts';
import type { Playground } from './playground.ts';

/** What the scripts need beyond what every Linux has, and the Debian package it is in. */
const FILE_SYSTEM_TOOLS = { path: '/sbin/mkfs.ext4', package: 'e2fsprogs' };

export interface PlaygroundOptions {
  /** The demo's folder. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Gets a line for each thing that is installed, downloaded or started. */
  readonly onProgress: (line: string) => void;
}

/** This machine where its kernel has VDUSE and this user may use it; otherwise a virtual machine. */
export async function openPlayground(options: PlaygroundOptions): Promise<Playground> {
  const { folder, signal, onProgress } = options;
  if (!existsSync(FILE_SYSTEM_TOOLS.path))
    await ensureDebianPackages([FILE_SYSTEM_TOOLS.package], onProgress);
  if (await hasVduse()) return new LocalPlayground(folder, signal);
  onProgress('Booting a virtual machine, since VDUSE cannot be used here');
  await warmCompileCache();
  const { VmPlayground } = await import('./vm-playground.ts');
  return VmPlayground.boot(options);
}

async function hasVduse(): Promise<boolean> {
  const descriptor = await PluginRegistry.builtIn().find('frontend', 'vduse');
  const findings = (await (await descriptor?.load())?.check?.(undefined)) ?? [];
  return findings.every(({ severity }) => severity !== 'error');
}
