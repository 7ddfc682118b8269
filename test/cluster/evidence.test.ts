// Evidence of verdicts of a real correlator: exported under the rights of the cli, and verified without a
// bus to the same id and level.
import { appendFileSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { publishOnce, responseSubject } from '@bailiff/bus';
import { makeFrame, makeViolation, operationSample, packetSample, podRef } from '@bailiff/correlation/testing';
import { keyOf } from '@bailiff/evidence/testing';
import { encodeResponse, encodeViolationFrame, type PodRef, type Verdict } from '@bailiff/schemas';
import { sampleResponse } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const owner = { ownerKind: 'ReplicaSet', ownerName: 'web', ownerUid: 'rs-1' };
const web = podRef('web', owner);
const web2 = podRef('web-2', owner);
const neighbour = podRef('neighbour');
const far = podRef('far');
const ADDRESS = '192.0.2.77';
const SECRET = '--password=hunter2';

let rig: CorrelatorRig;
beforeAll(async () => {
  rig = await CorrelatorRig.start();
  writeFileSync(path.join(rig.directory, 'cli.password'), 'password-of-cli', { mode: 0o600 });
  for (const [name, seed] of [
    ['exporter', 1],
    ['other', 9],
  ] as const) {
    const { privateKey, publicKey } = keyOf(seed);
    writeFileSync(path.join(rig.directory, `${name}.key`), privateKey.export({ format: 'pem', type: 'pkcs8' }));
    writeFileSync(path.join(rig.directory, `${name}.pub`), publicKey.export({ format: 'pem', type: 'spki' }));
  }
  await rig.list(NODE_A, [web, neighbour]);
  await rig.list(NODE_B, [far, web2]);
  await rig.rule('by-owner', {
    type: 'event_count',
    level: 'critical',
    timespan: '60s',
    condition: { gte: 30 },
    'group-by': 'owner',
    selection: { vectors: ['arp-sender'] },
  });
  await rig.correlator();
  await rig.settle();
}, 60_000);
afterAll(() => rig?.[Symbol.asyncDispose]());

const file = (name: string) => path.join(rig.directory, name);
const withBus = () => ({ BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: file('cli.password') });
const exported = (verdict: Verdict, name: string, ...more: string[]) =>
  runCli(['evidence', 'export', verdict.verdictId.slice(0, 12), '--out', file(name), ...more], { env: withBus() });
/** Without a bus. */
const verified = async (name: string, ...more: string[]) => {
  const run = await runCli(['evidence', 'verify', file(name), '--key', file('exporter.pub'), '--json', ...more], {});
  const { checks } = JSON.parse(run.stdout) as { checks: { name: string; outcome: string; detail: string }[] };
  return { exitCode: run.exitCode, of: Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome])), checks };
};
/** The bytes of all messages of a bundle, as text. */
const contentsOf = (name: string) =>
  (readFileSync(file(name), 'utf8').match(/"[A-Za-z0-9+/=]+"/g) ?? [])
    .map((word) => Buffer.from(word, 'base64').toString('latin1'))
    .join('');
const WITHOUT_LOG = {
  format: 'PASS',
  signature: 'PASS',
  records: 'PASS',
  content: 'PASS',
  digest: 'PASS',
  'log-head': 'SKIP',
  witness: 'SKIP',
  inclusion: 'SKIP',
  consistency: 'SKIP',
  verdict: 'PASS',
  evidence: 'PASS',
  judged: 'PASS',
  responses: 'PASS',
};

async function attack(pod: PodRef, node: typeof NODE_A | typeof NODE_B, packets: number): Promise<Verdict> {
  const before = rig.verdicts.length;
  const sample = packetSample({ claimedAddress: ADDRESS, observedAt: Date.now() * 1000 });
  await rig.spoof(node, pod, packets - 1, { sample });
  await rig.spoof(node, pod, 1, { sample });
  await rig.verdictCount(before + 1);
  return rig.verdicts[before] as Verdict;
}

describe('evidence - of a verdict by pod', () => {
  let verdict: Verdict;
  beforeAll(async () => {
    await rig.spoof(NODE_A, neighbour, 3);
    await rig.spoof(NODE_B, far, 3);
    const operation = operationSample({ operation: 'execute', arguments: ['tool', SECRET] });
    await rig.spoof(NODE_A, neighbour, 1, makeViolation({ kind: 'lsm', pod: neighbour, sample: null, operation }));
    verdict = await attack(web, NODE_A, 10);
    const response = sampleResponse({
      verdictId: verdict.verdictId,
      responseId: 'r'.repeat(32),
      recordedAt: Date.now() * 1000,
      podUid: web.uid,
      podNamespace: web.namespace,
      podName: web.name,
      phase: 'succeeded',
      action: 'delete',
    });
    await publishOnce(await rig.bus('responder'), responseSubject(response), encodeResponse(response));
  });

  it('export, then verify without a bus - the same verdict id and level, and what the responder did', async () => {
    const run = await exported(verdict, 'one', '--key', file('exporter.key'));
    expect([run.exitCode, run.stderr]).toEqual([0, '']);
    expect(run.stdout).toMatch(/PASS {2}judged .*give the same verdict id, level and target/);
    expect(run.stdout).toMatch(/What the responder then did\n.*delete succeeded/);
    expect(await verified('one')).toMatchObject({ exitCode: 11, of: WITHOUT_LOG });
    // Only the frames of its node.
    expect(readFileSync(file('one'), 'utf8')).not.toContain('node-b');
  });

  it('signature - with another key it fails; without one it is skipped', async () => {
    const other = await verified('one', '--key', file('other.pub'));
    expect(other).toMatchObject({ exitCode: 10, of: { ...WITHOUT_LOG, signature: 'FAIL' } });
    const { stdout, exitCode } = await runCli(['evidence', 'verify', file('one')], {});
    expect([exitCode, stdout]).toEqual([
      11,
      expect.stringContaining("SKIP  signature    needs the exporter's public key"),
    ]);
    expect(stdout).toContain('No check failed, but not all were made: 8 passed, 0 failed, 5 skipped');
  });

  it('a changed file, and one that is not evidence - fail with exit code 10', async () => {
    const text = readFileSync(file('one'), 'utf8');
    writeFileSync(file('changed'), text.replace(/"exporter":"/, '"exporter":"x'));
    expect(await verified('changed')).toMatchObject({ exitCode: 10, of: { digest: 'FAIL', judged: 'PASS' } });
    for (const [form, changed] of Object.entries({ 'without-end': text.slice(0, -1), 'an-empty-line': `${text}\n` })) {
      writeFileSync(file(form), changed);
      expect(await verified(form)).toMatchObject({ exitCode: 10, of: { format: 'FAIL', digest: 'SKIP' } });
    }
    writeFileSync(file('none'), 'x'.repeat(9 * 1024 * 1024));
    expect(await verified('none')).toMatchObject({ exitCode: 10, of: { format: 'FAIL', judged: 'SKIP' } });
  });

  it('redacted - arguments and addresses are gone, and it is judged to the same verdict', async () => {
    expect(contentsOf('one')).toContain(ADDRESS);
    expect(contentsOf('one')).toContain(SECRET);
    const run = await exported(verdict, 'redacted', '--key', file('exporter.key'), '--redact', 'argument,address');
    expect([run.exitCode, run.stderr]).toEqual([0, '']);
    expect(contentsOf('redacted')).not.toContain(ADDRESS);
    expect(contentsOf('redacted')).not.toContain(SECRET);
    expect(await verified('redacted')).toMatchObject({ exitCode: 11, of: WITHOUT_LOG });
  });

  it('usage - an existing file is kept; other errors leave none', async () => {
    const again = await exported(verdict, 'one');
    expect([again.exitCode, again.stderr]).toEqual([2, expect.stringContaining('exists')]);
    expect(await verified('one')).toMatchObject({ of: WITHOUT_LOG });
    const wrong = await exported(verdict, 'two', '--redact', 'names');
    expect([wrong.exitCode, wrong.stderr]).toEqual([
      2,
      expect.stringContaining('"names" is none of argument, address'),
    ]);
    const gone = await exported({ ...verdict, verdictId: 'f'.repeat(32) }, 'two');
    expect([gone.exitCode, gone.stderr]).toEqual([2, expect.stringContaining('no verdict id')]);
    expect(() => readFileSync(file('two'))).toThrow(/ENOENT/);
  });
});

describe('evidence - with a log', () => {
  const logArgs = (key: string) => [
    ...['evidence', 'log', '--dir', file('log'), '--key', file(`${key}.key`), '--origin', 'bailiff.test/log'],
  ];
  /** Keeps a log while `work` runs. @returns the verifier key that it prints */
  async function logging(key: string, work: () => Promise<void>): Promise<string> {
    const end = new AbortController();
    const running = runCli(logArgs(key), { env: withBus(), signal: end.signal });
    try {
      await work();
    } finally {
      end.abort();
    }
    const { stdout, exitCode, stderr } = await running;
    expect([exitCode, stderr]).toEqual([0, expect.stringMatching(/^log bailiff.test\/log, \d+ messages/)]);
    return stdout.trim();
  }
  const exportedWithLog = (verdict: Verdict, name: string) =>
    waitFor(
      async () => {
        const run = await exported(verdict, name, '--key', file('exporter.key'), '--log', file('log'));
        return run.exitCode === 0 ? run : null;
      },
      { what: 'an export with proofs' },
    );
  const sizeOf = () => Number(readFileSync(path.join(file('log'), 'checkpoint'), 'utf8').split('\n')[1]);

  it('every message is proven; the kept head stays consistent; a restart and a new key continue the log', async () => {
    const verdict = rig.verdicts[0] ?? (await attack(web, NODE_A, 10));
    const first = await logging('other', () => exportedWithLog(verdict, 'logged').then(() => undefined));
    const head = file('head');
    writeFileSync(head, readFileSync(path.join(file('log'), 'checkpoint')));
    const proven = { ...WITHOUT_LOG, 'log-head': 'PASS', inclusion: 'PASS' };
    expect(await verified('logged', '--log-key', first)).toMatchObject({ exitCode: 11, of: proven });
    // The head that the bundle has.
    const note = (
      JSON.parse(`"${/"proof":"((?:[^"\\]|\\.)*)"/.exec(readFileSync(file('logged'), 'utf8'))?.[1]}"`) as string
    )
      .split('\n\n')
      .slice(1)
      .join('\n\n');
    writeFileSync(file('own-head'), note);
    expect(await verified('logged', '--log-key', first, '--head', file('own-head'))).toMatchObject({
      exitCode: 11,
      of: { ...proven, consistency: 'PASS' },
    });
    const before = sizeOf();
    // Cut within a write: what no head covers is written again.
    for (const name of ['hashes-0', ...readdirSync(file('log')).filter((one) => one.startsWith('index-VERDICTS'))]) {
      appendFileSync(path.join(file('log'), name), Buffer.alloc(16, 255));
    }
    const later = await attack(far, NODE_B, 10);
    const second = await logging('exporter', () => exportedWithLog(later, 'later').then(() => undefined));
    expect(sizeOf()).toBeGreaterThan(before);
    expect(await verified('later', '--log-key', second)).toMatchObject({ of: proven });
    // The former key signed the former heads alone.
    expect(await verified('later', '--log-key', first)).toMatchObject({ exitCode: 10, of: { 'log-head': 'FAIL' } });
    expect(await verified('logged', '--log-key', second, first)).toMatchObject({ of: proven });
    // The restarted log begins with the former one, whichever of the two heads was kept.
    const proven2 = { of: { ...proven, consistency: 'PASS' } };
    const keys = ['--log-key', first, second];
    const checked = (name: string, kept: string, dir = 'log') =>
      verified(name, ...keys, '--head', kept, '--log', file(dir));
    expect(await checked('later', head)).toMatchObject({ exitCode: 11, ...proven2 });
    expect(await checked('logged', path.join(file('log'), 'checkpoint'))).toMatchObject({ exitCode: 11, ...proven2 });
    expect(await verified('later', ...keys, '--head', head)).toMatchObject({ of: { consistency: 'SKIP' } });
    // No copy of the log, and so no proof.
    expect(await checked('later', head, 'no-copy')).toMatchObject({ exitCode: 11, of: { consistency: 'SKIP' } });
    // A log that was rewritten cannot prove it.
    cpSync(file('log'), file('rewritten'), { recursive: true });
    const hashes = readFileSync(path.join(file('log'), 'hashes-0'));
    writeFileSync(path.join(file('rewritten'), 'hashes-0'), hashes.fill(7));
    expect(await checked('later', head, 'rewritten')).toMatchObject({ exitCode: 10, of: { consistency: 'FAIL' } });
  });

  it('a message that is not in the log - no file, and a reason', async () => {
    const verdict = await attack(neighbour, NODE_A, 10);
    const { exitCode, stderr } = await exported(verdict, 'absent', '--log', file('log'));
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/the log does not contain V/)]);
    expect(existsSync(file('absent'))).toBe(false);
    const none = await exported(verdict, 'absent', '--log', file('no-log'));
    expect([none.exitCode, none.stderr]).toEqual([2, expect.stringContaining('has no log')]);
  });
});

describe('evidence - of a verdict that several nodes caused', () => {
  it('by owner, under a rule of the operator - the frames of all nodes, and the same verdict', async () => {
    await rig.spoof(NODE_A, web, 16, { vector: 'arp-sender' });
    // Its frame reaches the threshold, and the verdict is about the pod with most packets.
    await rig.spoof(NODE_B, web2, 14, { vector: 'arp-sender' });
    const byOwner = () => rig.verdicts.find(({ rule }) => rule === 'by-owner');
    const verdict = await waitFor(byOwner, { what: 'the verdict', state: () => rig.verdicts.map(({ rule }) => rule) });
    expect([verdict.nodeName, verdict.pod?.name]).toEqual([NODE_A, web.name]);
    const explained = await runCli(['explain', verdict.verdictId.slice(0, 12), '--json'], { env: withBus() });
    const { violations } = JSON.parse(explained.stdout) as {
      violations: { nodeName: string; pod: { name: string } }[];
    };
    const places = new Set(violations.map(({ nodeName, pod }) => `${pod.name} on ${nodeName}`));
    expect(places).toEqual(new Set([`${web.name} on ${NODE_A}`, `${web2.name} on ${NODE_B}`]));
    const run = await exported(verdict, 'owner', '--key', file('exporter.key'));
    expect([run.exitCode, run.stderr]).toEqual([0, '']);
    expect(await verified('owner')).toMatchObject({ exitCode: 11, of: WITHOUT_LOG });
    expect(readFileSync(file('owner'), 'utf8')).toContain('node-b');
  });

  it.each([
    ['control: the log stays', false],
    ['the log is made again', true],
  ])('CONFIG_LOG, %s - the same verdict, and where its configuration begins', async (_, isMadeAgain) => {
    const verdict = rig.verdicts.find(({ rule }) => rule === 'by-owner') as Verdict;
    if (isMadeAgain) await rig.recreateConfigLog();
    const name = `made-again-${isMadeAgain}`;
    expect(await exported(verdict, name, '--key', file('exporter.key'))).toMatchObject({ exitCode: 0 });
    const { of, checks } = await verified(name);
    expect(of).toEqual(WITHOUT_LOG);
    const { detail } = checks.find((check) => check.name === 'judged') as { detail: string };
    expect(/from before \d{4}-.*by the first rules of CONFIG_LOG/.test(detail)).toBe(isMadeAgain);
  });
});

describe('evidence - when the pods are gone', () => {
  it('a node that reported a pod of another one - its dead letter is the refusal that the verdict is about', async () => {
    const claim = makeFrame([makeViolation({ pod: far })], { nodeName: NODE_A, frameSequence: 1_000_000 });
    await rig.frame(claim);
    const ofNode = () => rig.verdicts.find(({ rule }) => rule === 'foreign-pod-claims');
    const verdict = await waitFor(ofNode, { what: 'the verdict', state: () => rig.deadLetters });
    await waitFor(() => rig.deadLetters.length > 0, { what: 'the dead letter' });
    expect(await exported(verdict, 'claim', '--key', file('exporter.key'))).toMatchObject({ exitCode: 0 });
    expect(await verified('claim')).toMatchObject({ exitCode: 11, of: WITHOUT_LOG });
  });

  it('by owner - judged needs the lists of before; by pod, it does not', async () => {
    const [byOwner, byPod] = ['by-owner', 'repeated-spoofing'].map(
      (name) => rig.verdicts.find(({ rule, pod }) => rule === name && pod?.ownerUid === 'rs-1') as Verdict,
    );
    await rig.list(NODE_A, [podRef('later')]);
    await rig.list(NODE_B, [podRef('later-too')]);
    await rig.settle();
    for (const [verdict, judged] of [
      [byOwner, 'SKIP'],
      [byPod, 'PASS'],
    ] as const) {
      const name = `gone-${verdict?.rule}`;
      expect(await exported(verdict as Verdict, name, '--key', file('exporter.key'))).toMatchObject({ exitCode: 0 });
      expect(await verified(name)).toMatchObject({ exitCode: 11, of: { ...WITHOUT_LOG, judged } });
    }
  });
});

describe('evidence - of a node whose frames no reader takes', () => {
  /** A frame with a list or a string of any length, as an encoder of the node's own writes it. */
  const hostile = (items: readonly string[]) => {
    const operation = operationSample({ operation: 'execute', arguments: ['ZZZZ'] });
    const violation = makeViolation({ kind: 'lsm', pod: odd, sample: null, operation });
    const frame = Buffer.from(encodeViolationFrame(makeFrame([violation], { nodeName: NODE_B, frameSequence: 2e6 })));
    const long = (value: number): number[] => (value < 128 ? [value] : [(value % 128) | 128, ...long(value >> 7)]);
    const written = items.flatMap((item) => [...long(item.length * 2), ...Buffer.from(item)]);
    const [before, after] = frame.toString('latin1').split('\u0002\u0008ZZZZ\0') as [string, string];
    return Buffer.from(
      `${before}${Buffer.from([...long(items.length * 2), ...written, 0]).toString('latin1')}${after}`,
      'latin1',
    );
  };
  const odd = podRef('odd');

  const check = async (verdict: Verdict, name: string, judged: 'PASS' | 'SKIP') => {
    expect(await exported(verdict, name, '--key', file('exporter.key'))).toMatchObject({ exitCode: 0 });
    expect(await verified(name)).toMatchObject({ exitCode: 11, of: WITHOUT_LOG });
    const redacted = `${name}-redacted`;
    const options = ['--key', file('exporter.key'), '--redact', 'argument,address'];
    expect(await exported(verdict, redacted, ...options)).toMatchObject({ exitCode: 0 });
    expect(await verified(redacted)).toMatchObject({ exitCode: 11, of: { ...WITHOUT_LOG, judged } });
    expect(contentsOf(redacted)).not.toContain('hunter2');
  };

  const checkOf = async (name: string, items: readonly string[]) => {
    const pod = podRef(`odd-${items.length}-${items[0]?.length}`);
    await rig.list(NODE_B, [far, web2, odd, pod]);
    await rig.settle();
    await rig.publish(NODE_B, hostile(items));
    await rig.spoof(NODE_B, pod, 10);
    const byPod = () => rig.verdicts.find((verdict) => verdict.pod?.uid === pod.uid);
    const verdict = await waitFor(byPod, { what: 'the verdict', state: () => rig.verdicts.map(({ rule }) => rule) });
    await check(verdict, name, 'PASS');
  };

  it('control: short lists - its verdicts have evidence, also redacted', () => checkOf('short', ['a', SECRET]));

  it('200,000 arguments - its verdicts have evidence; redacted, the one about the node is not judged again', async () => {
    await checkOf(
      'list',
      Array.from({ length: 200_000 }, () => 'a'),
    );
    const ofNode = rig.verdicts.find(({ rule, nodeName }) => rule === 'foreign-pod-claims' && nodeName === NODE_B);
    expect(ofNode?.reason).toContain('invalid-frame');
    await check(ofNode as Verdict, 'of-node', 'SKIP');
  });

  it('a long argument - its verdicts have evidence, also redacted', () => checkOf('long', [SECRET.repeat(100)]));
});

describe('evidence - when VIOLATIONS has deleted older frames', () => {
  it('that the verdict only depends on - judged lacks them; that it names - no file, and a reason', async () => {
    await rig.rule('slow', {
      type: 'event_count',
      level: 'high',
      timespan: '60s',
      condition: { gte: 40 },
      'group-by': 'pod',
      selection: { vectors: ['arp-sender'] },
    });
    const slow = podRef('slow');
    await rig.list(NODE_A, [slow]);
    await rig.settle();
    // The evidence of a verdict has 32 pieces.
    const sequences: number[] = [];
    while (sequences.length < 40) sequences.push(await rig.spoof(NODE_A, slow, 1, { vector: 'arp-sender' }));
    const bySlow = () => rig.verdicts.find(({ rule }) => rule === 'slow');
    const verdict = await waitFor(bySlow, { what: 'the verdict', state: () => rig.verdicts.map(({ rule }) => rule) });
    const exportFrom = async (name: string, first: number) => {
      const { state } = await rig.admin.jsm.streams.info('VIOLATIONS');
      await rig.admin.jsm.streams.update('VIOLATIONS', { max_msgs: state.last_seq - first + 1 });
      return exported(verdict, name, '--key', file('exporter.key'));
    };
    expect(await exportFrom('warm', sequences[0] as number)).toMatchObject({ exitCode: 0 });
    expect((await verified('warm')).of).toEqual(WITHOUT_LOG);
    expect(await exportFrom('cut', sequences[4] as number)).toMatchObject({ exitCode: 0 });
    expect((await verified('cut')).of).toEqual({ ...WITHOUT_LOG, judged: 'SKIP' });
    const { exitCode, stderr } = await exportFrom('lost', sequences[20] as number);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('are no longer on the bus')]);
    expect(existsSync(file('lost'))).toBe(false);
  });
});
