import type { DiskConfig } from '../config/config.ts';
import { ConfigErrors } from '../config/config-errors.ts';
import type { PluginRegistry } from '../plugins/registry.ts';

export interface ValidatedDisks {
  readonly valid: readonly DiskConfig[];
  /** By the name of the disk. */
  readonly mistakes: ReadonlyMap<string, ConfigErrors>;
}

/** Loads the plugins of each disk and checks its configuration, so that mistakes of all are known before one starts. */
export async function validateDisks(
  disks: readonly DiskConfig[],
  registry: PluginRegistry,
): Promise<ValidatedDisks> {
  const valid: DiskConfig[] = [];
  const mistakes = new Map<string, ConfigErrors>();
  for (const disk of disks) {
    try {
      await registry.prepareDisk(disk);
      valid.push(disk);
    } catch (error) {
      if (!(error instanceof ConfigErrors)) throw error;
      mistakes.set(disk.name, error);
    }
  }
  return { valid, mistakes };
}

/** Every mistake of every disk, as one error. */
export function allMistakes({ mistakes }: ValidatedDisks): ConfigErrors {
  return new ConfigErrors([...mistakes.values()].flatMap(({ errors }) => errors));
}
