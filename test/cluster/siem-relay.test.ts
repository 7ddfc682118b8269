// The whole relay: messages of the three streams appear on SIEM, once, under their subject, in the
// chosen formats.
import { ensureTopology, filters, openBucket, violationSubject } from '@bailiff/bus';
import { encodeViolationFrame } from '@bailiff/schemas';
import { sampleFrame, sampleLsmViolation, sampleOperation, sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { createInbox, headers as newHeaders } from '@nats-io/nats-core';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { FIRST_STORED } from '../../libs/bus/src/streams/retention.ts';
import { NODE, RelayRig } from './siem-relay-rig.ts';

const json = (text: string) => JSON.parse(text) as Record<string, never>;

it('siem-relay - violations, verdicts and responses, one event per message, in every chosen format', async () => {
  await using rig = await RelayRig.start();
  const relay = await rig.relay(['--formats', 'ocsf,ecs,cef']);
  const sequence = await rig.violations([sampleViolation(), sampleViolation({ vector: 'source-mac' })]);
  await rig.violations(
    [sampleLsmViolation({ operation: sampleOperation({ operation: 'capability', subject: 'sys_admin' }) })],
    'lsm',
  );
  await rig.verdict({
    evidence: [{ streamSequence: sequence, index: 1, vector: 'source-mac', packets: 3, process: null }],
  });
  await rig.response({ action: 'quarantine' });
  await rig.eventCount(15);
  const subjects = rig.events
    .map(({ subject }) => subject)
    .filter((subject) => subject.startsWith('bailiff.v1.siem.ocsf.'));
  expect(subjects.sort()).toEqual([
    'bailiff.v1.siem.ocsf.detection-finding.default',
    'bailiff.v1.siem.ocsf.kernel-activity.default',
    'bailiff.v1.siem.ocsf.network-activity.default',
    'bailiff.v1.siem.ocsf.network-activity.default',
    'bailiff.v1.siem.ocsf.network-remediation-activity.default',
  ]);
  const of = (format: string, className: string) =>
    rig.events
      .filter(({ subject }) => subject.startsWith(`bailiff.v1.siem.${format}.${className}.`))
      .map(({ text }) => text);
  const uid = `violations-${await rig.madeToken('VIOLATIONS')}-${sequence}-1`;
  expect(json(of('ocsf', 'network-activity')[1] ?? '')).toMatchObject({ metadata: { uid, event_code: 'source-mac' } });
  expect(json(of('ocsf', 'detection-finding')[0] ?? '')).toMatchObject({ finding_info: { related_events: [{ uid }] } });
  expect(json(of('ecs', 'network-activity')[1] ?? '')).toMatchObject({ event: { id: uid } });
  expect(of('cef', 'network-activity')[1]).toContain(`externalId=${uid} `);
  // Recorded messages give the same events again, except for the product version.
  for (const format of ['ocsf', 'ecs', 'cef']) {
    const { stdout, exitCode } = await runCli(['replay', '--since', 'all', '--format', format, ...rig.cliFlags()]);
    expect(exitCode).toBe(0);
    const reported = rig.events
      .filter(({ msgId }) => msgId.startsWith(`${format}-violations-`))
      .map(({ text }) => text);
    expect(reported).toHaveLength(3);
    expect(stdout.replaceAll('1.2.3', '0.0.0-dev').trimEnd().split('\n')).toEqual(reported);
  }
  expect(await relay.metric('events_total{format="cef"}')).toBe(5);
  expect(await relay.metric('pending_messages{stream="VIOLATIONS"}')).toBe(0);
  expect(await relay.metric('lag_seconds{stream="VERDICTS"}')).toBe(0);
  expect(await relay.stop()).toBe(0);
});

const REDIRECTED = { reply: '$KV.bailiff_siem.violations' };
it.each<[string, (rig: RelayRig) => unknown]>([
  ['without its position', ({ admin }) => openBucket(admin, 'bailiff_siem').delete('violations')],
  [
    'with a response of the server in place of its position',
    async ({ admin }) => {
      admin.nc.publish('$JS.API.CONSUMER.MSG.NEXT.SIEM.siem-cef', '{"batch":1,"no_wait":true}', REDIRECTED);
      // The control: no reader can use the value.
      const read = () => openBucket(admin, 'bailiff_siem').get('violations');
      await waitFor(
        () =>
          read().then(
            () => false,
            ({ code }) => code === 'BUS_MESSAGE',
          ),
        { what: 'the response' },
      );
    },
  ],
])('siem-relay - continues where it stopped, and %s repeats the same ids, which the bus drops', async (_, lose) => {
  await using rig = await RelayRig.start();
  const first = await rig.relay();
  await rig.violations();
  await rig.eventCount(1);
  expect(await first.stop()).toBe(0);
  await rig.violations();
  const second = await rig.relay();
  await rig.eventCount(2);
  expect(await second.metric('messages_total{stream="VIOLATIONS"}')).toBe(1);
  await second.stop();
  await lose(rig);
  const third = await rig.relay();
  await waitFor(() => third.metric('duplicate_events_total{format="ocsf"}').then((count) => count === 2), {
    what: 'both to be duplicates',
  });
  expect(rig.events).toHaveLength(2);
  expect(new Set(rig.events.map(({ msgId }) => msgId)).size).toBe(2);
});

it('siem-relay - configured to begin with new messages, it relays nothing older, and loses nothing while it is stopped', async () => {
  await using rig = await RelayRig.start();
  await rig.violations();
  const relay = await rig.relay(['--start-at', 'new']);
  await waitFor(
    async () =>
      (await openBucket(rig.admin, 'bailiff_siem').get('violations'))?.value.toString().includes('"sequence":1'),
    {
      what: 'the first position',
    },
  );
  await relay.stop();
  const sequence = await rig.violations();
  await rig.relay(['--start-at', 'new']);
  await rig.eventCount(1);
  expect(rig.events[0]?.msgId).toContain(`-${sequence}-0`);
  expect(rig.events).toHaveLength(1);
});

it('siem-relay - unreadable messages are counted and skipped, and later ones are relayed', async () => {
  await using rig = await RelayRig.start();
  const relay = await rig.relay();
  await rig.violationBytes(Buffer.from('no avro'));
  await rig.violationBytes(Buffer.from('c301000000000000000000', 'hex'));
  // Under its own subject, the name of another node.
  await rig.violationBytes(encodeViolationFrame(sampleFrame({ nodeName: 'other', violations: [sampleViolation()] })));
  await rig.violations([
    sampleViolation({ pod: { ...(sampleViolation().pod as never as object), namespace: 'x.> *' } as never }),
  ]);
  await rig.eventCount(1);
  expect(rig.events[0]?.subject).toBe('bailiff.v1.siem.ocsf.network-activity._');
  expect(await relay.metric('unreadable_total{stream="VIOLATIONS",reason="NOT_SINGLE_OBJECT"}')).toBe(1);
  expect(await relay.metric('unreadable_total{stream="VIOLATIONS",reason="UNKNOWN_FINGERPRINT"}')).toBe(1);
  expect(await relay.metric('unreadable_total{stream="VIOLATIONS",reason="FOREIGN_NODE"}')).toBe(1);
});

it('siem-relay - a frame that is sent again after its id is forgotten has its events once', async () => {
  await using rig = await RelayRig.start();
  const relay = await rig.relay();
  const bus = await rig.nats.connect(`collector-${NODE}`);
  const headers = newHeaders();
  headers.set('Nats-Msg-Id', `${NODE}-boot-1-0123456789abcdef`);
  const frame = encodeViolationFrame(sampleFrame({ nodeName: NODE, violations: [sampleViolation()] }));
  const publish = async () => (await bus.js.publish(violationSubject(NODE, 'spoof'), frame, { headers })).duplicate;
  expect(await publish()).toBe(false);
  await waitFor(async () => !(await publish()), { what: 'the server to forget the id' });
  await rig.violations([sampleViolation({ vector: 'source-mac' })]);
  await waitFor(() => rig.events.some(({ text }) => text.includes('source-mac')), { what: 'the next frame' });
  expect(rig.events).toHaveLength(2);
  expect(await relay.metric('repeated_frames_total')).toBe(1);
});

it('siem-relay - a node cannot have its frame taken for a record that was stored again', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  const bus = await rig.nats.connect(`collector-${NODE}`);
  const headers = newHeaders();
  headers.set(FIRST_STORED, '1');
  const frame = encodeViolationFrame(sampleFrame({ nodeName: NODE, violations: [sampleViolation()] }));
  await bus.js.publish(violationSubject(NODE, 'spoof'), frame, { headers });
  await rig.violations([sampleViolation({ vector: 'source-mac' })]);
  await waitFor(() => rig.events.some(({ text }) => text.includes('source-mac')), { what: 'the next frame' });
  expect(rig.events).toHaveLength(2);
});

it('siem-relay - a recreated stream is read from its beginning, under ids of its own', async () => {
  await using rig = await RelayRig.start();
  const relay = await rig.relay();
  await rig.violations();
  await rig.eventCount(1);
  await rig.admin.jsm.streams.delete('VIOLATIONS');
  await ensureTopology(rig.admin);
  await rig.violations();
  await rig.eventCount(2);
  expect(new Set(rig.events.map(({ msgId }) => msgId)).size).toBe(2);
  expect(rig.events.every(({ msgId }) => msgId.endsWith('-1-0'))).toBe(true);
  expect(await relay.metric('streams_remade_total')).toBe(1);
  // The position is of the new stream: after a restart nothing is reported again.
  await relay.stop();
  const again = await rig.relay();
  expect(await again.metric('duplicate_events_total{format="ocsf"}')).toBeNaN();
});

it('siem-relay - a restart of the bus in between loses nothing', async () => {
  await using rig = await RelayRig.start();
  const relay = await rig.relay();
  for (let i = 0; i < 50; i++) await rig.violations();
  await rig.nats.restart();
  for (let i = 0; i < 50; i++) await rig.violations();
  await rig.eventCount(100);
  expect(new Set(rig.events.map(({ msgId }) => msgId)).size).toBe(100);
  expect(await relay.stop()).toBe(0);
});

it('siem-relay - a connector with the rights of siem-reader receives events, live and missed ones, and no other subject', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  const reader = await rig.nats.connect('siem-reader');
  const live: string[] = [];
  const refused: string[] = [];
  reader.statusListeners.add((status) => {
    if (status.type === 'error') refused.push(status.error.code);
  });
  reader.nc.subscribe(filters.siem({ format: 'ocsf' }), { callback: (_, { subject }) => void live.push(subject) });
  const others = [
    'bailiff.v1.violations.>',
    'bailiff.v1.verdicts.>',
    'bailiff.v1.>',
    '>',
    '$KV.>',
    '_INBOX_siem-relay.>',
  ];
  for (const subject of others) reader.nc.subscribe(subject, { callback: () => undefined });
  await reader.nc.flush();
  await waitFor(() => refused.length === others.length, { what: 'every other to be refused', state: () => refused });
  await rig.violations();
  await rig.verdict();
  await waitFor(() => live.length === 2, { what: 'both live', state: () => live });
  // The durable consumer keeps both until they are acknowledged, also while no reader runs.
  const take = async () => {
    const answer = await reader.nc.request('BUS.CONSUMER.MSG.NEXT.SIEM.siem-ocsf', '', {
      timeout: 5_000,
      noMux: true,
      reply: createInbox(reader.inboxPrefix),
    });
    answer.respond();
    return answer.subject;
  };
  expect([await take(), await take()].sort()).toEqual([...live].sort());
  await reader.nc.flush();
  await waitFor(async () => (await rig.admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_ack_pending === 0, {
    what: 'both acks to be stored',
  });
  expect((await rig.admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_pending).toBe(0);
});

it('siem-relay - doctor checks its stream and its bucket', async () => {
  await using rig = await RelayRig.start();
  const doctor = async () => {
    const { stdout } = await runCli(['doctor', '--json', ...rig.cliFlags()]);
    const { groups } = JSON.parse(stdout) as { groups: { findings: { name: string }[] }[] };
    return groups.flatMap(({ findings }) => findings).find(({ name }) => name === 'streams and buckets');
  };
  expect(await doctor()).toMatchObject({ state: 'ok', detail: expect.stringMatching(/^all \d+$/) });
  await rig.admin.jsm.streams.delete('SIEM');
  expect(await doctor()).toMatchObject({ state: 'fail', detail: expect.stringContaining('SIEM') });
});
