// Conditional messages on three servers. Two replicas publish the same verdict at the same moment: from 2.12 on the
// server refuses the second message while the first one is being replicated. That says nothing about
// the first one, so it is no final refusal: a leader that changes then may lose it.
import { apiRequest, publishOnce, streamInfo } from '@bailiff/bus';
import { headers } from '@nats-io/nats-core';
import { expect, test } from 'vitest';
import { startThree } from '../support/bus.ts';

const IN_PROCESS = 10_158;
/** The server refuses about every second one. */
const PAIRS = 50;
const subject = (kind: string, index: number) => `bailiff.v1.verdicts.high.shop.web-0.${kind}${index}`;

test('publish once - a message that is being stored for another replica is not refused', async () => {
  await using servers = await startThree();
  const [one, two] = [await servers.first.connect('correlator'), await servers.second.connect('correlator')];
  const raw = async (bus: typeof one, index: number) => {
    const header = headers();
    header.set('Nats-Msg-Id', `raw-${index}`);
    header.set('Nats-Expected-Last-Subject-Sequence', '0');
    return apiRequest(bus, subject('raw', index), Buffer.from('x'), { headers: header }).then(
      () => 0,
      ({ apiCode }: { apiCode: number }) => apiCode,
    );
  };
  const codes = new Set<number>();
  for (let index = 0; index < PAIRS; index += 1)
    for (const code of await Promise.all([raw(one, index), raw(two, index)])) codes.add(code);
  const [, minor] = /^2\.(\d+)/.exec(one.nc.info?.version ?? '') ?? [];
  expect(codes.has(IN_PROCESS), 'control: the server refuses some').toBe(Number(minor) >= 12);

  const publish = (bus: typeof one, index: number) =>
    publishOnce(bus, subject('once', index), Buffer.from('x'), { stream: 'VERDICTS' });
  for (let index = 0; index < PAIRS; index += 1) {
    const results = await Promise.all([publish(one, index), publish(two, index)]);
    expect(results.map(({ outcome }) => outcome).toSorted()).toEqual(['exists', 'stored']);
  }
}, 120_000);

test('publish once - what was refused because the stream had grown is stored with the next try; control: with an id', async () => {
  await using servers = await startThree();
  const bus = await servers.first.connect('responder');
  const last = async () => (await streamInfo(bus, 'RESPONSES')).state.last_seq;
  const of = (name: string) => `bailiff.v1.responses.label.shop.web-0.${name}`;
  const once = (name: string, lastSequence: number) =>
    publishOnce(bus, of(name), Buffer.from(name), { lastSequence, stream: 'RESPONSES', isUnique: true, deadlineMs: 0 });
  const withId = async (lastSequence: number) => {
    const header = headers();
    header.set('Nats-Msg-Id', 'id');
    header.set('Nats-Expected-Last-Sequence', String(lastSequence));
    return apiRequest<{ seq: number; duplicate?: boolean }>(bus, of('id'), Buffer.from('x'), { headers: header });
  };
  expect(await once('first', 0)).toEqual({ outcome: 'stored', sequence: 1 });
  expect(await once('late', 0)).toEqual({ outcome: 'exists' });
  expect(await once('late', await last())).toEqual({ outcome: 'stored', sequence: 2 });

  await expect(withId(0)).rejects.toMatchObject({ code: 'BUS_CONFLICT' });
  const again = await withId(await last());
  const [, minor] = /^2\.(\d+)/.exec(bus.nc.info?.version ?? '') ?? [];
  if (Number(minor) < 11) expect(again).toEqual({ stream: 'RESPONSES', seq: 0, duplicate: true });
  else expect(again.seq).toBe(3);
}, 120_000);
