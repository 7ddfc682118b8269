import { describe, expect, it } from 'vitest';
import { BusError, type BusErrorCode } from './errors.ts';
import { retryTransient } from './retry-transient.ts';

function rig() {
  const reported: string[] = [];
  const slept: number[] = [];
  const end = new AbortController();
  let connects = 0;
  return {
    reported,
    slept,
    end,
    connects: () => connects,
    bus: {
      whenConnected: async () => {
        connects += 1;
      },
    },
    options: {
      clock: {
        sleep: async (ms: number) => {
          slept.push(ms);
        },
      },
      onWait: (error: BusError) => reported.push(error.code),
      signal: end.signal,
    },
  };
}

/** Fails with each of these codes, then returns `done`. */
const failing = (codes: BusErrorCode[]) => async () => {
  const code = codes.shift();
  if (code) throw new BusError(code, 'x');
  return 'done';
};

describe('retryTransient', () => {
  it('transient errors are retried, and reported while the bus is connected', async () => {
    const { bus, options, reported, slept, connects } = rig();
    const work = failing(['BUS_FULL', 'BUS_NO_STREAM', 'BUS_UNREACHABLE', 'BUS_TIMEOUT']);
    expect(await retryTransient(bus, work, options)).toBe('done');
    expect([reported, slept, connects()]).toEqual([
      ['BUS_FULL', 'BUS_NO_STREAM', 'BUS_TIMEOUT'],
      [1_000, 1_000, 1_000],
      4,
    ]);
  });

  it.each([new BusError('BUS_PERMISSION', 'x'), new BusError('BUS_TOO_LARGE', 'x'), new Error('a bug')])(
    '%s is thrown at once',
    async (error) => {
      const { bus, options, reported } = rig();
      await expect(retryTransient(bus, () => Promise.reject(error), options)).rejects.toBe(error);
      expect(reported).toEqual([]);
    },
  );

  it('ends with the reason of its signal, also while it waits', async () => {
    const { bus, options, end } = rig();
    const reason = new Error('stopped');
    options.onWait = () => {
      end.abort(reason);
      return 0;
    };
    await expect(retryTransient(bus, failing(['BUS_FULL']), options)).rejects.toBe(reason);
    await expect(retryTransient(bus, failing([]), options)).rejects.toBe(reason);
  });
});
