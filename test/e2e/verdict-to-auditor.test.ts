// From a packet in a lab to people and to an auditor: verdicts reach every receiver although each is
// killed in turn, and a machine without network verifies the evidence of one with both verifiers.
import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { verifyBundle } from '@bailiff/evidence';
import { CHECKOUT, type Lab, startLab } from '@bailiff/lab';
import { parseVerifierKey } from '@bailiff/policy/note';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { falcoIds, HttpLedger, otlpIds, webhookIds } from '../chaos/siem-outputs/receivers.ts';
import { Alertmanager } from '../cluster/alertmanager.ts';
import { launchRelay } from '../cluster/siem-relay-rig.ts';
import type { RunningProcess } from '../support/process.ts';
import { bailiff, startBailiff, uniqueId } from './support.ts';

const run = promisify(execFile);
const BAILIFF = path.join(CHECKOUT, 'apps/cli/bin/bailiff.mjs');
const SECOND = path.join(CHECKOUT, 'libs/evidence/python/verify.py');
const PATIENCE_MS = 60_000;
/** One pod for each receiver: the rule has a cooldown for each pod. */
const PODS = 4;

let lab: Lab;
let directory: string;
const file = (name: string) => path.join(directory, name);

beforeAll(async () => {
  directory = temporaryDirectory();
  for (const name of ['exporter', 'log']) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(file(`${name}.key`), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
    writeFileSync(file(`${name}.pub`), publicKey.export({ format: 'pem', type: 'spki' }));
  }
  lab = await startLab({ id: uniqueId('a'), nodes: 1, podsPerNode: PODS });
}, 300_000);
afterAll(async () => {
  await lab?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

const onBus = () => {
  const { natsUrl, credentials } = lab.info();
  return ['--nats-url', natsUrl, '--nats-password-file', credentials.cli.passwordFile];
};
const attack = (pod: string) => bailiff('lab', 'attack', pod, '--lab', lab.id, '--count', '20', '--json');
const podNames = () => lab.pods().map(({ name }) => name);

it('verdicts of a lab reach Alertmanager, OTLP, a webhook and Falco’s format while each is killed in turn', {
  timeout: 8 * PATIENCE_MS,
}, async () => {
  await using alertmanager = await new Alertmanager().start();
  await using otlp = new HttpLedger(otlpIds);
  await using webhook = new HttpLedger(webhookIds);
  await using falco = new HttpLedger(falcoIds);
  for (const receiver of [otlp, webhook, falco]) await receiver.start();
  const { natsUrl, dir } = lab.info();
  const hook = (receiver: HttpLedger) => ({ url: receiver.http.url(), allowPrivateAddress: true });
  await using relay: RunningProcess & AsyncDisposable = await launchRelay([
    ...['--nats-url', natsUrl, '--nats-user', 'siem-relay'],
    ...['--nats-password-file', path.join(dir, 'secrets/siem-relay.password'), '--metrics-address', '127.0.0.1:0'],
    ...['--alertmanager.urls', alertmanager.url, '--alertmanager.resend-ms', '1000'],
    ...['--otlp.url', otlp.http.url('/v1/logs'), '--otlp.encoding', 'json'],
    ...['--webhooks', JSON.stringify({ soc: hook(webhook), falco: { ...hook(falco), template: 'falco' } })],
  ]);
  const ofVerdicts = (ledger: HttpLedger) => [...ledger.ledger.ids()].filter((id) => id.startsWith('verdicts-')).length;
  const firing = async () => (await alertmanager.firing().catch(() => [])).length;
  const receivers = {
    alertmanager: { it: alertmanager, count: firing },
    otlp: { it: otlp, count: async () => ofVerdicts(otlp) },
    webhook: { it: webhook, count: async () => ofVerdicts(webhook) },
    falco: { it: falco, count: async () => ofVerdicts(falco) },
  };
  const counts = async () => Promise.all(Object.values(receivers).map(({ count }) => count()));
  const until = (name: string, pods: number) =>
    waitFor(async () => (await receivers[name as keyof typeof receivers].count()) >= pods, {
      what: `${pods} verdicts at ${name}`,
      timeoutMs: PATIENCE_MS,
      state: async () => [await counts(), relay.out().slice(-600)],
    });
  for (const [index, [down, { it: killed }]] of Object.entries(receivers).entries()) {
    await killed.kill();
    await attack(podNames()[index] as string);
    for (const name of Object.keys(receivers)) if (name !== down) await until(name, index + 1);
    await killed.start();
    await until(down, index + 1);
  }
  expect(await counts()).toEqual([PODS, PODS, PODS, PODS]);
});

type Outcomes = Readonly<Record<string, string>>;

/** Outcomes by check of a verifier that has no network: its only interface is a loopback that is down. */
async function apart(program: readonly string[], name: string, logKey: string): Promise<Outcomes> {
  const args = ['--net', ...program, file(name), '--key', file('exporter.pub'), '--log-key', logKey];
  const { stdout } = await run('unshare', args).catch((error: { stdout: string; stderr: string }) => {
    if (error.stdout === '') throw new Error(error.stderr);
    return error;
  });
  const found = stdout.matchAll(/^(PASS|FAIL|SKIP)\s+(\S+)/gm);
  return Object.fromEntries(Array.from(found, ([, outcome = '', check = '']) => [check, outcome]));
}
const first = [process.execPath, BAILIFF, 'evidence', 'verify'];
const second = ['/usr/bin/python3', SECOND];

const PASSED = ['format', 'signature', 'records', 'content', 'digest', 'log-head', 'inclusion', 'verdict', 'evidence'];

/** A hundred edits that a person could make with an editor. */
function forgeries(lines: readonly string[]): string[][] {
  const at = (n: number) => n % lines.length;
  const other = (text: string, n: number) => {
    const index = (n * 31) % text.length;
    return text.slice(0, index) + (text[index] === 'a' ? 'b' : 'a') + text.slice(index + 1);
  };
  const kinds: ((n: number) => string[])[] = [
    (n) => lines.with(at(n), other(lines[at(n)] as string, n)),
    (n) => lines.toSpliced(at(n), 1),
    (n) => lines.toSpliced(at(n), 0, lines[at(n)] as string),
    (n) => lines.toSpliced(at(n), 2, lines[at(n + 1)] as string, lines[at(n)] as string),
    (n) => lines.slice(0, -1 - (n % (lines.length - 1))),
  ];
  return Array.from({ length: 100 }, (_, n) => (kinds[n % kinds.length] as (n: number) => string[])(Math.floor(n / 5)));
}

it('a machine without network verifies the evidence with both verifiers, and both name each of a hundred forgeries', {
  timeout: 20 * PATIENCE_MS,
}, async () => {
  const logArgs = ['--dir', file('log'), '--key', file('log.key'), '--origin', 'bailiff.test/lab'];
  const log = startBailiff('evidence', 'log', ...logArgs, ...onBus());
  try {
    const found = await bailiff('verdicts', '--json', ...onBus());
    const [id = ''] = /"verdictId":"([0-9a-f]{32})"/.exec(found)?.slice(1) ?? [];
    const exported = () =>
      bailiff(
        ...['evidence', 'export', id, '--key', file('exporter.key'), '--out', file('incident'), '--log', file('log')],
        ...onBus(),
      ).then(
        () => true,
        () => false,
      );
    await waitFor(exported, { what: 'an export with proofs', timeoutMs: PATIENCE_MS, intervalMs: 1_000 });
  } finally {
    log.interrupt();
    await log.ended;
  }
  const logKey = /^bailiff\.test\/lab\+\S+$/m.exec(log.out())?.[0] ?? '';
  const [here, there] = [await apart(first, 'incident', logKey), await apart(second, 'incident', logKey)];
  for (const outcomes of [here, there])
    for (const name of PASSED) expect([name, outcomes[name]]).toEqual([name, 'PASS']);
  expect([here['judged'], there['judged']]).toEqual(['PASS', 'SKIP']);
  const text = readFileSync(file('incident'), 'utf8');
  const options = {
    key: createPublicKey(readFileSync(file('exporter.pub'))),
    logKeys: [parseVerifierKey(logKey)],
    knownHead: null,
  };
  const unnamed: unknown[] = [];
  for (const [number, lines] of forgeries(text.trimEnd().split('\n')).entries()) {
    const name = `forged-${number}`;
    writeFileSync(file(name), lines.map((line) => `${line}\n`).join(''));
    expect(readFileSync(file(name), 'utf8')).not.toBe(text);
    // In this process, as `evidence verify` does: a start for each would take most of the time.
    const { checks } = await verifyBundle(lines, options);
    const outcomes = [checks.map(({ outcome }) => outcome), Object.values(await apart(second, name, logKey))];
    if (!outcomes.every((all) => all.includes('FAIL'))) unnamed.push([number, ...outcomes]);
  }
  expect(unnamed).toEqual([]);
});
