import type { PodCapture } from '@bailiff/schemas';
import { expect, test } from 'vitest';
import { asTree, capturedLines } from './captured.ts';

const process = (pid: number, parentPid: number, args: string[] = []): PodCapture['processes'][number] => ({
  pid,
  parentPid,
  startedAt: 1_700_000_000_000_000 + pid,
  uid: 0,
  container: 'app',
  comm: `c${pid}`,
  executable: '/bin/x',
  args,
  argsCut: false,
});
const capture = (part: Partial<PodCapture> = {}): PodCapture => ({
  takenAt: 1_700_000_000_000_000,
  arguments: 'redacted',
  processes: [],
  processesOmitted: 0,
  sockets: [],
  socketsOmitted: 0,
  ...part,
});
const options = { width: 0, nowMs: 1_700_000_000_000 };

test('tree - children below their parents, whatever the order; a forged cycle ends', () => {
  const shape = (...all: PodCapture['processes']) => asTree(all).map(({ process: { pid }, depth }) => [pid, depth]);
  expect(shape(process(30, 20), process(10, 1), process(20, 10), process(11, 1))).toEqual([
    [10, 0],
    [20, 1],
    [30, 2],
    [11, 0],
  ]);
  expect(shape(process(5, 6), process(6, 5))).toEqual([
    [5, 0],
    [6, 1],
  ]);
});

test('text - arguments, else the name; sockets with their owners; the number of omitted ones', () => {
  const lines = capturedLines(
    capture({
      processes: [process(10, 1, ['sh', '-c', 'evil\u001b[2J']), process(20, 10)],
      processesOmitted: 3,
      sockets: [
        { protocol: 'tcp', local: '10.0.0.2:40000', remote: '8.8.8.8:443', state: 'established', pids: [10, 20] },
        { protocol: 'tcp', local: '0.0.0.0:1', remote: '', state: 'time-wait', pids: [] },
      ],
    }),
    options,
  ).join('\n');
  expect(lines).toContain('sh -c evil\\u001b[2J');
  expect(lines).toContain('└ [c20]');
  expect(lines).toMatch(/8\.8\.8\.8:443 +established +10 20/);
  expect(lines).toMatch(/time-wait +-/);
  expect(lines).toContain('3 not recorded');
});

test('bounds - many processes are reported as a number', () => {
  const many = Array.from({ length: 100 }, (_, i) => process(100 + i, 1));
  expect(capturedLines(capture({ processes: many }), options).join('\n')).toContain('76 more');
});
