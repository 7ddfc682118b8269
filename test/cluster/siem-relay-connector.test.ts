// The connectors of docs/siem, run unchanged, with the rights of siem-reader and nothing else of
// Bailiff.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import type { RunningProcess } from '../support/process.ts';
import { startExample } from './example-script.ts';
import { RelayRig } from './siem-relay-rig.ts';

const DOCS = path.resolve(import.meta.dirname, '../../docs/siem');

function startConnector(rig: RelayRig, script: string) {
  const password = path.join(rig.directory, 'reader-password');
  writeFileSync(password, 'password-of-siem-reader\n', { mode: 0o600 });
  return startExample(`siem/${script}`, { NATS_URL: rig.nats.url, NATS_PASSWORD_FILE: password });
}

const rowsOf = (connector: RunningProcess) => connector.stdout().split('\n').filter(Boolean);

it('connector - needs only subject, credential and JSON: the example has 15 lines at most and receives the events', async () => {
  const code = readFileSync(path.join(DOCS, 'connector.mjs'), 'utf8').split('\n').filter(Boolean);
  expect(code.length).toBeLessThanOrEqual(15);
  await using rig = await RelayRig.start();
  await rig.relay();
  await using connector = startConnector(rig, 'connector.mjs');
  const subscribed = async () => {
    await rig.violations();
    return rowsOf(connector).length > 0;
  };
  await waitFor(subscribed, { what: 'the first event', intervalMs: 100, state: connector.out });
  await rig.verdict({ rule: 'too-much' });
  await rig.response({ action: 'delete' });
  await waitFor(() => connector.stdout().includes('Process Remediation Activity'), {
    what: 'all three',
    state: connector.out,
  });
  expect(connector.stdout()).toMatch(/^Medium Network Activity violations-\w+-\d+-0 ipv4-source: /m);
  expect(connector.stdout()).toMatch(/^High Detection Finding verdicts-\w+-1-0 too-much: /m);
  expect(connector.stderr()).toBe('');
});

it('connector - one that was stopped receives the events of that time, once each', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  for (let i = 0; i < 5; i++) await rig.violations();
  await rig.eventCount(5);
  const seen: string[] = [];
  for (const more of [0, 7]) {
    for (let i = 0; i < more; i++) await rig.violations();
    const wanted = more === 0 ? 5 : more;
    await using connector = startConnector(rig, 'connector-durable.mjs');
    await waitFor(() => rowsOf(connector).length >= wanted, { what: `${wanted} events`, state: connector.out });
    const acked = async () => (await rig.admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_ack_pending === 0;
    await waitFor(acked, { what: 'all to be acknowledged' });
    seen.push(...rowsOf(connector).map((line) => / (violations-\S+) /.exec(line)?.[1] ?? line));
    expect(connector.stderr()).toBe('');
  }
  expect(new Set(seen).size).toBe(12);
  expect(seen).toHaveLength(12);
});
