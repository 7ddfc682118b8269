import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LabError, tellError } from './errors.ts';
import { takeDownLabs } from './retire.ts';

afterEach(() => vi.restoreAllMocks());

describe('errors told to a person', () => {
  it('lab errors - message and exit code, a stack only when asked for', () => {
    const error = new LabError('LAB_NOT_FOUND', 'no lab "x"');
    expect(tellError(error, 'bailiff lab', false)).toEqual({ text: 'bailiff lab: no lab "x"', exitCode: 2 });
    expect(tellError(error, 'bailiff lab', true).text).toMatch(/^\s+at /m);
  });

  it('what the system refuses - is told as missing privilege', () => {
    const error = Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
    expect(tellError(error, 'bailiff lab', false)).toEqual({
      text: 'bailiff lab: kill EPERM\nit needs root',
      exitCode: 4,
    });
  });

  it('bugs - say how to see more, and end with 1', () => {
    const { text, exitCode } = tellError(new TypeError('x is undefined'), 'bailiff lab', false);
    expect([text, exitCode]).toEqual([expect.stringMatching(/^bailiff lab: x is undefined\n.*BAILIFF_DEBUG=1/), 1]);
  });
});

describe('lab down', () => {
  it('as nobody - is refused before anything is touched; without a lab there is nothing to refuse', async () => {
    const labsDir = mkdtempSync(path.join(tmpdir(), 'labs-'));
    try {
      vi.spyOn(process, 'getuid').mockReturnValue(65534);
      const tell = vi.fn();
      expect(await takeDownLabs({ id: undefined, all: false }, tell, labsDir)).toBe(0);
      expect(tell).toHaveBeenCalledWith('no lab is up');
      mkdirSync(path.join(labsDir, 'abc'));
      const refused = takeDownLabs({ id: 'abc', all: false }, tell, labsDir);
      await expect(refused).rejects.toMatchObject({ code: 'LAB_NOT_ROOT', exitCode: 4 });
      const absent = takeDownLabs({ id: 'nope', all: false }, tell, labsDir);
      await expect(absent).rejects.toMatchObject({ code: 'LAB_NOT_FOUND', exitCode: 2 });
    } finally {
      rmSync(labsDir, { recursive: true });
    }
  });
});
