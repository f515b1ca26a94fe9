import type { Socket } from 'node:net';
import { resolve } from 'node:path';
import { createSecureContext, createServer, type TlsOptions } from 'node:tls';
import { readPemFile } from '../../core/util/pem-file.ts';
import { resolveSecret } from '../../core/util/secret.ts';
import type { NbdServerConfig } from './config.ts';
import { badPsk, serverTlsFile } from './errors.ts';
import type { Secure } from './negotiation.ts';

/** The server's side of TLS. Reads certificates and secrets; throws `nbd.tls-file` or `nbd.tls-psk`. */
export async function tlsServer(tls: NonNullable<NbdServerConfig['tls']>, baseDir: string): Promise<Secure> {
  const options =
    tls.psk === undefined ? await certificates(tls, baseDir) : await sharedKey(tls.psk, baseDir);
  return (socket) => secured(socket, options);
}

async function certificates(
  { cert, key, ca }: NonNullable<NbdServerConfig['tls']>,
  baseDir: string,
): Promise<TlsOptions> {
  const options = {
    cert: await pem(cert!, baseDir),
    key: await pem(key!, baseDir),
    ...(ca !== undefined && { ca: await pem(ca, baseDir) }),
  };
  try {
    createSecureContext(options);
  } catch (cause) {
    throw serverTlsFile(`${resolve(baseDir, cert!)} with ${resolve(baseDir, key!)}`, cause);
  }
  return { ...options, minVersion: 'TLSv1.2', requestCert: ca !== undefined, rejectUnauthorized: true };
}

async function sharedKey(
  { username, key }: NonNullable<NonNullable<NbdServerConfig['tls']>['psk']>,
  baseDir: string,
): Promise<TlsOptions> {
  const secret = await resolveSecret(key, baseDir);
  if (!/^(?:[0-9a-f]{2})+$/i.test(secret.reveal())) throw badPsk();
  return {
    // TLS 1.3 has its own kind of external keys, which Node.js does not offer.
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2',
    pskCallback: (_socket, identity) => (identity === username ? Buffer.from(secret.reveal(), 'hex') : null),
  };
}

const pem = (path: string, baseDir: string): Promise<Buffer> => readPemFile(path, baseDir, 'nbd.tls-file');

/** A TLS server of Node.js that listens nowhere verifies the client as one that listens does. */
function secured(socket: Socket, options: TlsOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const server = createServer(options);
    socket.once('close', () => reject(new Error('the client left while TLS was negotiated')));
    server.once('tlsClientError', (error) => reject(new Error(`TLS: ${error.message}`)));
    server.once('secureConnection', (secure) => {
      secure.on('error', () => {});
      resolve(secure);
    });
    server.emit('connection', socket);
  });
}
