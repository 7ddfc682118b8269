// The live streams for readers in another language: schemas as `bailiff schemas export` writes
// them, messages decoded by Python's Avro.
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { consumeOrdered } from '@bailiff/bus';
import { decode } from '@bailiff/schemas';
import { sampleLsmViolation, sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { launch } from '../support/process.ts';
import { RelayRig } from './siem-relay-rig.ts';

const SCRIPT = path.resolve(import.meta.dirname, '../../docs/siem/read_avro.py');
/** The distribution's: another one in PATH has other packages. */
const PYTHON = '/usr/bin/python3';

/** The value as the script prints it: bytes in hexadecimal. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, entry: unknown) => {
      const buffer = entry as { type?: string; data?: number[] } | null;
      return buffer?.type === 'Buffer' ? Buffer.from(buffer.data ?? []).toString('hex') : entry;
    }),
  );

it('avro - exported schemas and Python’s Avro read the live streams as this build does', async () => {
  expect(existsSync('/usr/lib/python3/dist-packages/avro'), 'python3-avro is installed').toBe(true);
  await using rig = await RelayRig.start();
  const dir = path.join(rig.directory, 'schemas');
  const flags = ['--nats-url', rig.nats.url, '--nats-user', 'cli', '--dir', dir];
  const passwordFile = path.join(rig.directory, 'cli-password');
  writeFileSync(passwordFile, 'password-of-cli', { mode: 0o600 });
  const run = await runCli(['schemas', 'export', ...flags, '--nats-password-file', passwordFile]);
  expect([run.exitCode, run.stderr]).toEqual([0, '']);

  await using python = launch(PYTHON, [SCRIPT, dir], { stdio: ['pipe', 'pipe', 'pipe'] });
  const reader = await rig.nats.connect('cli');
  const end = new AbortController();
  const expected: string[] = [];
  const reading = ['VIOLATIONS', 'VERDICTS', 'RESPONSES'].map((stream) =>
    consumeOrdered(reader, stream, {
      start: 'all',
      onMessage: ({ data }) => {
        const { name, value } = decode(data);
        expected.push(JSON.stringify(plain({ name, value })));
        python.child.stdin?.write(`${Buffer.from(data).toString('hex')}\n`);
      },
      signal: end.signal,
    }),
  );
  try {
    await rig.violations([sampleViolation(), sampleViolation({ pod: null, sample: null, detail: 'Grüße' })]);
    await rig.violations([sampleLsmViolation()], 'lsm');
    await rig.verdict();
    await rig.response({ expiresAt: 1_790_000_000_123_457 });
    const rows = () => python.stdout().split('\n').filter(Boolean);
    await waitFor(() => rows().length === 4, { what: 'four lines of Python', state: python.out });
    const lines = rows();
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      expected.map((line) => JSON.parse(line) as unknown),
    );
    expect(expected).toHaveLength(4);
  } finally {
    end.abort();
    await Promise.all(reading);
  }
});
