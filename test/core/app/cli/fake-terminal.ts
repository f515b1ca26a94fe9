import { PassThrough } from 'node:stream';
import { Terminal } from '../../../../core/app/cli/terminal.ts';

/** A terminal whose output can be looked at; `isTTY` makes it interactive. */
export function fakeTerminal({ isTTY = false } = {}) {
  const collect = () => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: isTTY ? 80 : undefined, text: '' });
    stream.on('data', (data) => {
      stream.text += String(data);
    });
    return stream;
  };
  const [stdout, stderr] = [collect(), collect()];
  const streams = [stdout, stderr].map((stream) => stream as unknown as NodeJS.WriteStream);
  return { terminal: new Terminal(streams[0], streams[1]), stdout, stderr };
}
