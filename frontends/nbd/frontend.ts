import { join, resolve } from 'node:path';
import type { PluginContext } from '../../core/api/backend.ts';
import type { Volume } from '../../core/api/device.ts';
import type { FrontendHandle } from '../../core/api/frontend.ts';
import { parseAddress, type TcpAddress, uriHost } from './address.ts';
import { Client, type ClientOptions } from './client.ts';
import type { NbdServerConfig } from './config.ts';
import { type Endpoint, listenAt } from './listener.ts';
import { tlsServer } from './tls.ts';

/** Serves `volume` as the export of an NBD server. */
export async function serveExport(
  volume: Volume,
  config: NbdServerConfig,
  ctx: PluginContext,
): Promise<FrontendHandle> {
  const { tls, connections, exportName = volume.name } = config;
  const { logger } = ctx;
  const secure = tls && (await tlsServer(tls, ctx.baseDir));
  const options: ClientOptions = { volume, exportName, secure, logger };
  const clients = new Set<Client>();
  let nth = 0;
  let quiet = false;
  const endpoint = endpointOf(config, ctx);
  const listener = await listenAt(endpoint, (socket) => {
    if (quiet || clients.size >= connections) {
      socket.on('error', () => {}).destroy();
      if (!quiet) logger.warn('an NBD client is turned away: there are enough of them', { connections });
      return;
    }
    const client = new Client(socket, ++nth);
    clients.add(client);
    void client.serve(options).then(() => clients.delete(client));
  });
  const uri = uriOf(endpoint, exportName, secure !== undefined);
  const served = () => [...clients].filter((client) => client.isServed);
  return {
    path: uri,
    usage: usageOf(uri, endpoint, exportName, secure !== undefined),
    holders: async () =>
      served().map(({ name }) => ({ kind: 'process' as const, description: `an NBD client (${name})` })),
    async quiesce() {
      quiet = true;
      await Promise.all([...clients].map((client) => client.quiesce()));
    },
    // The protocol has no message for it: a client sees the new size when it connects again.
    async resize() {},
    status: () => ({ clients: served().map(({ name }) => name), tls: secure !== undefined }),
    closed: new Promise(() => {}),
    async [Symbol.asyncDispose]() {
      quiet = true;
      await listener[Symbol.asyncDispose]();
      await Promise.all([...clients].map((client) => client.close()));
    },
  };
}

function endpointOf({ listen, socket, mode }: NbdServerConfig, ctx: PluginContext): Endpoint {
  if (listen !== undefined) return parseAddress(listen) as TcpAddress;
  const path = socket === undefined ? join(ctx.stateDir, 'nbd.sock') : resolve(ctx.baseDir, socket);
  return { path, mode: Number.parseInt(mode, 8) };
}

function uriOf(endpoint: Endpoint, exportName: string, tls: boolean): string {
  const scheme = tls ? 'nbds' : 'nbd';
  const name = encodeURIComponent(exportName);
  if ('path' in endpoint)
    return `${scheme}+unix:///${name}?socket=${encodeURIComponent(endpoint.path).replaceAll('%2F', '/')}`;
  return `${scheme}://${uriHost(endpoint)}/${name}`;
}

function usageOf(uri: string, endpoint: Endpoint, exportName: string, tls: boolean): string[] {
  const lines = [`qemu-img info '${uri}'`, `nbdcopy '${uri}' copy.img`];
  // The kernel's client has TLS by way of a proxy at best.
  if (tls) return lines;
  const where = 'path' in endpoint ? `-unix ${endpoint.path}` : `${endpoint.host} ${endpoint.port}`;
  return [...lines, `nbd-client ${where} -name ${exportName} /dev/nbd0`];
}
