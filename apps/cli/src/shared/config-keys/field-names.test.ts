import { describe, expect, it } from 'vitest';
import { fieldNames } from './schema-remedy.ts';

describe('fieldNames', () => {
  it.each([
    ['spoof', 'cluster', [], 'modes'],
    ['spoof', 'namespace', ['modes'], 'tunnel-other'],
    ['correlation', 'cluster', [], 'timespan'],
    ['response', 'cluster', ['steps', '0'], 'expires'],
    ['response', 'cluster', ['guards', 'budget'], 'maxPods'],
    ['runtime', 'cluster', [], 'selector'],
    ['runtime', 'cluster', ['rules', '3'], 'name'],
  ] as const)('%s.%s %j - has %s', (kind, scope, path, name) => {
    expect(fieldNames({ kind, scope }, path)).toContain(name);
  });

  it('no such place, or one of free names - none', () => {
    expect(fieldNames({ kind: 'spoof', scope: 'cluster' }, ['nowhere'])).toEqual([]);
    expect(fieldNames({ kind: 'response', scope: 'cluster' }, ['dryRun'])).toEqual([]);
  });
});
