// One publish with the condition `Nats-Expected-Last-Msg-Id` stops a stream of several replicas for good, on servers
// from 2.14 on: its leader puts the message into the log of the replicas unchecked, and each of them then takes the
// refusal for a failed write, also after a restart. Stored messages stay readable.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { type Bus, ensureTopology, getMessage, streamInfo, violationSubject } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { serverFinding } from '../../apps/cli/src/operate/doctor/bus-rules.ts';
import { leaderProblems } from '../../libs/response/src/problems/replicas.ts';
import { startThree } from '../support/bus.ts';
import { headerBlock, RawNats } from '../support/raw-nats.ts';

const NODES = ['node-a', 'node-b'];
const OF_A = violationSubject('node-a', 'spoof');
const OF_B = violationSubject('node-b', 'spoof');
const ELECTION_MS = 60_000;
/** Of docs/operations.md. */
const FIND_SENDER = String.raw`grep -a -h -B1 Nats-Expected-Last-Msg-Id *.blk | grep -a -o -E '(bailiff|\$KV)\.[A-Za-z0-9_.-]+' | tail -n 1`;

const versionOf = ({ nc }: Bus): string => nc.info?.version ?? '';
const isAffected = (version: string): boolean => Number(/^2\.(\d+)/.exec(version)?.[1]) >= 14;
const publish = async (bus: Bus): Promise<number> => (await bus.js.publish(OF_B, 'a frame', { timeout: 2_000 })).seq;

async function sendConditional({ port }: TestNats): Promise<void> {
  await using raw = await RawNats.connect({
    port,
    user: 'collector-node-a',
    password: 'password-of-collector-node-a',
  });
  const conditional = raw.store({ subject: OF_A, header: headerBlock('Nats-Expected-Last-Msg-Id: x'), body: 'x' });
  await expect(conditional).rejects.toThrow('wrong last msg ID');
}

test('stopped stream - a single server refuses the publish and stores those of others', async () => {
  await using nats = await startNats({ users: testUsers(NODES) });
  await ensureTopology(await nats.connect('admin'));
  const other = await nats.connect('collector-node-b');
  expect(await publish(other)).toBe(1);
  await sendConditional(nats);
  expect(await publish(other)).toBe(2);
});

test('stopped stream - from 2.14 on, one publish stops three replicas; they store again without the log of their group', async () => {
  await using servers = await startThree({ users: testUsers(NODES) });
  const { first, second, third, admin } = servers;
  const other = await first.connect('collector-node-b');
  expect(await publish(other)).toBe(1);
  await sendConditional(second);
  const version = versionOf(admin);
  if (!isAffected(version)) {
    expect(await publish(other)).toBe(2);
    return;
  }
  expect(serverFinding(version, true).detail).toMatch(/stop a stream for good/);
  await expect(publish(other)).rejects.toThrow(/timeout/i);
  expect(await getMessage(admin, 'VIOLATIONS', 1)).toMatchObject({ sequence: 1, subject: OF_B });
  const info = await waitFor(
    async () => {
      const found = await streamInfo(admin, 'VIOLATIONS').catch(() => null);
      return found && leaderProblems([found]).length > 0 ? found : null;
    },
    { what: 'status to name the stream', timeoutMs: ELECTION_MS },
  );
  expect(leaderProblems([info])[0]?.remedy).toMatch(/"Stopped stream"/);

  // The steps of docs/operations.md.
  const { raft_group: group = '' } = (info.cluster ?? {}) as { raft_group?: string };
  expect(group).toMatch(/^S-R3F-/);
  for (const { storeDir } of [first, second, third]) {
    const log = path.join(storeDir, 'jetstream/$SYS/_js_', group);
    const named = execFileSync('sh', ['-c', FIND_SENDER], { cwd: path.join(log, 'msgs'), encoding: 'utf8' });
    expect(named.trim()).toBe(OF_A);
    rmSync(log, { recursive: true });
  }
  for (const server of [first, second, third]) await server.restart();
  const again = await first.connect('collector-node-b');
  const stored = await waitFor(() => publish(again).catch(() => null), {
    what: 'the stream to store',
    timeoutMs: ELECTION_MS,
  });
  expect(stored).toBeGreaterThanOrEqual(2);
  expect(await getMessage(await first.connect('admin'), 'VIOLATIONS', 1)).toMatchObject({ subject: OF_B });
}, 180_000);
