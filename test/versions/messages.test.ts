/**
 * Upgrade and downgrade of messages: this checkout reads every recorded message with the same
 * fields and judges the recorded stream as the version did; readers of the version read what this
 * checkout writes.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { violationSubject } from '@bailiff/bus';
import { SimCollector } from '@bailiff/correlation/testing';
import {
  CURRENT_SCHEMAS,
  encodeViolationFrame,
  fingerprintHex,
  fingerprintIn,
  type NodeSnapshot,
  type Verdict,
} from '@bailiff/schemas';
import { headOf, sampleFrame } from '@bailiff/schemas/testing';
import avro from 'avsc';
import { describe, expect, it } from 'vitest';
import { releasedVersions } from '../../tools/release/contents.ts';
import { FULL, judge, ofStream, plain, readerOf } from './readers.ts';
import { REDIS, type RecordedMessage, readMessages, recordedVersions, SAMPLES } from './recording.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SECOND = 1_000_000;
/** Every stream and bucket whose messages a program reads. */
const STREAMS = [
  ...['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'DEAD_LETTERS', 'SIEM', SAMPLES, REDIS],
  ...['config', 'nodes', 'pods', 'quarantine', 'schemas', 'services', 'siem'].map((name) => `KV_bailiff_${name}`),
];

const typeOf = (schema: unknown) =>
  avro.Type.forSchema(schema as avro.Schema, { wrapUnions: 'never' } as Partial<avro.ForSchemaOptions>);
const byId = (verdicts: readonly Verdict[]) => verdicts.toSorted((a, b) => a.verdictId.localeCompare(b.verdictId));

/** Fields that the recorded document does not have, and whose default has changed since (docs/operations.md). */
function withNewDefaults({ data, value }: RecordedMessage): object {
  const policy = value as { guards?: { budget?: { exhausted?: string } } };
  const { budget } = policy.guards ?? {};
  if (budget?.exhausted !== 'refuse' || data.includes('"exhausted"')) return policy;
  return { ...policy, guards: { ...policy.guards, budget: { ...budget, exhausted: 'quarantine' } } };
}

/** Schema with which the version wrote, and so reads, the messages of a name. */
function schemaOf(messages: readonly RecordedMessage[], name: string): unknown {
  const sample = ofStream(messages, SAMPLES).find(({ subject }) => subject === name);
  const key = `fp-${fingerprintIn(sample?.data ?? Buffer.alloc(0))}`;
  const stored = ofStream(messages, 'KV_bailiff_schemas').find(({ subject }) => subject.endsWith(`.${key}`));
  return JSON.parse(stored?.data.toString('utf8') ?? '');
}

/** The sample frame under a changed schema, which the lookup of the recording then has. */
function withFrameSchema(messages: readonly RecordedMessage[], change: (schema: string) => string): RecordedMessage[] {
  const schema: unknown = JSON.parse(change(JSON.stringify(schemaOf(messages, 'ViolationFrame'))));
  const frame = JSON.parse(change(JSON.stringify(sampleFrame({ violations: [] })))) as unknown;
  const base = ofStream(messages, SAMPLES).find(({ subject }) => subject === 'ViolationFrame') as RecordedMessage;
  const subject = `$KV.bailiff_schemas.fp-${fingerprintHex(schema)}`;
  return [
    { ...base, data: Buffer.concat([headOf(fingerprintHex(schema)), typeOf(schema).toBuffer(frame)]) },
    { ...base, stream: 'KV_bailiff_schemas', subject, data: Buffer.from(JSON.stringify(schema)) },
  ];
}

/** From fold 3 on the group of an owner has its namespace, and therefore another id. */
function withGroupOfNow(recorded: Verdict, judged: readonly Verdict[]): Verdict {
  const key = `${recorded.pod?.namespace}/${recorded.groupKey}`;
  const now = judged.find(
    ({ groupBy, groupKey, rule }) => groupBy === 'owner' && groupKey === key && rule === recorded.rule,
  );
  return now ? { ...recorded, groupKey: now.groupKey, verdictId: now.verdictId } : recorded;
}

describe('recordings', () => {
  it('every version of the changelog has one', () => {
    const changelog = readFileSync(path.join(ROOT, 'CHANGELOG.md'), 'utf8');
    const missing = (text: string) => releasedVersions(text).filter((name) => !recordedVersions().includes(name));
    expect(missing(changelog)).toEqual([]);
    expect(missing(`${changelog}\n## 99.0.0\n\n- one\n`), 'control').toEqual(['99.0.0']);
    expect(recordedVersions().length).toBeGreaterThan(0);
  });
});

describe.each(recordedVersions())('messages of %s', (version) => {
  const messages = readMessages(version);

  it('every recorded message is read with the same fields', async () => {
    expect([...new Set(messages.map(({ stream }) => stream))].sort()).toEqual([...STREAMS].sort());
    const read = readerOf(messages);
    for (const message of messages.filter(({ stream }) => stream !== REDIS)) {
      const value = await read(message);
      const at = `${message.stream} ${message.sequence} ${message.subject}`;
      // Later versions may add fields.
      if (message.value === null) expect(value, at).toBeNull();
      else expect(value, at).toMatchObject(withNewDefaults(message));
    }
  });

  it('a renamed field is found, in a schema and in a document; an added one is read', async () => {
    const renamed = withFrameSchema(messages, (text) => text.replaceAll('frameSequence', 'frameNumber'));
    await expect(readerOf(renamed)(renamed[0] as RecordedMessage)).rejects.toMatchObject({ code: 'WRONG_SCHEMA' });
    const added = '{"name":"added","type":"int","default":0}';
    const extended = withFrameSchema(messages, (text) => text.replace('"fields":[', `"fields":[${added},`));
    expect(await readerOf(extended)(extended[0] as RecordedMessage)).toMatchObject({ frameSequence: 42 });
    for (const stream of ['KV_bailiff_pods', 'KV_bailiff_nodes', 'KV_bailiff_quarantine']) {
      const message = ofStream(messages, stream).find((one) => one.data.includes('"nodeName"')) as RecordedMessage;
      const data = Buffer.from(message.data.toString('utf8').replaceAll('"nodeName"', '"node"'));
      await expect(readerOf(messages)({ ...message, data }), stream).rejects.toThrow('nodeName');
    }
  });

  it('the recorded frames give the recorded verdicts, also when frames of this checkout follow', async () => {
    const judged = await judge(messages);
    const recorded = ofStream(messages, 'VERDICTS').map(({ value }) => withGroupOfNow(value as Verdict, judged));
    expect(recorded.length).toBeGreaterThan(2);
    expect(plain(byId(judged))).toMatchObject(byId(recorded));

    const last = ofStream(messages, 'VIOLATIONS').at(-1) as RecordedMessage;
    const snapshot = ofStream(messages, 'KV_bailiff_pods')
      .map(({ value }) => value as NodeSnapshot | null)
      .findLast((value) => (value?.pods ?? []).length > 0) as NodeSnapshot;
    const { uid, namespace, name } = snapshot.pods[0] as NodeSnapshot['pods'][number];
    const pod = { uid, namespace, name, serviceAccount: '', ownerKind: '', ownerName: '', ownerUid: '' };
    const collector = new SimCollector(snapshot.nodeName);
    // Later than the cooldown of every built-in rule.
    const timestampMicros = last.timestampMicros + 86_400 * SECOND;
    collector.spoof(pod, 50);
    const data = encodeViolationFrame(collector.flush(timestampMicros) ?? sampleFrame());
    const subject = violationSubject(snapshot.nodeName, 'spoof');
    const after = await judge([...messages, { ...last, sequence: last.sequence + 1, timestampMicros, subject, data }]);
    const ids = new Set(recorded.map(({ verdictId }) => verdictId));
    const isOld = ({ verdictId }: Verdict) => ids.has(verdictId);
    expect(plain(byId(after.filter(isOld)))).toMatchObject(byId(recorded));
    expect(after.filter((verdict) => !isOld(verdict))).toContainEqual(
      expect.objectContaining({ rule: 'repeated-spoofing', pod: expect.objectContaining({ uid }) }),
    );
  });

  it.each(Object.entries(FULL))(
    'its readers read a %s of this checkout with the fields that they know',
    (name, value) => {
      const current = CURRENT_SCHEMAS.find((one) => one.name === name)?.text ?? '';
      const resolved = (reader: avro.Type, writer: avro.Type) =>
        plain(reader.fromBuffer(writer.toBuffer(value), reader.createResolver(writer)));
      const reader = typeOf(schemaOf(messages, name));
      expect(plain(value)).toMatchObject(resolved(reader, typeOf(JSON.parse(current))) as object);
      // Control: a schema without a field that the version requires.
      const broken = JSON.parse(current) as { fields: { name: string }[] };
      broken.fields = broken.fields.filter((field) => !['nodeName', 'podUid'].includes(field.name));
      expect(() => resolved(reader, typeOf(broken))).toThrow(/nodeName|podUid/);
    },
  );
});
