import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LabError, reportError } from './errors.ts';
import { takeDownLabs } from './state/retire.ts';
import { type LabState, processStartTicks, writeState } from './state/state.ts';
import { startLab } from './supervisor/bring-up.ts';

afterEach(() => vi.restoreAllMocks());

describe('error reports', () => {
  it('lab errors - message and exit code, a stack only on request', () => {
    const error = new LabError('LAB_NOT_FOUND', 'no lab "x"');
    expect(reportError(error, 'bailiff lab', false)).toEqual({ text: 'bailiff lab: no lab "x"', exitCode: 2 });
    expect(reportError(error, 'bailiff lab', true).text).toMatch(/^\s+at /m);
  });

  it('errors of permission - reported as missing privilege', () => {
    const error = Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
    expect(reportError(error, 'bailiff lab', false)).toEqual({
      text: 'bailiff lab: kill EPERM\nit needs root',
      exitCode: 4,
    });
  });

  it('bugs - name BAILIFF_DEBUG, and exit with 1', () => {
    const { text, exitCode } = reportError(new TypeError('x is undefined'), 'bailiff lab', false);
    expect([text, exitCode]).toEqual([expect.stringMatching(/^bailiff lab: x is undefined\n.*BAILIFF_DEBUG=1/), 1]);
  });
});

describe('lab down', () => {
  it('without root - refused before any change; without a lab there is nothing to refuse', async () => {
    const labsDir = temporaryDirectory();
    vi.spyOn(process, 'getuid').mockReturnValue(65534);
    const tell = vi.fn();
    expect(await takeDownLabs({ id: undefined, all: false }, tell, labsDir)).toBe(0);
    expect(tell).toHaveBeenCalledWith('no lab is up');
    mkdirSync(path.join(labsDir, 'abc'));
    const refused = takeDownLabs({ id: 'abc', all: false }, tell, labsDir);
    await expect(refused).rejects.toMatchObject({ code: 'LAB_NOT_ROOT', exitCode: 4 });
    const absent = takeDownLabs({ id: 'nope', all: false }, tell, labsDir);
    await expect(absent).rejects.toMatchObject({ code: 'LAB_NOT_FOUND', exitCode: 2 });
  });
});

describe('lab up', () => {
  it('an id that is up - refused, its state and directory stay; another id or a dead supervisor is no obstacle', async () => {
    const labsDir = temporaryDirectory();
    const supervisor = { pid: process.pid, startTicks: processStartTicks(process.pid)! };
    const state: LabState = {
      version: 1,
      id: 'abc',
      ...supervisor,
      createdAt: '2026-01-01T00:00:00Z',
      phase: 'ready',
      cgroupDir: '/none',
      processes: [],
      info: null,
    };
    const stateText = () => readFileSync(path.join(labsDir, 'abc/state.json'), 'utf8');
    // Users other than root fail at the next check, so an accepted request starts nothing either.
    vi.spyOn(process, 'geteuid').mockReturnValue(65534);
    const up = (id: string) => startLab({ id, labsDir, withApps: false });
    writeState(path.join(labsDir, 'abc'), state);
    const before = stateText();
    await expect(up('abc')).rejects.toMatchObject({
      code: 'LAB_EXISTS',
      exitCode: 2,
      message: 'lab abc is up: `bailiff lab down --lab abc` first, or another --lab',
    });
    expect([stateText(), readdirSync(path.join(labsDir, 'abc')), readdirSync(labsDir)]).toEqual([
      ...[before, ['state.json'], ['abc']],
    ]);
    await expect(up('other')).rejects.toMatchObject({ code: 'LAB_NOT_ROOT' });
    writeState(path.join(labsDir, 'abc'), { ...state, startTicks: '1' });
    await expect(up('abc')).rejects.toMatchObject({ code: 'LAB_NOT_ROOT' });
  });
});
