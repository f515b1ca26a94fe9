import { NBD_DEFAULT_PORT } from '../../core/nbd/protocol.ts';

/** Where an export is: an NBD URI (doc/uri.md of the NBD project), taken apart. */
export interface NbdAddress {
  readonly endpoint:
    | { readonly host: string; readonly port: number }
    /** A Unix socket. */
    | { readonly path: string };
  readonly tls: boolean;
  /** Empty: the server's default export. */
  readonly exportName: string;
}

/** Returns what is wrong as a string. */
export function parseNbdUri(text: string): NbdAddress | string {
  const match = /^(nbds?)(\+unix)?:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(text);
  if (match === null)
    return 'an NBD URI is nbd://host[:port]/export, nbds://… or nbd+unix:///export?socket=path';
  const [, scheme, unix, authority = '', path = '', query = ''] = match;
  const exportName = decode(path.slice(1));
  if (exportName === undefined) return 'the name of the export is not properly percent-encoded';
  const tls = scheme === 'nbds';
  const socket = new URLSearchParams(query.replaceAll('+', '%2B')).get('socket');
  if (unix !== undefined) {
    if (authority !== '') return `${scheme}+unix: is followed by three slashes: there is no host`;
    if (socket === null || socket === '') return 'a Unix socket is named by "?socket=path"';
    return { endpoint: { path: socket }, tls, exportName };
  }
  if (socket !== null) return `a Unix socket is for ${scheme}+unix:`;
  const host = /^(?:\[([0-9a-fA-F:.]+)\]|([^:@[\]]+))(?::(\d{1,5}))?$/.exec(authority);
  const port = Number(host?.[3] ?? NBD_DEFAULT_PORT);
  if (host === null || port < 1 || port > 65535) return 'the host or the port is missing or malformed';
  return { endpoint: { host: (host[1] ?? host[2])!, port }, tls, exportName };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
