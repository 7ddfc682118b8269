import type { Task } from '@bailiff/answer';
import { expect, test } from 'vitest';
import { CAPTURE_LOOK_MS, CAPTURE_WAIT_MS, CaptureGate } from './capture-gate.ts';

const task = (action: Task['action'], dueAtMicros = 0, policy = 'p'): Task => ({
  ...{ verdictId: 'v', policy, action, taskId: `${policy}-${action}`, step: { action } },
  ...{ dueAtMicros, dryRun: false, substitute: false },
});
const [capture, remove] = [task('capture'), task('delete')];
const open = () => false;

test('gate - a removal waits for an open capture of the same verdict, another policy’s too, and no longer than its bound', () => {
  const gate = new CaptureGate();
  const tasks = [task('capture', 0, 'q'), remove];
  expect(gate.waitMs(remove, tasks, open, 1_000)).toBe(CAPTURE_LOOK_MS);
  expect(gate.waitMs(remove, tasks, open, 1_000 + CAPTURE_WAIT_MS - 1)).toBe(CAPTURE_LOOK_MS);
  expect(gate.waitMs(remove, tasks, open, 1_000 + CAPTURE_WAIT_MS)).toBe(0);
});

test('gate - a capture that has ended, that comes later, or that is not asked for is not waited for; nothing else waits', () => {
  const gate = new CaptureGate();
  expect(gate.waitMs(remove, [capture, remove], (id) => id === capture.taskId, 0)).toBe(0);
  expect(gate.waitMs(remove, [task('capture', 5), remove], open, 0)).toBe(0);
  expect(gate.waitMs(remove, [remove], open, 0)).toBe(0);
  for (const action of ['quarantine', 'label', 'cordon', 'capture'] as const)
    expect(gate.waitMs(task(action), [capture, task(action)], open, 0)).toBe(0);
});
