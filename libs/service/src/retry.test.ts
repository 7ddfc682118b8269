import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { backoffMs, onAbort, pause, retry, timeLimit } from './retry.ts';

describe('backoff', () => {
  const options = { baseMs: 100, maxMs: 500 };

  it('doubles up to the cap', () => {
    expect([1, 2, 3, 4, 5, 60].map((failures) => backoffMs(failures, options))).toEqual([100, 200, 400, 500, 500, 500]);
  });

  it('with jitter - keeps half of the wait, and is never above the cap', () => {
    expect([1, 2, 3, 4, 60].map((failures) => backoffMs(failures, options, 0))).toEqual([50, 100, 200, 250, 250]);
    expect(backoffMs(1, options, 0.999)).toBeLessThan(100);
    expect(backoffMs(60, options, 0.999)).toBeLessThan(500);
  });

  it('is at least what the server requests', () => {
    expect(backoffMs(1, options, 0, 5000)).toBe(5000);
    expect(backoffMs(4, options, 0, 10)).toBe(250);
  });
});

describe('time limit', () => {
  it('aborts after its time - also while garbage is collected, and AbortSignal.any() alone knows it', async () => {
    setFlagsFromString('--expose-gc');
    const collecting = setInterval(runInNewContext('gc') as () => void, 20);
    using limit = timeLimit(200, new AbortController().signal);
    const any = AbortSignal.any([limit.signal, new AbortController().signal]);
    await once(any, 'abort');
    clearInterval(collecting);
    expect(any.reason).toMatchObject({ name: 'TimeoutError' });
  });

  it('aborts with the given signal, and not after it was disposed of', async () => {
    const end = new AbortController();
    using limit = timeLimit(3_600_000, end.signal);
    const early = timeLimit(1, end.signal);
    early[Symbol.dispose]();
    await pause(20);
    end.abort(new Error('interrupted'));
    expect([limit.signal.reason.message, early.signal.aborted]).toEqual(['interrupted', false]);
    using late = timeLimit(3_600_000, end.signal);
    expect(late.signal.reason).toBe(end.signal.reason);
  });
});

describe('pause', () => {
  it('without a signal - resolves when the timer fires', async () => {
    let fire: () => void = () => undefined;
    const waiting = pause(5, undefined, (fn) => {
      fire = fn;
      return () => undefined;
    });
    expect(await Promise.race([waiting.then(() => 'done'), Promise.resolve('waiting')])).toBe('waiting');
    fire();
    await waiting;
  });

  it('aborted before or during the pause - resolves, cancels the timer and removes the listener', async () => {
    await pause(3_600_000, AbortSignal.abort());
    const end = new AbortController();
    let cancelled = 0;
    const waiting = pause(3_600_000, end.signal, () => () => (cancelled += 1));
    end.abort();
    await waiting;
    expect(cancelled).toBe(1);
  });
});

describe('onAbort', () => {
  it('runs once; not after its removal, and not without a signal', () => {
    const end = new AbortController();
    const runs: string[] = [];
    onAbort(end.signal, () => runs.push('kept'));
    onAbort(end.signal, () => runs.push('removed'))();
    onAbort(undefined, () => runs.push('no signal'))();
    end.abort();
    end.abort();
    expect(runs).toEqual(['kept']);
  });
});

describe('retry', () => {
  /** Fails so many times, then succeeds. */
  const failing = (times: number) => {
    const run = { attempts: 0 };
    const work = async () => {
      run.attempts += 1;
      if (run.attempts <= times) throw new Error(`attempt ${run.attempts}`);
      return 'done';
    };
    return { run, work };
  };

  it('repeats until the work succeeds, with the number of failures in a row', async () => {
    const { work } = failing(2);
    const failures: number[] = [];
    const waitMs = (_: unknown, count: number) => {
      failures.push(count);
      return 0;
    };
    expect(await retry(work, { waitMs })).toBe('done');
    expect(failures).toEqual([1, 2]);
  });

  it('no wait - the error is thrown at once; another error replaces it', async () => {
    const { run, work } = failing(9);
    await expect(retry(work, { waitMs: () => null })).rejects.toThrow('attempt 1');
    const waitMs = (): number => {
      throw new TypeError('other');
    };
    await expect(retry(work, { waitMs })).rejects.toThrow('other');
    expect(run.attempts).toBe(2);
  });

  it('an abort ends the wait, and no attempt follows', async () => {
    const { run, work } = failing(9);
    const end = new AbortController();
    const retrying = retry(work, {
      signal: end.signal,
      waitMs: () => {
        setImmediate(() => end.abort(new Error('ended')));
        return 60_000;
      },
    });
    await expect(retrying).rejects.toThrow('ended');
    await expect(retry(work, { signal: end.signal, waitMs: () => 0 })).rejects.toThrow('ended');
    expect(run.attempts).toBe(1);
  });
});
