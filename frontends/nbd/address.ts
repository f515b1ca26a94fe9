import { NBD_DEFAULT_PORT } from '../../core/nbd/protocol.ts';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
  /** Only this machine gets there. */
  readonly isLocal: boolean;
}

/** `host:port`, `[IPv6]:port`, or without the port. Returns what is wrong as a string. */
export function parseAddress(text: string): TcpAddress | string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:@[\]/\s]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return 'an address is host:port, or [IPv6 address]:port';
  const host = (match[1] ?? match[2])!;
  const port = Number(match[3] ?? NBD_DEFAULT_PORT);
  if (port < 1 || port > 65535) return `a port is a number from 1 to 65535, not ${port}`;
  return { host, port, isLocal: /^(?:127(?:\.\d+){3}|::1|localhost)$/.test(host) };
}

/** As it stands in a URI. */
export function uriHost({ host, port }: TcpAddress): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return port === NBD_DEFAULT_PORT ? name : `${name}:${port}`;
}
