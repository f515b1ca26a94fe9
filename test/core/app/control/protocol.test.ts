import { describe, expect, it } from 'vitest';
import {
  type ControlRequest,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  PROTOCOL_VERSION,
} from '../../../../core/app/control/protocol.ts';

describe('a request', () => {
  it.each<ControlRequest>([
    { method: 'status' },
    { method: 'detach', disk: 'disk0', force: true },
    { method: 'upgrade', disk: 'disk0' },
    { method: 'resize', disk: 'disk0' },
    { method: 'resize', disk: 'disk0', size: 4096 },
  ])('arrives as it was sent: $method', (request) => {
    const line = encodeRequest(request);
    expect(line.endsWith('\n')).toBe(true);
    expect(decodeRequest(line)).toEqual(request);
  });

  it.each([
    '',
    'nonsense',
    'null',
    '[]',
    '{"version":1}',
    '{"version":1,"request":{"method":"format"}}',
    '{"version":1,"request":{"method":"detach","disk":"disk0"}}',
    '{"version":1,"request":{"method":"resize","disk":"disk0","size":-1}}',
    '{"version":1,"request":{"method":"status","more":1}}',
  ])('that is none is refused: %s', (line) => {
    expect(() => decodeRequest(line)).toThrow(expect.objectContaining({ code: 'gateway.bad-request' }));
  });

  it('of another version is refused, whatever it says', () => {
    const line = JSON.stringify({ version: PROTOCOL_VERSION + 1, request: { method: 'divine' } });
    expect(() => decodeRequest(line)).toThrow(expect.objectContaining({ code: 'gateway.other-version' }));
  });
});

describe('a response', () => {
  it('carries a result or an error', () => {
    expect(decodeResponse(encodeResponse({ result: { size: 1 } }))).toEqual({ result: { size: 1 } });
    const error = { name: 'Error', message: 'no' };
    expect(decodeResponse(encodeResponse({ error }))).toEqual({ error });
  });

  it.each(['', '{}', '[]'])('that is none counts as no answer: "%s"', (line) => {
    expect(() => decodeResponse(line)).toThrow(expect.objectContaining({ code: 'gateway.no-answer' }));
  });

  it('of another version is refused', () => {
    expect(() => decodeResponse('{"version":99,"result":1}')).toThrow(
      expect.objectContaining({ code: 'gateway.other-version' }),
    );
  });
});
