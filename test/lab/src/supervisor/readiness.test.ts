import type { NodeSnapshot, NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { isReadyLine } from '../services/children.ts';
import type { LabPodInfo } from '../state/state.ts';
import { missingFromSnapshot, missingGuard } from './readiness.ts';

const pod = {
  uid: 'u',
  name: 'web-1',
  namespace: 'default',
  hostInterface: 'veth1',
  ips: ['10.0.0.1', 'fd00::1'],
} as LabPodInfo;
const snapshot = (addresses: string[]) =>
  ({ pods: [{ uid: 'u', interfaces: [{ name: 'eth0', addresses }] }] }) as unknown as NodeSnapshot;
const status = (change: object) =>
  ({
    interfaces: [
      { interfaceName: 'veth1', podUid: 'u', coverage: 'guarded', state: 'programmed', reason: '', ...change },
    ],
  }) as NodeStatus;

describe('readiness', () => {
  it('snapshot - ready with every address of every pod', () => {
    expect(missingFromSnapshot(snapshot(['10.0.0.1', 'fd00::1']), [pod])).toBeNull();
    expect(missingFromSnapshot(snapshot(['10.0.0.1']), [pod])).toMatch(/web-1/);
    expect(missingFromSnapshot(null, [pod])).toMatch(/web-1/);
    expect(missingFromSnapshot(null, [])).toBeNull();
  });

  it('guard - ready with every interface guarded and a confirmed identity', () => {
    expect(missingGuard(status({}), [pod])).toBeNull();
    expect(missingGuard(status({ coverage: 'partial', reason: 'why' }), [pod])).toMatch(/partial why/);
    expect(missingGuard(status({ state: 'provisional' }), [pod])).toMatch(/provisional/);
    expect(missingGuard(status({ podUid: 'another' }), [pod])).toMatch(/not known/);
    expect(missingGuard(null, [pod])).toMatch(/not known/);
  });

  it.each([
    ['{"level":30,"msg":"ready"}', true],
    ['{"level":30,"msg":"not ready yet"}', false],
    ['ready', false],
    ['"ready" {', false],
  ])('log line - %s', (line, ready) => {
    expect(isReadyLine(line)).toBe(ready);
  });
});
