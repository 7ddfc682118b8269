import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findCgroup2 } from '../cgroup.ts';
import { listReport } from '../command/report.ts';
import { mountsBelow } from './cleanup.ts';
import { isAlive, type LabState, listLabs, processStartTicks, startTicksOf, writeState } from './state.ts';

let labsDir = '';
beforeEach(async () => {
  labsDir = await mkdtemp(path.join(tmpdir(), 'labs-'));
});
afterEach(() => rm(labsDir, { recursive: true }));

const stateOf = (id: string, createdAt: string): LabState => ({
  version: 1,
  id,
  pid: process.pid,
  startTicks: processStartTicks(process.pid)!,
  createdAt,
  phase: 'ready',
  cgroupDir: '/none',
  processes: [],
  info: null,
});

describe('state', () => {
  it('supervisor - differs from a later process with the same pid', () => {
    const state = stateOf('abc', '');
    expect(isAlive(state)).toBe(true);
    expect(isAlive({ ...state, startTicks: '1' })).toBe(false);
    expect(isAlive({ ...state, pid: 2 ** 22 + 1 })).toBe(false);
  });

  it('start time - a program name with spaces and parentheses does not shift the fields', () => {
    const fields = Array.from({ length: 30 }, (_, index) => `f${index + 3}`).join(' ');
    expect(startTicksOf(`7 (a) b (c) ${fields}`)).toBe('f22');
  });

  it('list - newest first, a directory without state last, no other files', async () => {
    writeState(path.join(labsDir, 'older'), stateOf('older', '2026-01-01T00:00:00Z'));
    writeState(path.join(labsDir, 'newer'), stateOf('newer', '2026-01-02T00:00:00Z'));
    writeState(path.join(labsDir, 'Not-a-lab'), stateOf('x', ''));
    await rm(path.join(labsDir, 'older', 'state.json.new'), { force: true });
    const labs = await listLabs(labsDir);
    expect(labs.map((lab) => lab.id)).toEqual(['newer', 'older']);
    expect(await listLabs(path.join(labsDir, 'absent'))).toEqual([]);
  });

  it('list - a lab with ended programs is not reported as ready', async () => {
    const cgroupDir = '/sys/fs/cgroup/bailiff-lab-none';
    const processes = [{ name: 'correlator', pid: process.pid, log: '' }];
    writeState(path.join(labsDir, 'abc'), { ...stateOf('abc', '2026-01-01T00:00:00Z'), cgroupDir, processes });
    const labs = await listLabs(labsDir);
    expect(labs).toMatchObject([{ alive: true, dead: ['correlator'] }]);
    expect(listReport(labs)).toMatch(/abc +ready, but not running: correlator +\d+/);
    writeState(path.join(labsDir, 'abc'), stateOf('abc', '2026-01-01T00:00:00Z'));
    expect(listReport(await listLabs(labsDir))).toMatch(/abc +ready +\d+/);
  });
});

describe('mounts', () => {
  it('below a directory - deepest first, without paths that only share a prefix', () => {
    const text =
      'bpf /run/l/abc/nodes/a/bpf bpf rw\nx /run/l/abcd/bpf bpf rw\ny /run/l/abc bpf rw\nz /run/l/abc/a\\040b t rw\n';
    expect(mountsBelow(text, '/run/l/abc')).toEqual(['/run/l/abc/nodes/a/bpf', '/run/l/abc/a b']);
  });

  it('cgroup v2 - found beside v1, or missing', () => {
    expect(findCgroup2('cgroup /sys/fs/cgroup/cpu cgroup rw\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw\n')).toBe(
      '/sys/fs/cgroup/unified',
    );
    expect(findCgroup2('cgroup /sys/fs/cgroup/cpu cgroup rw\n')).toBeNull();
  });
});
