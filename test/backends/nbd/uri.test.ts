import { describe, expect, it } from 'vitest';
import { parseNbdUri } from '../../../backends/nbd/uri.ts';

describe('an NBD URI', () => {
  it.each([
    ['nbd://host', { endpoint: { host: 'host', port: 10809 }, tls: false, exportName: '' }],
    [
      'nbd://host:10810/disk%200',
      { endpoint: { host: 'host', port: 10810 }, tls: false, exportName: 'disk 0' },
    ],
    ['nbds://[::1]/a/b', { endpoint: { host: '::1', port: 10809 }, tls: true, exportName: 'a/b' }],
    ['nbd+unix:///x?socket=/run/a+b', { endpoint: { path: '/run/a+b' }, tls: false, exportName: 'x' }],
    ['nbds+unix:///?socket=%2Frun%2Fs', { endpoint: { path: '/run/s' }, tls: true, exportName: '' }],
  ])('%s is understood', (text, address) => {
    expect(parseNbdUri(text)).toEqual(address);
  });

  it.each([
    ['http://host', 'an NBD URI is'],
    ['nbd://', 'the host'],
    ['nbd://host:0/', 'the port'],
    ['nbd://host:99999/', 'the port'],
    ['nbd://user@host/', 'malformed'],
    ['nbd://host/%zz', 'percent-encoded'],
    ['nbd://host/x?socket=/s', 'nbd+unix'],
    ['nbd+unix:///x', '?socket=path'],
    ['nbd+unix://host/x?socket=/s', 'three slashes'],
  ])('%s is refused with a reason', (text, reason) => {
    expect(parseNbdUri(text)).toContain(reason);
  });
});
