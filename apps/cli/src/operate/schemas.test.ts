import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CURRENT_SCHEMAS, fingerprintHex, RELEASED_SCHEMAS } from '@bailiff/schemas';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { runCli } from '../testing.ts';
import { exported } from './schemas.ts';

it('schemas - those of this build, each under its fingerprint, and the same again', async () => {
  const dir = temporaryDirectory();
  const target = path.join(dir, 'made/for/it');
  const first = await runCli(['schemas', 'export', '--built-in', '--dir', target]);
  expect([first.exitCode, first.stderr]).toEqual([0, '']);
  const index = JSON.parse(readFileSync(path.join(target, 'index.json'), 'utf8')) as Record<
    string,
    { name: string; file: string }
  >;
  const known = [...RELEASED_SCHEMAS, ...CURRENT_SCHEMAS].map(({ fingerprint }) => fingerprint);
  expect(Object.keys(index).sort()).toEqual([...new Set(known)].sort());
  for (const [fingerprint, { name, file }] of Object.entries(index)) {
    const schema = JSON.parse(readFileSync(path.join(target, file), 'utf8')) as { name: string };
    expect([fingerprintHex(schema), schema.name]).toEqual([fingerprint, name]);
  }
  expect(readdirSync(target)).toHaveLength(Object.keys(index).length + 1);
  expect((await runCli(['schemas', 'export', '--built-in', '--dir', target])).stdout).toBe(first.stdout);
});

it('schemas - a text that is not what its fingerprint says is refused, and so is one without a target', async () => {
  const [one, other] = CURRENT_SCHEMAS;
  if (!one || !other) throw new Error('two schemas are needed');
  expect(exported(one.fingerprint, one.text).name).toBe(one.name);
  for (const text of [other.text, 'no JSON', '{"name":"../../x"}']) {
    expect(() => exported(one.fingerprint, text)).toThrow(expect.objectContaining({ code: 'CLI_STATE' }));
  }
  expect((await runCli(['schemas', 'export', '--built-in'])).exitCode).toBe(2);
});
