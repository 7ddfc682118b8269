import { expect, test } from 'vitest';
import { encodeResponse } from '../codec/codec.ts';
import { sampleCapture, sampleResponse } from '../testing.ts';
import { captureAnswer, parseCaptureAnswer } from './capture.ts';

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));
type Capture = ReturnType<typeof sampleCapture>;
const [process, socket] = [sampleCapture().processes[0], sampleCapture().sockets[0]];

test.each<[string, Partial<Capture>]>([
  ['a name whose bytes exceed the limit', { processes: [{ ...process, comm: '€'.repeat(64) } as never] }],
  ['an argument whose bytes exceed the limit', { processes: [{ ...process, args: ['€'.repeat(1_536)] } as never] }],
  ['an id above those of a response', { processes: [{ ...process, uid: Number.MAX_SAFE_INTEGER } as never] }],
  ['a number above 32 bits', { socketsOmitted: 2 ** 40 }],
  ['a socket whose bytes exceed the limit', { sockets: [{ ...socket, state: 'é'.repeat(64) } as never] }],
])('capture - a reply with %s is rejected: a response could not hold it', (_, more) => {
  const capture = { ...sampleCapture(), ...more };
  // The control: its shape is right, and the encoder fails.
  expect(captureAnswer.safeParse({ capture }).success).toBe(true);
  expect(() => encodeResponse(sampleResponse({ capture }))).toThrow();
  expect(() => parseCaptureAnswer(bytesOf({ capture }))).toThrow();
});

test('capture - a reply that a response can hold is accepted', () => {
  const capture = { ...sampleCapture(), processes: [{ ...process, comm: '€'.repeat(21) } as never] };
  expect(parseCaptureAnswer(bytesOf({ capture }))).toEqual({ capture });
  expect(parseCaptureAnswer(bytesOf({ refused: 'busy', reason: '€'.repeat(4_096) }))).toMatchObject({
    refused: 'busy',
  });
});
