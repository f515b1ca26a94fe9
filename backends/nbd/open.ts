import type { ConnectionOptions } from 'node:tls';
import { NBD_FLAG_CAN_MULTI_CONN, NBD_FLAG_READ_ONLY, NBD_FLAG_SEND_FLUSH } from '../../core/nbd/protocol.ts';
import { type BlockDevice, GatewayError, type OpenContext, type PluginContext } from '../../core/plugin.ts';
import type { NbdConfig } from './config.ts';
import { connector, inquire } from './connect.ts';
import { nbdDevice } from './device.ts';
import type { ExportInfo } from './export-info.ts';
import { type Connect, NbdLink } from './link.ts';
import { tlsOptions } from './tls.ts';
import { type NbdAddress, parseNbdUri } from './uri.ts';

export async function openExport(config: NbdConfig, ctx: OpenContext): Promise<BlockDevice> {
  const { window, giveUpAfter } = config;
  const link = await NbdLink.open({
    connect: await connectorFor(config, ctx),
    logger: ctx.logger,
    signal: ctx.signal,
    window,
    giveUpMs: giveUpAfter === undefined ? undefined : giveUpAfter * 1000,
  });
  const { flags } = link.info;
  const writable = (flags & NBD_FLAG_READ_ONLY) === 0;
  if (!writable && !ctx.readOnly) ctx.logger.warn('the export is read-only, and so is the disk');
  if (writable && (flags & NBD_FLAG_SEND_FLUSH) === 0)
    ctx.logger.warn(
      'the NBD server cannot flush: what it has answered may be lost when it dies, and nobody can tell',
    );
  if (config.connections > 1 && (flags & NBD_FLAG_CAN_MULTI_CONN) === 0)
    ctx.logger.warn('one connection is used: the NBD server does not keep several consistent', {
      connections: config.connections,
    });
  return nbdDevice(link);
}

/** Size (bytes) and transmission flags of the export. */
export async function exportFacts(
  config: NbdConfig,
  ctx: PluginContext,
): Promise<Pick<ExportInfo, 'size' | 'flags'>> {
  const { address, tls } = await accessTo(config, ctx);
  return await inquire(config.uri, address, tls, ctx.signal);
}

async function connectorFor(config: NbdConfig, ctx: PluginContext): Promise<Connect> {
  const { address, tls } = await accessTo(config, ctx);
  return connector(config.uri, address, tls, config.connections);
}

/** Reads certificates and secrets; connects to nothing. */
async function accessTo(
  config: NbdConfig,
  ctx: PluginContext,
): Promise<{ readonly address: NbdAddress; readonly tls: ConnectionOptions }> {
  const address = parseNbdUri(config.uri) as NbdAddress;
  if (config.tls !== undefined && !address.tls) throw tlsUnused(config.uri);
  const { endpoint } = address;
  const host = 'host' in endpoint ? endpoint.host : undefined;
  return { address, tls: address.tls ? await tlsOptions(config.tls, host, ctx.baseDir) : {} };
}

function tlsUnused(uri: string): GatewayError {
  return new GatewayError('nbd.tls-unused', `${uri} is a connection without TLS, but "tls" is configured.`, {
    why: 'Everything would be sent in the clear.',
    fix: 'Begin "uri" with "nbds:" or "nbds+unix:", or leave out "tls".',
  });
}
