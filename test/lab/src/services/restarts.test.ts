import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import type { Child } from './children.ts';
import { Restarts, restartWaitMs } from './restarts.ts';

function fakeChild(): Child & { end(status: number): void } {
  let end: (status: number) => void = () => undefined;
  let ended = false;
  let stopped = false;
  const done = new Promise<number>((resolve) => {
    end = (status) => {
      ended = true;
      resolve(status);
    };
  });
  return {
    name: 'app',
    pid: 1,
    logFile: '',
    ready: async () => undefined,
    ended: done,
    hasEnded: () => ended,
    wasStopped: () => stopped,
    stop: async () => {
      stopped = true;
      end(0);
    },
    kill: () => end(137),
    end,
  };
}

describe('restarts', () => {
  it.each([
    [1, 250],
    [2, 500],
    [6, 8_000],
    [7, 10_000],
    [1_000, 10_000],
  ])('wait - after %i consecutive exits it is %i ms', (failures, waitMs) => {
    expect(restartWaitMs(failures)).toBe(waitMs);
  });

  it('restarts an app that exits by itself, also the second time, but not a stopped one', async () => {
    const problems: string[] = [];
    const restarts = new Restarts((text) => problems.push(text));
    const made: ReturnType<typeof fakeChild>[] = [fakeChild()];
    const make = async () => {
      const child = fakeChild();
      made.push(child);
      return child;
    };
    restarts.keep(made[0] as Child, make);
    made[0]?.end(1);
    await waitFor(() => made.length === 2, { what: 'the second', state: () => problems });
    made[1]?.kill('SIGKILL');
    await waitFor(() => made.length === 3, { what: 'the third', state: () => problems });
    expect(problems).toEqual([
      'app ended (1) and is restarted in 250 ms',
      'app ended (137) and is restarted in 500 ms',
    ]);
    await made[2]?.stop(0);
    await made[2]?.ended;
    await restarts.stop();
    expect(made).toHaveLength(3);
    expect(problems).toHaveLength(2);
  });

  it('stop - restarts nothing further', async () => {
    const restarts = new Restarts(() => undefined);
    const child = fakeChild();
    let starts = 0;
    restarts.keep(child, async () => {
      starts += 1;
      return fakeChild();
    });
    await restarts.stop();
    child.end(1);
    await child.ended;
    await new Promise((resolve) => setImmediate(resolve));
    expect(starts).toBe(0);
  });
});
