import type { ConnectionOptions } from 'node:tls';
import { GatewayError, readPemFile, resolveSecret } from '../../core/plugin.ts';
import type { NbdConfig } from './config.ts';

/** What `tls.connect` needs besides the socket. Reads files and secrets. */
export async function tlsOptions(
  tls: NbdConfig['tls'],
  host: string | undefined,
  baseDir: string,
): Promise<ConnectionOptions> {
  const { ca, cert, key, hostname = host, insecure = false, psk } = tls ?? {};
  if (psk !== undefined) {
    const secret = await resolveSecret(psk.key, baseDir);
    if (!/^(?:[0-9a-f]{2})+$/i.test(secret.reveal())) throw noKey();
    // TLS 1.3 has its own kind of external keys, which Node.js does not offer.
    return {
      ciphers: 'PSK',
      maxVersion: 'TLSv1.2',
      pskCallback: () => ({ identity: psk.username, psk: Buffer.from(secret.reveal(), 'hex') }),
      checkServerIdentity: () => undefined,
    };
  }
  if (hostname === undefined && !insecure) throw nameless();
  return {
    ...(ca !== undefined && { ca: await pem(ca, baseDir) }),
    ...(cert !== undefined && { cert: await pem(cert, baseDir) }),
    ...(key !== undefined && { key: await pem(key, baseDir) }),
    ...(hostname !== undefined && { host: hostname }),
    // SNI carries names only (RFC 6066, section 3).
    ...(hostname !== undefined && !/^[\d.]+$|:/.test(hostname) && { servername: hostname }),
    rejectUnauthorized: !insecure,
    minVersion: 'TLSv1.2',
  };
}

const pem = (path: string, baseDir: string): Promise<Buffer> => readPemFile(path, baseDir, 'nbd.tls-file');

function noKey(): GatewayError {
  return new GatewayError('nbd.tls-psk', 'The key in "tls.psk" is not hexadecimal.', {
    why: 'It is written as an even number of digits 0 to 9 and a to f, and nothing else.',
    fix: 'Use the part after the colon of the server’s key file (psktool makes such a file).',
  });
}

function nameless(): GatewayError {
  return new GatewayError('nbd.tls-hostname', 'The certificate of the NBD server cannot be checked.', {
    why: 'Its URI names a Unix socket, so there is no host name to compare it with.',
    fix: 'Give "tls.hostname", a "tls.psk", or "tls.insecure".',
  });
}
