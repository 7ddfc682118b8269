// The connectors of docs/siem, run unchanged with the installed package and the rights of siem-reader or
// reader, and nothing else of Bailiff.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { headers } from '@nats-io/nats-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PackedConnector } from '../support/packed-connector.ts';
import type { RunningProcess } from '../support/process.ts';
import { RelayRig } from './siem-relay-rig.ts';

const DOCS = path.resolve(import.meta.dirname, '../../docs/siem');

let packed: PackedConnector;
beforeAll(async () => {
  packed = await PackedConnector.install();
}, 120_000);
afterAll(() => packed?.[Symbol.dispose]());

function loginOf(rig: RelayRig, user = 'siem-reader') {
  const password = path.join(rig.directory, `${user}-password`);
  writeFileSync(password, `password-of-${user}\n`, { mode: 0o600 });
  return { NATS_URL: rig.nats.url, NATS_PASSWORD_FILE: password, NATS_CA_FILE: '' };
}
const startConnector = (rig: RelayRig, script: string) => packed.start(script, loginOf(rig));

const rowsOf = (connector: RunningProcess) => connector.stdout().split('\n').filter(Boolean);

it('connector - the example has 10 lines at most and receives the events', async () => {
  const code = readFileSync(path.join(DOCS, 'connector.mjs'), 'utf8').split('\n').filter(Boolean);
  expect(code.length).toBeLessThanOrEqual(10);
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

it('connect - checks a login; a wrong password ends with its code', async () => {
  await using rig = await RelayRig.start();
  await using right = startConnector(rig, 'connect.mjs');
  expect((await right.exit)[0]).toBe(0);
  expect(right.stdout()).toBe('connected as siem-reader\n');
  const file = path.join(rig.directory, 'wrong-password');
  writeFileSync(file, 'guessed\n');
  await using wrong = packed.start('connect.mjs', { ...loginOf(rig), NATS_PASSWORD_FILE: file });
  expect((await wrong.exit)[0]).not.toBe(0);
  expect(wrong.stderr()).toContain('BUS_AUTHENTICATION');
});

it('consume - an event whose handler fails comes again under the same uid, and one that is none is skipped', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  // As a response of the server that was sent there: it has no uid.
  await (await rig.nats.connect('admin')).js.publish('bailiff.v1.siem.ocsf.network-activity.shop', '{"type":"x"}');
  for (let i = 0; i < 3; i++) await rig.violations();
  const script = `
    import { connect } from '@bailiff/connector';
    const bailiff = await connect();
    const failed = new Set();
    bailiff.consume('ocsf', ({ uid, deliveries }) => {
      if (!failed.has(uid)) {
        failed.add(uid);
        throw new Error('no ' + uid);
      }
      console.log(uid, bailiff.skipped, deliveries);
    }, { onError: () => {} });`;
  writeFileSync(path.join(packed.directory, 'siem/failing.mjs'), script);
  await using connector = startConnector(rig, 'failing.mjs');
  await waitFor(() => rowsOf(connector).length >= 3, { what: 'three events', state: connector.out });
  expect(new Set(rowsOf(connector)).size).toBe(3);
  for (const row of rowsOf(connector)) expect(row).toMatch(/^violations-\w+-\d-0 1 2$/);
  const pending = async () => (await rig.admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_ack_pending;
  await waitFor(async () => (await pending()) === 0, { what: 'all to be acknowledged', state: pending });
});

it('replay - stored verdicts from a sequence or a time, decoded; siem-reader may not', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  for (const rule of ['one', 'two']) await rig.verdict({ rule, level: 'low', verdictId: rule.padEnd(32, '0') });
  const early = await rig.admin.jsm.streams.getMessage('VERDICTS', { seq: 2 });
  await rig.verdict({ rule: 'three', level: 'high', verdictId: '3'.padEnd(32, '0') });
  const replayed = async (start: string) => {
    await using one = packed.start('replay.mjs', loginOf(rig, 'reader'), [start]);
    const [code] = await one.exit;
    return { code, rows: rowsOf(one).map((row) => row.split(' ').slice(0, 3).join(' ')), stderr: one.stderr() };
  };
  expect(await replayed('2')).toEqual({ code: 0, rows: ['2 low two', '3 high three'], stderr: '' });
  // Messages have microseconds, the option milliseconds.
  const after = new Date(Date.parse(early?.time.toISOString() ?? '') + 1).toISOString();
  expect((await replayed(after)).rows).toEqual(['3 high three']);
  expect((await replayed('2026-01-01T00:00:00Z')).rows).toHaveLength(3);
  expect((await replayed('2100-01-01T00:00:00Z')).rows).toEqual([]);
  const script = readFileSync(path.join(DOCS, 'replay.mjs'), 'utf8').replace("user: 'reader'", "user: 'siem-reader'");
  writeFileSync(path.join(packed.directory, 'siem/forbidden.mjs'), script);
  await using forbidden = startConnector(rig, 'forbidden.mjs');
  expect((await forbidden.exit)[0]).not.toBe(0);
  expect([forbidden.stdout(), forbidden.stderr()]).toEqual(['', expect.stringContaining('BUS_PERMISSION')]);
});

it('types - a program with the declarations of the package compiles, and a wrong one does not', async () => {
  const check = (name: string, text: string) => {
    const file = path.join(packed.directory, name);
    writeFileSync(file, text);
    const types = ['--types', 'node', '--typeRoots', path.resolve('node_modules/@types')];
    const flags = [...types, ...'--noEmit --strict --module NodeNext --target ES2023'.split(' ')];
    const lib = ['--lib', 'ES2023,ESNext.Disposable'];
    const options = { cwd: packed.directory, encoding: 'utf8' } as const;
    return spawnSync(path.resolve('node_modules/.bin/tsc'), [...flags, ...lib, file], options);
  };
  const right = `
    import { connect } from '@bailiff/connector';
    const bailiff = await connect({ user: 'reader' });
    await bailiff.consume('ocsf', ({ data }) => data.metadata.uid.length);
    for await (const { value } of bailiff.replay('VERDICTS', { from: { time: new Date() } })) value?.verdictId.trim();`;
  expect(check('right.mts', right)).toMatchObject({ stdout: '', status: 0 });
  expect(check('wrong.mts', right.replace('verdictId', 'verdictID')).stdout).toContain('verdictID');
});

it('consume - ends with close; a user without the right gets its error', async () => {
  await using rig = await RelayRig.start();
  await rig.violations();
  const script = `
    import { connect } from '@bailiff/connector';
    const bailiff = await connect({ user: process.argv[2] });
    const consuming = bailiff.consume('ecs', () => undefined);
    setTimeout(() => bailiff.close(), process.argv[2] === 'siem-reader' ? 500 : 60_000).unref();
    await consuming;
    console.log('ended');`;
  writeFileSync(path.join(packed.directory, 'siem/closing.mjs'), script);
  await using closed = packed.start('closing.mjs', loginOf(rig), ['siem-reader']);
  expect([await closed.exit, closed.stdout(), closed.stderr()]).toEqual([[0, null], 'ended\n', '']);
  await using refused = packed.start('closing.mjs', loginOf(rig, 'reader'), ['reader']);
  expect((await refused.exit)[0]).not.toBe(0);
  expect(refused.stderr()).toContain('BUS_PERMISSION');
});

it('close - waits for the running handler, whose event does not come again; the others come at once', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  for (let i = 0; i < 3; i++) await rig.violations();
  await rig.eventCount(3);
  const script = `
    import { connect } from '@bailiff/connector';
    const bailiff = await connect();
    let close = () => {};
    const closing = new Promise((resolve) => { close = resolve; }).then(() => bailiff.close());
    await bailiff.consume('ocsf', async ({ uid }) => {
      close();
      await new Promise((resolve) => setTimeout(resolve, 500));
      console.log(uid);
    });
    await closing;`;
  writeFileSync(path.join(packed.directory, 'siem/closed.mjs'), script);
  await using first = startConnector(rig, 'closed.mjs');
  expect([await first.exit, first.stderr()]).toEqual([[0, null], '']);
  const [uid, ...more] = rowsOf(first);
  expect(more).toEqual([]);
  // The server delivers unacknowledged events after 30 s.
  await using second = startConnector(rig, 'connector-durable.mjs');
  await waitFor(() => rowsOf(second).length >= 2, { what: 'the others', timeoutMs: 15_000, state: second.out });
  const acked = async () => (await rig.admin.jsm.consumers.info('SIEM', 'siem-ocsf')).num_ack_pending === 0;
  await waitFor(acked, { what: 'all to be acknowledged' });
  expect(rowsOf(second)).toHaveLength(2);
  expect(second.stdout()).not.toContain(uid);
});

it('events - a stored message that the server was made to send there is no event', async () => {
  await using rig = await RelayRig.start();
  const script = `
    import { connect } from '@bailiff/connector';
    const bailiff = await connect();
    setInterval(() => console.log('skipped', bailiff.skipped), 50).unref();
    for await (const { uid } of bailiff.events('ocsf')) console.log(uid);`;
  writeFileSync(path.join(packed.directory, 'siem/live.mjs'), script);
  await using connector = startConnector(rig, 'live.mjs');
  const send = (uid: string, more: Record<string, string> = {}) => {
    const block = headers();
    for (const [name, value] of Object.entries({ 'Bailiff-Uid': uid, ...more })) block.append(name, value);
    rig.admin.nc.publish('bailiff.v1.siem.ocsf.detection-finding.shop', '{"severity":"High"}', { headers: block });
  };
  // The control: the same message without the headers of a direct get is one.
  const subscribed = () => {
    send('genuine');
    return rowsOf(connector).includes('genuine');
  };
  await waitFor(subscribed, { what: 'the first event', intervalMs: 100, state: connector.out });
  send('forged', { 'Nats-Stream': 'VIOLATIONS', 'Nats-Sequence': '1' });
  await waitFor(() => connector.stdout().includes('skipped 1'), { what: 'a skipped one', state: connector.out });
  expect(rowsOf(connector)).not.toContain('forged');
});

it('consume - one that is killed while it handles an event gets it again', async () => {
  await using rig = await RelayRig.start();
  await rig.relay();
  for (let i = 0; i < 3; i++) await rig.violations();
  await rig.eventCount(3);
  const stuck = `
    import { connect } from '@bailiff/connector';
    const bailiff = await connect();
    await bailiff.consume('ocsf', ({ uid }) => { console.log(uid); return new Promise(() => {}); }, { maxEvents: 1 });`;
  writeFileSync(path.join(packed.directory, 'siem/stuck.mjs'), stuck);
  // The time after which the server delivers again, shorter than the one of the product.
  await rig.admin.jsm.consumers.update('SIEM', 'siem-ocsf', { ack_wait: 1_000_000_000 });
  await using first = startConnector(rig, 'stuck.mjs');
  await waitFor(() => rowsOf(first).length === 1, { what: 'the first event', state: first.out });
  const [uid] = rowsOf(first);
  await first.kill();
  await using second = startConnector(rig, 'connector-durable.mjs');
  await waitFor(() => rowsOf(second).length === 3, { what: 'all three', state: second.out });
  expect(second.stdout()).toContain(uid);
});
