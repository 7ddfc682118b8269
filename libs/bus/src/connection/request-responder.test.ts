import { describe, expect, it } from 'vitest';
import { RequestQueue } from './request-responder.ts';

function rig({ maxWaitMs = 400 } = {}) {
  const worked: string[] = [];
  const answers: Record<string, string> = {};
  const errors: string[] = [];
  const finish: (() => void)[] = [];
  let nowMs = 0;
  const turns = new RequestQueue({
    respond: async (data) => {
      const text = Buffer.from(data).toString();
      worked.push(text);
      await new Promise<void>((resolve) => finish.push(resolve));
      if (text === 'bug') throw new Error('a bug');
      return `answer to ${text}`;
    },
    busy: () => 'busy',
    maxWaitMs,
    monotonicMs: () => nowMs,
    onError: ({ message }) => errors.push(message),
  });
  return {
    turns,
    worked,
    answers,
    errors,
    ask: (text: string) =>
      turns.add({ data: Buffer.from(text), respond: (answer) => (answers[text] = String(answer)) }),
    /** Completes the current request after this time. */
    async done(afterMs = 0) {
      nowMs += afterMs;
      finish.shift()?.();
      await new Promise(setImmediate);
    },
  };
}

describe('request queue', () => {
  it('processes requests one after another', async () => {
    const { ask, done, worked, answers } = rig();
    for (const text of ['a', 'b', 'c']) ask(text);
    expect(worked).toEqual(['a']);
    await done();
    expect([worked, answers]).toEqual([['a', 'b'], { a: 'answer to a' }]);
    await done();
    await done();
    expect(answers).toEqual({ a: 'answer to a', b: 'answer to b', c: 'answer to c' });
  });

  it('requests that waited too long are not processed, later ones in time are', async () => {
    const { ask, done, worked, answers } = rig({ maxWaitMs: 400 });
    ask('a');
    ask('late');
    await done(401);
    expect([worked, answers]).toEqual([['a'], { a: 'answer to a', late: 'busy' }]);
    ask('b');
    ask('in time');
    await done(400);
    await done();
    expect([worked, answers]).toMatchObject([['a', 'b', 'in time'], { 'in time': 'answer to in time' }]);
  });

  it('requests beyond the limit get busy at once', () => {
    const { ask, answers } = rig();
    for (let i = 0; i < 9; i++) ask(`${i}`);
    expect(answers).toEqual({});
    ask('one more');
    expect(answers).toEqual({ 'one more': 'busy' });
  });

  it('a failed response is reported, and the next request is processed', async () => {
    const { ask, done, worked, errors } = rig();
    ask('bug');
    ask('b');
    await done();
    expect([worked, errors]).toEqual([['bug', 'b'], ['a bug']]);
  });

  it('waiting ones get busy on close, and the current one is awaited', async () => {
    const { turns, ask, done, answers } = rig();
    ask('a');
    ask('b');
    const closed = turns.close();
    expect(answers).toEqual({ b: 'busy' });
    await done();
    await closed;
    expect(answers).toEqual({ a: 'answer to a', b: 'busy' });
  });
});
