import { GatewayError } from '../../core/api/errors.ts';

export function addressInUse(where: string): GatewayError {
  return new GatewayError('nbd.address-in-use', `Nobody can be served at ${where}: it is in use.`, {
    why: 'Another process listens there.',
    fix: 'Stop it, or give this disk another "socket" or "listen".',
  });
}

export function cannotListen(where: string, cause: unknown): GatewayError {
  return new GatewayError('nbd.cannot-listen', `Nobody can be served at ${where}.`, {
    why: (cause as Error).message,
    fix: 'Correct "socket" or "listen"; the folder of a socket has to exist, and its path to be short.',
    cause,
  });
}

export function serverTlsFile(path: string, cause: unknown): GatewayError {
  return new GatewayError('nbd.tls-file', `${path} cannot be used.`, {
    why: (cause as Error).message,
    fix: 'Correct the path in "tls"; relative ones start at the folder of plugins.json.',
    cause,
  });
}

export function badPsk(): GatewayError {
  return new GatewayError('nbd.tls-psk', 'The key in "tls.psk" is not hexadecimal.', {
    why: 'It is written as an even number of digits 0 to 9 and a to f, and nothing else.',
    fix: 'Use the part after the colon of a key file (psktool makes such a file).',
  });
}
