import { expect, test } from 'vitest';
import {
  BYTES_PER_READ,
  FRAME_BYTES_PER_SECOND,
  FRAMES_PER_SECOND,
  NODE_BYTES_PER_SECOND,
  NODE_INTERVAL_MS,
  NODE_MESSAGES_PER_SECOND,
  NODE_SENT_BYTES_PER_SECOND,
  Pace,
  READS_PER_SECOND,
} from './node-pace.ts';

/** The most operations of a client that never rests, in any interval, as a rate in a second. */
function highestRate(perSecond: number, cost = 1): number {
  let nowMs = 0;
  const pace = new Pace(perSecond, () => nowMs);
  const begun: number[] = [];
  for (; nowMs < 5_000; nowMs += 1) {
    while (pace.waitMs === 0) {
      pace.take(cost);
      begun.push(nowMs);
    }
  }
  const within = (fromMs: number) =>
    begun.filter((atMs) => atMs >= fromMs && atMs < fromMs + NODE_INTERVAL_MS).length / (NODE_INTERVAL_MS / 1_000);
  return Math.max(...Array.from({ length: 40 }, (_, index) => within(index * 100)));
}

test('pace of a node - frames and reads together are below what bus-auth ends', () => {
  const [frames, reads] = [highestRate(FRAMES_PER_SECOND), highestRate(READS_PER_SECOND)];
  expect(frames).toBeGreaterThan(FRAMES_PER_SECOND);
  expect(frames + reads).toBeLessThan(NODE_MESSAGES_PER_SECOND);
});

test('pace of a node - so are the bytes of the largest values', () => {
  const bytes = 256 * 1024;
  expect(highestRate(READS_PER_SECOND, 1 + bytes / BYTES_PER_READ) * bytes).toBeLessThan(NODE_BYTES_PER_SECOND);
});

test('pace of a node - so are the bytes of frames, and a status of the largest size four times a second', () => {
  const [frame, status] = [64 * 1024, 512 * 1024];
  const [frames, statuses] = [highestRate(FRAME_BYTES_PER_SECOND, frame), 4];
  expect(frames * frame).toBeGreaterThan(FRAME_BYTES_PER_SECOND);
  expect(frames * frame + statuses * status).toBeLessThan(NODE_SENT_BYTES_PER_SECOND);
});

test('pace of a node - a client that waits as it is told never waits twice', () => {
  let nowMs = 0;
  const pace = new Pace(READS_PER_SECOND, () => nowMs);
  pace.take(1_000);
  const { waitMs } = pace;
  expect(waitMs).toBe(Math.ceil((1_000 / READS_PER_SECOND - 0.1) * 1_000));
  nowMs += waitMs;
  expect(pace.waitMs).toBe(0);
});
