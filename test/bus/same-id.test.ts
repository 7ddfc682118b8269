// Two replicas that publish the same verdict at the same moment, on three servers. From 2.12 on the
// server refuses the second message while the first one is being replicated. That says nothing about
// the first one, so it is no final refusal: a leader that changes then may lose it.
import { apiRequest, publishOnce } from '@bailiff/bus';
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
    publishOnce(bus, subject('once', index), Buffer.from('x'), { msgId: `once-${index}`, stream: 'VERDICTS' });
  for (let index = 0; index < PAIRS; index += 1) {
    const results = await Promise.all([publish(one, index), publish(two, index)]);
    expect(results.map(({ outcome }) => outcome).toSorted()).toEqual(['exists', 'stored']);
  }
}, 120_000);
