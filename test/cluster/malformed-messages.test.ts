// A node's credential against every reader of what it stores: malformed headers and bodies, sent by
// hand. Each reader skips them and processes the next frame of another node in time, live and after
// a restart. The controls of the headers are in test/bus/malformed-headers.test.ts.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { consumeOrdered, encodeToken, openBucket, violationSubject } from '@bailiff/bus';
import { makeFrame, makeViolation, podRef } from '@bailiff/correlation/testing';
import { encodeViolationFrame, type PodRef } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { configSchema } from '../../apps/siem-relay/src/config.ts';
import { start } from '../../apps/siem-relay/src/siem-relay.ts';
import { bodies, HEADERS, type Malformed } from '../support/malformed.ts';
import { RawNats } from '../support/raw-nats.ts';
import { type RunningService, Services } from '../support/service.ts';
import { healthyStatus } from './cli/world.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

/** Without the attack a verdict takes about 1 s on an idle machine. */
const SOON_MS = 15_000;
const OF_A = violationSubject(NODE_A, 'spoof');
const pods = Array.from({ length: 3 }, (_, index) => podRef(`far-${index}`));
const good = encodeViolationFrame(makeFrame([makeViolation()], { nodeName: NODE_A }));
const BODIES = bodies(good, 900_000);

let rig: CorrelatorRig;
let thief: RawNats;
/** Subject and text of each SIEM event. */
const events: string[] = [];
const end = new AbortController();
let reading: Promise<void> = Promise.resolve();
const services = new Services();

function password(user: string): string {
  const file = path.join(rig.directory, `password-${user}`);
  writeFileSync(file, `password-of-${user}`, { mode: 0o600 });
  return file;
}

const relay = (): Promise<RunningService> =>
  services.start({
    name: 'siem-relay',
    schema: configSchema,
    start,
    argv: [
      ...['--nats-url', rig.nats.url, '--nats-user', 'siem-relay', '--nats-password-file', password('siem-relay')],
      ...['--metrics-address', '127.0.0.1:0'],
    ],
  });

const cli = (...args: string[]) =>
  runCli(args, {
    home: rig.directory,
    env: { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: password('cli') },
  });

/** A pod of node-b spoofs. Its verdict and a SIEM event of its frame arrive. */
async function expectJudged(pod: PodRef, when: string): Promise<void> {
  await rig.spoof(NODE_B, pod, 10);
  const found = () => ({
    verdict: rig.verdicts.some(({ groupKey }) => groupKey === pod.uid),
    event: events.some((text) => text.includes('network-activity') && text.includes(pod.name)),
  });
  await waitFor(() => found().verdict && found().event, {
    what: `a verdict and an event about node-b ${when}`,
    timeoutMs: SOON_MS,
    state: () => [found(), rig.deadLetters.map(({ reason, detail }) => `${reason}: ${detail}`)],
  });
}

beforeAll(async () => {
  rig = await CorrelatorRig.start();
  reading = consumeOrdered(rig.admin, 'SIEM', {
    start: 'all',
    onMessage: ({ subject, data }) => void events.push(`${subject} ${Buffer.from(data).toString()}`),
    signal: end.signal,
  });
  await rig.list(NODE_A, [podRef('web')]);
  await rig.list(NODE_B, pods);
  await rig.settle();
  thief = await RawNats.connect({
    port: rig.nats.port,
    user: `collector-${NODE_A}`,
    password: `password-of-collector-${NODE_A}`,
  });
});
afterAll(async () => {
  await services[Symbol.asyncDispose]();
  await thief?.[Symbol.asyncDispose]();
  end.abort();
  await reading;
  await rig?.[Symbol.asyncDispose]();
});

const store = ({ name, message }: Malformed, subject = OF_A) =>
  thief.store({ subject, ...message }).catch((error: Error) => {
    throw new Error(`control: "${name}" is not stored: ${error.message}`);
  });

test('malformed messages - the correlator judges and the siem-relay relays other nodes, live and after a restart', async () => {
  const correlator = await rig.correlator();
  const before = [correlator, await relay()];
  for (const malformed of [...HEADERS, ...BODIES]) await store(malformed);
  await expectJudged(pods[0] as PodRef, 'behind the messages');
  expect(await correlator.metric('skipped_messages_total')).toBe(HEADERS.length + BODIES.length);
  expect(await correlator.metric('skipped_nodes')).toBe(1);
  for (const service of before) expect(await service.stop()).toBe(0);
  await rig.correlator();
  await relay();
  await expectJudged(pods[1] as PodRef, 'after a restart');
  await waitFor(() => rig.deadLetters.length >= BODIES.length, { what: 'dead letters', state: () => rig.deadLetters });
});

describe('malformed messages - the command reads past them', () => {
  test.each([
    [['events', '--since', '1h'], 'far-0'],
    [['events', '--since', '1h', '--json'], 'far-0'],
    [['verdicts', '--since', '1h'], 'far-0'],
    [['explain', 'default/far-0'], 'repeated-spoofing'],
    [['timeline', 'default/far-0'], 'repeated-spoofing'],
    [['replay', '--since', '1h', '--speed', 'max'], 'far-0'],
  ])('%j', async (args, shown) => {
    const { stdout, stderr, exitCode } = await cli(...args);
    expect(stdout, stderr).toContain(shown);
    expect(exitCode).toBe(0);
  });

  test('status and doctor, with each of them as the status of a node', async () => {
    const nodes = openBucket(await rig.bus(`collector-${NODE_B}`), 'bailiff_nodes');
    await nodes.put(encodeToken(NODE_B), JSON.stringify(healthyStatus(NODE_B)));
    for (const malformed of [...HEADERS.filter(({ throws }) => throws), ...BODIES.slice(0, 3)]) {
      await store(malformed, `$KV.bailiff_nodes.${encodeToken(NODE_A)}`);
      const status = await cli('status');
      expect(status.stdout, `${malformed.name}: ${status.stderr}`).toContain(NODE_B);
      expect(status.stdout).toMatch(/node-a: .*(not JSON|not stored by a collector)/);
      expect((await cli('doctor')).stdout).toContain('reachable');
    }
    await waitFor(async () => /^! node-a: \d+ messages of its collector skipped/m.test((await cli('status')).stdout), {
      what: 'the line about skipped messages',
      intervalMs: 500,
      state: async () => (await cli('status')).stdout,
    });
  });
});
