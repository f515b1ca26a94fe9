import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { DatagramSocket } from '../../../core/system/datagram-socket.ts';
import { DatagramReceiver } from '../../support/datagram-receiver.ts';
import { tempFolder } from '../../support/temp-folder.ts';

describe('DatagramSocket', () => {
  it('sends to a path, a datagram each, of any text', () => {
    using folder = tempFolder();
    using receiver = new DatagramReceiver(folder.file('notify'));
    using socket = new DatagramSocket(folder.file('notify'));
    socket.send('READY=1');
    socket.send('STATUS=ängstlich');
    expect(receiver.receive()).toEqual(['READY=1', 'STATUS=ängstlich']);
  });

  it('sends to a name in the abstract namespace', () => {
    const name = `@blockgate-test-${randomUUID()}`;
    using receiver = new DatagramReceiver(name);
    using socket = new DatagramSocket(name);
    socket.send('READY=1');
    expect(receiver.receive()).toEqual(['READY=1']);
  });

  it('fails when nobody listens', () => {
    using folder = tempFolder();
    using socket = new DatagramSocket(folder.file('nobody'));
    expect(() => socket.send('READY=1')).toThrow(/ENOENT/);
  });

  it('refuses an address that would not fit', () => {
    expect(() => new DatagramSocket(`/${'x'.repeat(107)}`)).toThrow(RangeError);
    new DatagramSocket(`/${'x'.repeat(106)}`)[Symbol.dispose]();
  });
});
