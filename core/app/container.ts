import 'reflect-metadata';
import { Container, type ServiceIdentifier } from 'inversify';
import type { Logger as LoggerService } from '../api/logger.ts';
import type { LoadedConfig } from '../config/config.ts';
import type { PluginRegistry as Registry } from '../plugins/registry.ts';
import type { Gateway as DiskGateway } from './gateway.ts';
import { coreModule, gatewayModule, settingsModule } from './modules.ts';
import type { Settings } from './settings.ts';
import { Config, Gateway, Logger, PluginRegistry, type Token } from './tokens.ts';

export function createContainer(settings: Settings): Container {
  const container = new Container();
  container.load(settingsModule(settings), coreModule, gatewayModule);
  return container;
}

export function resolveToken<T>(container: Container, token: Token<T>): Promise<T> {
  return container.getAsync(token as ServiceIdentifier<T>);
}

/** What a command works with: resolved once, so that nobody asks the container later. */
export interface Services {
  readonly config: LoadedConfig;
  readonly registry: Registry;
  readonly gateway: DiskGateway;
  readonly logger: LoggerService;
}

/** Loads plugins.json and the manifests it names, and wires the gateway. Throws `ConfigErrors`. */
export async function compose(settings: Settings): Promise<Services> {
  const container = createContainer(settings);
  return {
    config: await resolveToken(container, Config),
    registry: await resolveToken(container, PluginRegistry),
    gateway: await resolveToken(container, Gateway),
    logger: await resolveToken(container, Logger),
  };
}
