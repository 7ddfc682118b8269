import { getEventListeners } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { outputOf } from './io.ts';

it('a slow reader - each wait for it ends without a trace; one that is gone ends the wait', async () => {
  const stream = new PassThrough();
  const lost = new AbortController();
  const output = outputOf(stream as never, lost.signal);
  const listeners = () => [getEventListeners(lost.signal, 'abort').length, stream.listenerCount('drain')];
  const before = listeners();
  for (let time = 0; time < 12; time++) {
    stream.write(Buffer.alloc(1024 ** 2));
    const drained = output.drained();
    expect(listeners(), 'control: it waits').not.toEqual(before);
    stream.read();
    await drained;
  }
  expect(listeners()).toEqual(before);
  stream.write(Buffer.alloc(1024 ** 2));
  const drained = output.drained();
  lost.abort();
  await drained;
});
