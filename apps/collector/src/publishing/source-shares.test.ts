// Many sources that violate everything leave room for one that is quiet, and for a correlator.
import {
  FrameShares,
  MESSAGE_BYTES,
  VIOLATION_BYTES as READ_VIOLATION_BYTES,
  SHARE_BURST_BYTES,
  SHARE_BYTES_PER_SECOND,
} from '@bailiff/correlation';
import { describe, expect, it } from 'vitest';
import { collectorSchema } from '../config.ts';
import { BURST_SECONDS, FRAME_BYTES, SourceShares, VIOLATION_BYTES } from './source-shares.ts';

const RATE = collectorSchema.shape.publishBytesPerSecond.def.defaultValue as number;
const TICK_MS = 250;
const MINUTES = 3;
const ROWS = 64;
const FRAME = 30_000;

/**
 * Flooding sources that publish a full frame each at every tick, and a quiet one with a violation
 * every ten seconds. @returns how many frames were published, and how many of them a correlator skips
 */
function flood(sources: number, shared: boolean) {
  let nowMs = 0;
  const shares = new SourceShares(RATE, () => nowMs);
  const correlator = new FrameShares();
  const quiet = {};
  const all = Array.from({ length: sources }, () => ({}));
  const seen = { published: 0, skipped: 0, quietPublished: 0, quietSkipped: 0, quietWaited: 0 };
  const publish = (source: object, violations: number): boolean => {
    if (shared && !shares.has(source)) return false;
    const bytes = (FRAME / ROWS) * violations;
    shares.charge([{ source, violations }], bytes);
    const read = correlator.take('node', nowMs * 1_000, bytes);
    if (read) correlator.charge('node', violations * READ_VIOLATION_BYTES);
    seen.published += 1;
    seen.skipped += read ? 0 : 1;
    if (source === quiet) seen.quietSkipped += read ? 0 : 1;
    return true;
  };
  for (let tick = 0; tick < (MINUTES * 60_000) / TICK_MS; tick++) {
    nowMs += TICK_MS;
    // The quiet one is before, between and behind the others.
    const turn = tick % 40 === 0 ? (tick / 40) % sources : -1;
    for (const [index, source] of all.entries()) {
      publish(source, ROWS);
      if (index !== turn) continue;
      if (publish(quiet, 1)) seen.quietPublished += 1;
      else seen.quietWaited += 1;
    }
  }
  return seen;
}

describe('shares of sources', () => {
  it('limits - below what a correlator reads of a node, in the same units', () => {
    expect([FRAME_BYTES, VIOLATION_BYTES]).toEqual([MESSAGE_BYTES, READ_VIOLATION_BYTES]);
    expect(RATE).toBeLessThan(SHARE_BYTES_PER_SECOND);
    expect(RATE * BURST_SECONDS).toBeLessThan(SHARE_BURST_BYTES);
  });

  it.each([4, 50, 500])(
    '%d pods that violate everything - a neighbour publishes at once, and nothing is skipped',
    (pods) => {
      const { skipped, quietPublished, quietWaited } = flood(pods, true);
      expect({ skipped, quietPublished, quietWaited }).toEqual({ skipped: 0, quietPublished: 18, quietWaited: 0 });
    },
  );

  it('control - without shares the correlator skips most frames, also those of the neighbour', () => {
    const { published, skipped, quietSkipped } = flood(50, false);
    expect(skipped / published).toBeGreaterThan(0.8);
    expect(quietSkipped).toBeGreaterThan(9);
  });
});
