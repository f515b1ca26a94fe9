import { GatewayError } from '../api/errors.ts';
import type { DiskConfig, LoadedConfig } from '../config/config.ts';
import { didYouMean } from '../util/did-you-mean.ts';

/** The disks of these names in the order of the file; all of them when no name is given. */
export function selectDisks(config: LoadedConfig, names: readonly string[]): readonly DiskConfig[] {
  for (const name of names) if (!config.disks.has(name)) throw unknownDisk(config, name);
  const all = [...config.disks.values()];
  if (all.length === 0) {
    throw new GatewayError('config.no-disks', 'The configuration has no disks.', {
      where: config.locate('/disks', 'key'),
      fix: 'Add one below "disks"; docs/configuration.md shows how.',
    });
  }
  return names.length === 0 ? all : all.filter((disk) => names.includes(disk.name));
}

export function unknownDisk(config: LoadedConfig, name: string): GatewayError {
  const guess = didYouMean(name, config.disks.keys());
  return new GatewayError('config.unknown-disk', `There is no disk "${name}".`, {
    where: { file: config.file },
    why: `The configuration has ${[...config.disks.keys()].join(', ') || 'no disks'}.`,
    fix: guess ? `Did you mean "${guess}"?` : 'Name one of those, or add it to the configuration.',
  });
}
