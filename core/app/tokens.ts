import type { Logger as LoggerService } from '../api/logger.ts';
import type { LoadedConfig } from '../config/config.ts';
import type { PluginRegistry as PluginRegistryService } from '../plugins/registry.ts';
import type { Gateway as GatewayService } from './gateway.ts';
import type { RestartPolicy as RestartPolicyService } from './restart-policy.ts';
import type { DiskLauncher as DiskLauncherService } from './running-disk.ts';
import type { Settings as SettingsValue } from './settings.ts';

/** A symbol that carries the type of its service, so that wrong wiring does not compile. */
export type Token<T> = symbol & { readonly __service?: T };

const token = <T>(name: string): Token<T> => Symbol(name) as Token<T>;

export const Settings = token<SettingsValue>('Settings');
export const Logger = token<LoggerService>('Logger');
export const Config = token<LoadedConfig>('Config');
export const PluginRegistry = token<PluginRegistryService>('PluginRegistry');
export const RestartPolicy = token<RestartPolicyService>('RestartPolicy');
export const DiskLauncher = token<DiskLauncherService>('DiskLauncher');
export const Gateway = token<GatewayService>('Gateway');
