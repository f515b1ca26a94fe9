import { type Container, ContainerModule, type ServiceIdentifier } from 'inversify';
import { loadConfig } from '../config/load.ts';
import { createLogger } from '../observe/logger.ts';
import { PluginRegistry as Registry } from '../plugins/registry.ts';
import { Gateway as DiskGateway } from './gateway.ts';
import { InProcessLauncher } from './in-process-launcher.ts';
import { ProcessLauncher } from './process-launcher.ts';
import { BackoffRestart } from './restart-policy.ts';
import type { Settings as SettingsValue } from './settings.ts';
import {
  Config,
  DiskLauncher,
  Gateway,
  Logger,
  PluginRegistry,
  RestartPolicy,
  Settings,
  type Token,
} from './tokens.ts';

type Services<D extends readonly Token<unknown>[]> = {
  [I in keyof D]: D[I] extends Token<infer T> ? T : never;
};

/** Binds a factory; its type and the types of its dependencies are checked against the tokens. */
export function provide<T, const D extends readonly Token<unknown>[]>(
  to: Pick<Container, 'bind'>,
  token: Token<T>,
  dependencies: D,
  make: (...services: Services<D>) => T | Promise<T>,
): void {
  // inversify types factory and dependencies apart; `Services` has just checked that they fit.
  const untyped = make as (...services: unknown[]) => T;
  to.bind(token as ServiceIdentifier<T>)
    .toResolvedValue(untyped, dependencies as readonly ServiceIdentifier[] as ServiceIdentifier[])
    .inSingletonScope();
}

export function settingsModule(settings: SettingsValue): ContainerModule {
  return new ContainerModule((to) => provide(to, Settings, [], () => settings));
}

/** Services that every command may need. */
export const coreModule = new ContainerModule((to) => {
  provide(to, Logger, [Settings], ({ logLevel, logFormat, writeLog }) =>
    createLogger({ level: logLevel, format: logFormat, write: writeLog }),
  );
  provide(to, Config, [Settings], ({ configFile, overrides }) => loadConfig(configFile, { overrides }));
  provide(to, PluginRegistry, [Config], (config) => Registry.load(config));
});

/** Services that run disks. */
export const gatewayModule = new ContainerModule((to) => {
  provide(to, RestartPolicy, [], () => new BackoffRestart());
  provide(to, DiskLauncher, [Settings, Logger], (settings, logger) => {
    const { stateDir, graceMs, inProcess, logLevel, user, hangMs } = settings;
    const launch = { stateDir, graceMs };
    if (inProcess) return new InProcessLauncher(launch, logger);
    return new ProcessLauncher(launch, logger, { logLevel, user, hangMs });
  });
  provide(
    to,
    Gateway,
    [DiskLauncher, RestartPolicy],
    (launcher, policy) => new DiskGateway(launcher, policy),
  );
});
