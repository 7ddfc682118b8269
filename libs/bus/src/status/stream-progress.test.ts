import { describe, expect, it } from 'vitest';
import type { Bus } from '../connection/connect.ts';
import { ProgressWatch } from './stream-progress.ts';

const noBus = undefined as unknown as Bus;

function watched() {
  const state = { nowMs: 0, sequence: 1, behind: 0 };
  const source = {
    stream: 'S',
    position: () => ({ sequence: state.sequence, timestampMicros: 0 }),
    behind: () => state.behind,
  };
  const watch = new ProgressWatch(noBus, source, () => state.nowMs);
  const read = async (nowMs: number, sequence: number, behind: number) => {
    Object.assign(state, { nowMs, sequence, behind });
    return (await watch.read()).stalledMs;
  };
  return { read, watch };
}

describe('stream progress', () => {
  it('work that waits at the same position - is stalled from the first read that sees it', async () => {
    const { read, watch } = watched();
    expect(await read(0, 5, 0)).toBe(0);
    // The position has advanced since the last read.
    expect(await read(10_000, 5, 3)).toBe(0);
    expect(await read(20_000, 5, 3)).toBe(10_000);
    expect(await read(30_000, 5, 9)).toBe(20_000);
    expect(watch.stalledMs).toBe(20_000);
  });
  it('progress, or nothing left - ends it', async () => {
    const { read } = watched();
    await read(0, 5, 3);
    expect(await read(10_000, 6, 300)).toBe(0);
    expect(await read(20_000, 6, 300)).toBe(10_000);
    expect(await read(30_000, 6, 0)).toBe(0);
    expect(await read(40_000, 6, 1)).toBe(0);
  });
});
