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
  const look = async (nowMs: number, sequence: number, behind: number) => {
    Object.assign(state, { nowMs, sequence, behind });
    return (await watch.read()).stalledMs;
  };
  return { look, watch };
}

describe('progress', () => {
  it('work that waits at the same position - is stalled from the first look that sees it', async () => {
    const { look, watch } = watched();
    expect(await look(0, 5, 0)).toBe(0);
    // It has come since the last look.
    expect(await look(10_000, 5, 3)).toBe(0);
    expect(await look(20_000, 5, 3)).toBe(10_000);
    expect(await look(30_000, 5, 9)).toBe(20_000);
    expect(watch.stalledMs).toBe(20_000);
  });
  it('progress, or nothing left - ends it', async () => {
    const { look } = watched();
    await look(0, 5, 3);
    expect(await look(10_000, 6, 300)).toBe(0);
    expect(await look(20_000, 6, 300)).toBe(10_000);
    expect(await look(30_000, 6, 0)).toBe(0);
    expect(await look(40_000, 6, 1)).toBe(0);
  });
});
