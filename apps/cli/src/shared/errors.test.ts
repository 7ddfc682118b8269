import { readFile } from 'node:fs/promises';
import { BusError } from '@bailiff/bus';
import { ConfigError } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { CliError, describeError } from './errors.ts';

describe('errors', () => {
  it.each([
    [new CliError('CLI_USAGE', 'x'), 2],
    [new CliError('CLI_CONTEXT', 'x'), 6],
    [new BusError('BUS_UNREACHABLE', 'x'), 7],
    [new BusError('BUS_NO_STREAM', 'x'), 7],
    [new BusError('BUS_AUTHENTICATION', 'x'), 4],
    [new BusError('BUS_PERMISSION', 'x'), 4],
    [new ConfigError('CONFIG_SCHEMA', 'x', ['a.b']), 6],
    [new ConfigError('CONFIG_REVISION', 'x'), 6],
    [Object.assign(new Error('x'), { code: 'ENOENT' }), 2],
    [Object.assign(new Error('x'), { code: 'EACCES' }), 4],
    [Object.assign(new Error('x'), { code: 'ENOSPC' }), 7],
    [Object.assign(new Error('x'), { code: 'EDQUOT' }), 7],
    [Object.assign(new Error('x'), { code: 'QUARANTINE_CONTENDED' }), 7],
    [new TypeError('x'), 1],
    ['thrown text', 1],
  ])('exit code - %s ends with %d', (error, code) => {
    expect(describeError(error, false).exitCode).toBe(code);
  });

  it('words - what, then what to do, and no stack', () => {
    const { lines } = describeError(new CliError('CLI_USAGE', 'first\nsecond', { remedy: 'do this\nor that' }), false);
    expect(lines).toEqual(['bailiff: first', '  second', '  do this', '  or that']);
    expect(describeError(new BusError('BUS_PERMISSION', 'no'), false).lines[1]).toMatch(/--nats-user/);
    expect(describeError(new TypeError('oops'), false).lines).toHaveLength(2);
    expect(describeError(new TypeError('oops'), false).lines[1]).toMatch(/--debug/);
  });

  it('a file that is not there - is named, and no system call; a program that is not there is not called a file', async () => {
    const gone = await readFile('/proc/nonexistent/x.yaml').catch((error: unknown) => error);
    expect(describeError(gone, false).lines).toEqual([
      'bailiff: /proc/nonexistent/x.yaml does not exist',
      '  check the path',
    ]);
    const spawned = { code: 'ENOENT', path: 'kubectl', syscall: 'spawn kubectl', message: 'spawn kubectl ENOENT' };
    expect(describeError(Object.assign(new Error(spawned.message), spawned), false).lines[0]).toBe(
      'bailiff: spawn kubectl ENOENT',
    );
  });

  it('width - lines are broken at spaces and hang below the first, and not at all without a terminal', () => {
    const error = new CliError('CLI_USAGE', 'one two three four', { remedy: 'five six seven' });
    expect(describeError(error, false, 16).lines).toEqual(['bailiff: one', '  two three four', '  five six seven']);
    expect(describeError(error, false, 14).lines).toEqual([
      'bailiff: one',
      '  two three',
      '  four',
      '  five six',
      '  seven',
    ]);
    expect(describeError(error, false).lines).toHaveLength(2);
  });

  it('words - what came from elsewhere cannot reach the terminal', () => {
    expect(describeError(new BusError('BUS_REFUSED', 'a\u001b[31mb'), false).lines[0]).toBe('bailiff: a\\u001b[31mb');
  });

  it('debug - the stack, and those of the causes', () => {
    const cause = new Error('deep');
    const { lines } = describeError(new CliError('CLI_USAGE', 'top', { cause }), true);
    expect(lines.join('\n')).toMatch(/errors\.test\.ts[\s\S]*caused by Error: deep/);
  });
});
