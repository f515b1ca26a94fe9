import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AgentMessage, ControlChannel, parseAgentMessage } from '../../../core/vm/control-channel.ts';

describe('parseAgentMessage', () => {
  it.each([
    ['ready', { kind: 'ready' }],
    ['exit 12 0', { kind: 'exit', id: 12, status: 0 }],
    ['exit 3 143', { kind: 'exit', id: 3, status: 143 }],
  ])('understands %s', (line, message) => {
    expect(parseAgentMessage(line)).toEqual(message);
  });

  it.each(['', 'exit', 'exit 1', 'exit one 0', 'exit 1 0 more', 'sh: exit: bad number'])(
    'ignores "%s"',
    (line) => {
      expect(parseAgentMessage(line)).toBeUndefined();
    },
  );
});

describe('ControlChannel', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'blockgate-test-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('carries commands to the guest and messages back, in order', async () => {
    const path = join(folder, 'control');
    const messages: AgentMessage[] = [];
    const finished = Promise.withResolvers<void>();
    using channel = await ControlChannel.listen(path, (message) => {
      messages.push(message);
      if (message.kind === 'exit') finished.resolve();
    });
    const guest = connect(path);
    guest.write('ready\nex');
    guest.on('data', (chunk) => {
      expect(chunk.toString()).toBe('run 1 token\n');
      guest.write('it 1 7\n');
    });
    await expect.poll(() => messages.length).toBe(1);
    channel.send('run 1 token');
    await finished.promise;
    expect(messages).toEqual([{ kind: 'ready' }, { kind: 'exit', id: 1, status: 7 }]);
    guest.destroy();
  });
});
