import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { NbdConnection } from '../../../backends/nbd/connection.ts';
import type { ExportInfo } from '../../../backends/nbd/export-info.ts';
import { NbdRequest } from '../../../backends/nbd/request.ts';
import { NBD_CMD_WRITE } from '../../../core/nbd/protocol.ts';
import { join, simpleReply } from '../../support/scripted-nbd-server.ts';

/** The other end takes what it is sent at its leisure: a socket that is closed stays open until it has. */
class SlowSocket extends Duplex {
  readonly sent: Buffer[] = [];
  destroySoon(): void {}
  override _read(): void {}
  override _write(bytes: Buffer): void {
    this.sent.push(bytes);
  }
  override _writev(chunks: { chunk: Buffer }[]): void {
    for (const { chunk } of chunks) this.sent.push(chunk);
  }
}

const info = { structured: false } as ExportInfo;
const write = () => new NbdRequest(NBD_CMD_WRITE, 0, 0, 512, { data: Buffer.alloc(512) });
const turn = () => new Promise((resolve) => setImmediate(resolve));

function connect(onAnswer: (request: NbdRequest, connection: NbdConnection) => void) {
  const socket = new SlowSocket();
  const connection: NbdConnection = new NbdConnection(socket as unknown as Socket, info, (request) =>
    onAnswer(request, connection),
  );
  return { socket, connection };
}

describe('a connection that is given up', () => {
  it('hands nothing back any more: its requests are sent again on the next', async () => {
    const answered: NbdRequest[] = [];
    const { socket, connection } = connect((request) => answered.push(request));
    const request = write();
    connection.send(request);
    await turn();
    const cookie = socket.sent[0]!.subarray(8, 16);
    connection[Symbol.dispose]();
    socket.push(simpleReply(cookie, 0));
    await turn();
    expect(answered).toEqual([]);
    expect(connection.unanswered).toEqual([request]);
  });

  it('in the middle of what came in at once stops there', async () => {
    const answered: NbdRequest[] = [];
    const { socket, connection } = connect((request, which) => {
      answered.push(request);
      which[Symbol.dispose]();
    });
    const [first, second] = [write(), write()];
    connection.send(first);
    connection.send(second);
    await turn();
    const cookies = Buffer.concat(socket.sent);
    const replies = [8, 8 + 28 + 512].map((at) => simpleReply(cookies.subarray(at, at + 8), 0));
    socket.push(join(...replies));
    await turn();
    expect(answered).toEqual([first]);
    expect(connection.unanswered).toEqual([second]);
  });
});
