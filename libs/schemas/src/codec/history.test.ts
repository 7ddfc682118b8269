/**
 * Every released version is read by this build, and this build is read by every released version: fields are only added or removed
 * with a default, enums only change with a default, names stay. A version that never left the house may be taken back: delete its
 * directory and write it again with `src/generate/main.ts --release`.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import avro from 'avsc';
import { expect, test } from 'vitest';
import { ROOT, readCurrent, readHistory, releasedVersions, SCHEMA_FILES } from '../generate/files.ts';
import type { ViolationFrame } from '../generated/types.gen.ts';
import { sampleFrame, sampleLsmViolation, sampleResponse, sampleVerdict } from '../testing.ts';
import { decode } from './codec.ts';

const typeOf = (schema: unknown) => avro.Type.forSchema(schema as avro.Schema, { wrapUnions: 'never' });
const current = new Map(SCHEMA_FILES.map((file, index) => [file as string, readCurrent()[index]]));
const history = readHistory();
const SAMPLES: Record<string, object> = {
  'violation-frame.avsc': sampleFrame(),
  'verdict.avsc': sampleVerdict(),
  'response.avsc': sampleResponse(),
};

test('history - the version of package.json is released at most once, and a release has every schema', () => {
  const versions = releasedVersions();
  expect(new Set(versions).size).toBe(versions.length);
  for (const version of versions) {
    const files = history.filter((schema) => schema.version === version).map(({ file }) => file);
    expect(files).toEqual([...SCHEMA_FILES].sort());
  }
});

test.each(history)('history - $version $file is read by this build', ({ file, schema }) => {
  const reader = typeOf(current.get(file));
  const writer = typeOf(schema);
  const message = writer.toBuffer(SAMPLES[file] as object);
  expect(reader.fromBuffer(message, reader.createResolver(writer))).toEqual(SAMPLES[file]);
});

test.each(history)('history - $version $file reads what this build writes', ({ file, schema }) => {
  const reader = typeOf(schema);
  const writer = typeOf(current.get(file));
  const message = writer.toBuffer(SAMPLES[file] as object);
  expect(() => reader.fromBuffer(message, reader.createResolver(writer))).not.toThrow();
});

test.each(releasedVersions())('history - %s reads the known fields of a runtime violation', (version) => {
  const file = 'violation-frame.avsc';
  const reader = typeOf(history.find((one) => one.version === version && one.file === file)?.schema);
  const writer = typeOf(current.get(file));
  const message = writer.toBuffer(sampleFrame({ violations: [sampleLsmViolation()] }));
  const { violations } = reader.fromBuffer(message, reader.createResolver(writer)) as ViolationFrame;
  const { kind, vector, cumulativePackets, pod, generation } = sampleLsmViolation();
  expect(violations).toEqual([expect.objectContaining({ kind, vector, cumulativePackets, pod, generation })]);
});

test.each(releasedVersions())('history - messages that %s wrote are still read', (version) => {
  const recorded = JSON.parse(readFileSync(path.join(ROOT, 'history', version, 'messages.json'), 'utf8')) as Record<
    string,
    string
  >;
  expect(Object.keys(recorded).sort()).toEqual(['Response', 'Verdict', 'ViolationFrame']);
  for (const [name, base64] of Object.entries(recorded)) {
    expect(decode(Buffer.from(base64, 'base64')).name).toBe(name);
  }
});
