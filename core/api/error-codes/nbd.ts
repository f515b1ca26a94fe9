import type { ErrorDocs } from './error-docs.ts';

/** NBD servers and their exports. */
export const NBD_ERRORS: ErrorDocs = {
  'nbd.unavailable': {
    meaning: 'The NBD server cannot be reached, or does not speak the protocol properly.',
    fix: 'Start it, or correct "uri".',
  },
  'nbd.refused': {
    meaning: 'The NBD server does not give the export out, or not in this way.',
    fix: 'Read its reason; correct the configuration of the server or of the disk.',
  },
  'nbd.unknown-export': {
    meaning: 'The NBD server has no export of that name.',
    fix: 'Correct the name at the end of "uri".',
  },
  'nbd.unusable-export': {
    meaning: 'The export has a size or a block size that no disk can have.',
    fix: 'Have the server offer it in another way.',
  },
  'nbd.export-differs': {
    meaning: 'After a reconnection the server has another export than before.',
    fix: 'Find out what became of the server, then stop the disk and start it again.',
  },
  'nbd.not-grown': {
    meaning: 'An export cannot be grown from here.',
    fix: 'Grow it at its server, then run "blockgate resize" without a size.',
  },
  'nbd.tls-file': {
    meaning: 'A file with certificates or a key cannot be read.',
    fix: 'Correct the path.',
  },
  'nbd.tls-hostname': {
    meaning: 'Over a Unix socket there is no host name that a certificate could have.',
    fix: 'Give "tls.hostname", a "tls.psk", or "tls.insecure".',
  },
  'nbd.tls-psk': {
    meaning: 'The key that both sides are to know is not hexadecimal.',
    fix: 'Use the part after the colon of the server’s key file.',
  },
  'nbd.address-in-use': {
    meaning: 'Another process listens where a disk is to be served over NBD.',
    fix: 'Stop it, or give the disk another "socket" or "listen".',
  },
  'nbd.cannot-listen': {
    meaning: 'The machine does not let the gateway listen at that address or Unix socket.',
    fix: 'Correct "socket" or "listen".',
  },
  'nbd.tls-unused': {
    meaning: 'TLS is configured for a connection without TLS.',
    fix: 'Begin "uri" with "nbds:" or "nbds+unix:".',
  },
};
