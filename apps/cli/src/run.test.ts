import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { keyOf, spanOf } from './operate/disarm.ts';
import { makeProgram } from './run.ts';
import { isVerdictId } from './shared/one-of.ts';
import { captureCli, runCli } from './testing.ts';

function leaves(command: Command, path: string[] = []): string[][] {
  return (
    command.commands
      // `lab` and `console serve` hand over to other programs, which have their own help.
      .filter((one) => !['help', 'lab', 'serve'].includes(one.name()))
      .flatMap((one) => [[...path, one.name()], ...leaves(one, [...path, one.name()])])
  );
}
const COMMANDS = leaves(makeProgram(captureCli().io));

describe('command line', () => {
  it('commands - every documented command exists', () => {
    const names = COMMANDS.map((path) => path.join(' '));
    for (const name of [
      'status',
      'events',
      'verdicts',
      'responses',
      'responses approve',
      'responses deny',
      'explain',
      'disarm',
      'doctor',
    ])
      expect(names).toContain(name);
    for (const name of ['get', 'set', 'validate', 'history', 'rollback', 'list'])
      expect(names).toContain(`config ${name}`);
    for (const name of ['list', 'release']) expect(names).toContain(`quarantine ${name}`);
  });

  it.each(COMMANDS.map((path) => [path.join(' ')]))('help of %s - has usage and an example', async (name) => {
    const { exitCode, stdout, stderr } = await runCli([...name.split(' '), '--help']);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(new RegExp(`Usage: bailiff ${name}`));
    if (name !== 'quarantine') expect(stdout).toMatch(new RegExp(`Examples?:[\\s\\S]*bailiff ${name.split(' ')[0]}`));
  });

  it('help of the program - commands, bus selection, and exit codes', async () => {
    const { stdout, exitCode } = await runCli(['--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/status[\s\S]*lab[\s\S]*BAILIFF_NATS_URL[\s\S]*Exit codes/);
    expect((await runCli(['--version'])).stdout).toBe('1.2.3\n');
  });

  it.each([
    [[], 2],
    [['evens'], 2],
    [['events', '--nope'], 2],
    [['events', 'one', 'two'], 2],
    [['events', '--since', 'x'], 2],
    [['events', '--limit', '0'], 2],
    [['events', '--kind', 'x'], 2],
    [['events', '--vector', 'x'], 2],
    [['events', '--nats-url', 'garbage'], 2],
    [['events', '--nats-url', 'nats://a:1,http://b:2'], 2],
    [['verdicts', '--level', 'x'], 2],
    [['responses', '--phase', 'x'], 2],
    [['responses', 'approve'], 2],
    [['responses', 'approve', 'x'], 2],
    [['explain'], 2],
    [['explain', 'A/B/C'], 2],
    [['config', 'get', 'nonsense'], 6],
    [['config', 'set', 'spoof.cluster._.default'], 2],
    [['config', 'rollback', 'spoof.cluster._.default', '--to', 'x'], 2],
    [['quarantine', 'release'], 2],
    [['disarm', '--for', '10m'], 2],
    [['doctor', '--only', 'x'], 2],
    [['status', '--stale-after', '5'], 2],
    [['status'], 6],
  ] as [string[], number][])(
    'wrong usage - bailiff %j ends with %d and a message without a stack',
    async (args, code) => {
      const { exitCode, stdout, stderr } = await runCli(args);
      expect([exitCode, stdout]).toEqual([code, '']);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(stderr.length).toBeGreaterThan(0);
    },
  );

  it('unreachable bus - is reported at once, with its address and a remedy', async () => {
    const { exitCode, stderr } = await runCli(['events', '--nats-url', 'nats://127.0.0.1:1']);
    expect(exitCode).toBe(7);
    expect(stderr).toMatch(/cannot connect to nats:\/\/127\.0\.0\.1:1 as cli[\s\S]*--nats-url/);
  });

  it('vector - an unknown one is refused with a list of valid ones', async () => {
    const { stderr } = await runCli(['events', '--vector', 'foo']);
    expect(stderr).toMatch(/--vector: "foo" is not one of ipv4-source, .*unknown-interface, .*foreign-pod/);
  });

  it('malformed URL - is refused before connecting', async () => {
    const { stderr } = await runCli(['events', '--nats-url', 'garbage']);
    expect(stderr).toBe(
      'bailiff: --nats-url: "garbage" is not a NATS URL\n  use nats://host:port; separate several with commas\n',
    );
    const fromEnv = await runCli(['events'], { env: { BAILIFF_NATS_URL: 'garbage' } });
    expect(fromEnv).toMatchObject({ exitCode: 6, stderr: expect.stringContaining('BAILIFF_NATS_URL: "garbage"') });
    for (const url of ['127.0.0.1:1', 'tls://[::1]:1', 'nats://u:p@127.0.0.1:1']) {
      expect((await runCli(['events', '--nats-url', url])).exitCode).toBe(7);
    }
  });

  it('debug - shows the stack', async () => {
    expect((await runCli(['config', 'get', 'x'])).stderr).not.toMatch(/^\s+at /m);
    expect((await runCli(['config', 'get', 'x', '--debug'])).stderr).toMatch(/^\s+at /m);
    expect((await runCli(['--debug', 'config', 'get', 'x'])).stderr).toMatch(/^\s+at /m);
    expect((await runCli(['config', 'get', 'x'], { env: { BAILIFF_DEBUG: '1' } })).stderr).toMatch(/^\s+at /m);
  });

  it('validate - works without a bus and names each wrong field', async () => {
    const validate = (...args: string[]) =>
      runCli(['config', 'validate', 'correlation.cluster._.repeated-spoofing', ...args]);
    expect(await validate('condition.gte=20')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('valid') });
    const bad = await validate('timespan=60', 'levle=high');
    expect(bad.exitCode).toBe(6);
    expect(bad.stderr).toMatch(/timespan: [\s\S]*levle: /);
    const json = await validate('timespan=60', '--json');
    expect([json.exitCode, JSON.parse(json.stdout)]).toMatchObject([6, { valid: false, fields: ['timespan'] }]);
    const file = await runCli(['config', 'validate', 'spoof.cluster._.default', '-f', '-'], {
      stdin: 'modes:\n  tunnel: audit\n',
    });
    expect(file.exitCode).toBe(0);
  });

  it('validate - an unknown key is refused with a suggestion', async () => {
    const validate = (...args: string[]) => runCli(['config', 'validate', ...args]);
    const slip = 'response.cluster._.answer-hihg';
    const near = await validate(slip, 'dryRun=false');
    expect([near.exitCode, near.stderr]).toEqual([
      2,
      expect.stringMatching(/the key does not exist; did you mean response\.cluster\._\.answer-high\?/),
    ]);
    const far = await validate('response.cluster._.my-own', 'dryRun=false');
    expect([far.exitCode, far.stderr]).toEqual([6, expect.stringMatching(/steps: /)]);
    const [stdin, whole] = ['steps:\n  - action: label\n    expires: 1h\n', ['-f', '-']];
    const taken = await runCli(['config', 'validate', slip, ...whole], { stdin });
    expect(taken).toMatchObject({ exitCode: 0, stdout: `${slip}: valid\n` });
    expect(taken.stderr).toMatch(/did you mean response\.cluster\._\.answer-high\?/);
    const own = await runCli(['config', 'validate', 'response.cluster._.my-own', ...whole], { stdin });
    expect([own.exitCode, own.stderr]).toEqual([0, '']);
  });
});

describe('arguments of commands', () => {
  it('disarm - needs one scope, a bounded duration and a reason', () => {
    expect(keyOf({ all: true })).toMatchObject({ scope: 'cluster', name: 'all' });
    expect(keyOf({ node: 'node-1.example' })).toMatchObject({ scope: 'node', name: 'node-1.example' });
    expect(keyOf({ namespace: 'shop' })).toMatchObject({ scope: 'namespace', namespace: 'shop', name: 'all' });
    expect(keyOf({})).toBeNull();
    expect(() => keyOf({ all: true, node: 'n' })).toThrow('--all and --node exclude each other');
    expect(spanOf({ for: '30m', reason: 'x' })).toBe(1_800_000);
    for (const options of [
      { reason: 'x' },
      { for: '30m' },
      { for: '30m', reason: ' ' },
      { for: '25h', reason: 'x' },
      { for: '5ms', reason: 'x' },
    ])
      expect(() => spanOf(options)).toThrow(expect.objectContaining({ code: 'CLI_USAGE' }));
  });

  it('explain - distinguishes ids from pods', () => {
    expect(['5f1d3c7a', '5f1d3c7a9b2e4d60aa11bb22cc33dd44'].map(isVerdictId)).toEqual([true, true]);
    expect(['5f1d3c7', 'web-0', 'deadbeef-x', 'shop/deadbeef'].map(isVerdictId)).toEqual([false, false, false, false]);
  });
});
