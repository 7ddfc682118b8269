import type { Task } from '@bailiff/response';
import { expect, test } from 'vitest';
import { CAPTURE_WAIT_MS, ORDER_WAIT_MS, OrderGate, type TaskEnds } from './order-gate.ts';

const task = (action: Task['action'], dueAtMicros = 0, policy = 'p'): Task => ({
  verdictId: 'v',
  policy,
  action,
  taskId: `${policy}-${action}`,
  step: { action },
  dueAtMicros,
  dryRun: false,
  substitute: false,
});
const [observe, label, remove] = [task('observe'), task('label'), task('delete')];
const plan = [observe, label, remove];
const ends = (closed: readonly Task[] = [], pending: readonly Task[] = []): TaskEnds => ({
  isClosed: (id) => closed.some(({ taskId }) => taskId === id),
  isPending: (id) => pending.some(({ taskId }) => taskId === id),
});
const held = (one: Task, tasks: readonly Task[], has = ends(), nowMs = 0) =>
  new OrderGate().isHeld(one, tasks, has, nowMs);

test('order - a step waits until every earlier step of its policy has ended', () => {
  expect(held(observe, plan)).toBe(false);
  expect(held(label, plan)).toBe(true);
  expect(held(label, plan, ends([observe]))).toBe(false);
  expect(held(remove, plan, ends([observe]))).toBe(true);
  expect(held(remove, plan, ends([observe, label]))).toBe(false);
  // As in the backlog: without ended tasks.
  expect(held(remove, [label, remove])).toBe(true);
  expect(held(remove, [remove])).toBe(false);
});

test('order - the wait ends at its bound and does not restart', () => {
  const gate = new OrderGate();
  expect(gate.isHeld(remove, plan, ends(), 1_000)).toBe(true);
  expect(gate.isHeld(remove, plan, ends(), 1_000 + ORDER_WAIT_MS - 1)).toBe(true);
  expect(gate.isHeld(remove, plan, ends(), 1_000 + ORDER_WAIT_MS)).toBe(false);
  expect(gate.isHeld(remove, plan, ends(), 2_000 + ORDER_WAIT_MS)).toBe(false);
  gate.isHeld(remove, plan, ends(plan), 0);
  expect(gate.size).toBe(0);
});

test('order - a later due time is later, regardless of the list order', () => {
  const late = task('label', 5);
  expect(held(remove, [late, remove])).toBe(false);
  expect(held(late, [late, remove])).toBe(true);
});

test('order - no wait for another policy, for a step that needs an approval, or of a substitute', () => {
  expect(held(remove, [task('label', 0, 'a'), remove])).toBe(false);
  expect(held(remove, plan, ends([observe], [label]))).toBe(false);
  expect(held({ ...task('quarantine'), substitute: true }, [...plan, task('quarantine')])).toBe(false);
  expect(held(remove, [{ ...task('quarantine'), substitute: true }, remove])).toBe(false);
});

test('capture - a removal waits for open captures of its verdict, also of other policies, within the bound', () => {
  for (const tasks of [
    [task('capture', 0, 'q'), remove],
    [remove, task('capture')],
  ]) {
    const gate = new OrderGate();
    expect(gate.isHeld(remove, tasks, ends(), 1_000)).toBe(true);
    expect(gate.isHeld(remove, tasks, ends(), 1_000 + CAPTURE_WAIT_MS - 1)).toBe(true);
    expect(gate.isHeld(remove, tasks, ends(), 1_000 + CAPTURE_WAIT_MS)).toBe(false);
    expect(held(task('capture'), tasks)).toBe(false);
  }
});

test('capture - a removal that replaces a quarantine waits for captures and earlier steps; a quarantine does not', () => {
  const [capture, instead] = [task('capture', 0, 'q'), { ...remove, substitute: true }];
  expect(held(instead, [capture, instead])).toBe(true);
  expect(held(instead, [label, instead])).toBe(true);
  expect(held({ ...task('quarantine'), substitute: true }, [capture, label, task('quarantine')])).toBe(false);
});

test('capture - no wait for an ended or later one; only removals wait for other policies', () => {
  const capture = task('capture', 0, 'q');
  expect(held(remove, [capture, remove], ends([capture]))).toBe(false);
  expect(held(remove, [task('capture', 5), remove])).toBe(false);
  for (const action of ['quarantine', 'label', 'cordon'] as const)
    expect(held(task(action), [capture, task(action)])).toBe(false);
});
