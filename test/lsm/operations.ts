/**
 * Runs the operations of net-ops.c and kernel-ops.c in a container and compares each outcome with a
 * table: without a policy, which is the control, and with one.
 */
import path from 'node:path';
import { expect } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import type { Container } from './harness/rig.ts';

/** An operation, its outcome without a policy, and its outcome with one. */
export type Row = readonly [operation: string, free: string, guarded: string];
export type Column = 'free' | 'guarded';

export type OperationsProgram = 'net-ops' | 'kernel-ops';

export const programPath = (name: OperationsProgram): string =>
  compileProgram(path.join(import.meta.dirname, `programs/${name}.c`), { flags: ['-static'] });

export async function expectRows(
  container: Container,
  program: OperationsProgram,
  rows: readonly Row[],
  column: Column,
): Promise<void> {
  const lines = await container.run([`/bin/${program}`, ...rows.map(([operation]) => operation)]);
  const wanted = rows.map(([operation, free, guarded]) => `${operation} ${column === 'free' ? free : guarded}`);
  expect(lines).toEqual([...wanted, 'exit 0']);
}
