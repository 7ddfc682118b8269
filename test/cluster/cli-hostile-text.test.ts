// Text of tenants, nodes and operators with characters that a terminal obeys or hides: no command
// prints one of them. The test injects such text into every string that another party can choose,
// on one bus. Then it runs all commands and checks their raw output.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeToken, openBucket } from '@bailiff/bus';
import { type EvidenceRecord, formatRecord, incident, linesOf } from '@bailiff/evidence/testing';
import { sampleCapture, sampleLsmViolation, samplePodIdentity } from '@bailiff/schemas/testing';
import { UNSAFE } from '@bailiff/service';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ArchiveWriter } from '../../apps/cli/src/operate/backup/archive.ts';
import { fileOf } from '../../apps/cli/src/operate/backup/manifest.ts';
import { makeProgram } from '../../apps/cli/src/run.ts';
import { captureCli } from '../../apps/cli/src/testing.ts';
import { healthyStatus, NODE_A, NODE_B, publishStory, uid, verdictId, violationOf, WEB, World } from './cli/world.ts';

/** One of each kind. */
const CHARACTERS = [
  ...['\u001b[31m', '\u001b]0;x\u0007', '\r', '\u0000', '\u007f', '\u009b2J', '\u00ad', '\u061c', '\u115f', '\u1160'],
  ...['\u180e', '\u200b', '\u2028', '\u2029', '\u202e', '\u2060', '\u2066', '\u206a', '\u2800', '\u3164', '\ufe0f'],
  ...['\ufeff', '\uffa0', '\ufff9', '\u{e0001}', '\u{e0041}', '\u{e0100}'],
];
const PLANTED = 'EVIL';
const FORGED = 'FORGED ROW';
/** A name with all of the characters, for long fields. */
const evil = (name: string) => `${PLANTED}-${name}${CHARACTERS.join('')}\n${FORGED}`;
/** For fields of at most 64 bytes. */
const short = (name: string) => `${PLANTED}-${name}\u001b[31m\u202e\u200b\u{e0041}\u2800\n${FORGED}`;

const OWNER = { kind: evil('kind'), name: evil('owner'), uid: uid(101) };
const EVIL_POD = { ...WEB, serviceAccount: evil('account'), ownerKind: OWNER.kind, ownerName: OWNER.name };
const POLICY = { description: evil('description'), message: evil('message'), tags: [short('tag')] };
const policyFile = (mode: string) =>
  JSON.stringify({
    apiVersion: 'bailiff.dev/v1alpha1',
    kind: 'RuntimePolicy',
    metadata: { name: 'hostile' },
    spec: {
      ...POLICY,
      mode,
      severity: 'high',
      rules: [
        {
          name: 'r',
          action: 'block',
          description: evil('rule'),
          execute: { paths: [`/bin/${PLANTED}-path\u202e\u200b`] },
        },
      ],
    },
  });

/** @returns ids of the responses that wait for approval */
async function plant(world: World): Promise<{ delete: string; evict: string }> {
  await publishStory(world);
  const at = world.t0Micros;
  const { sample } = violationOf(at, EVIL_POD);
  const process = { madeAt: at, tgid: 1, uid: 0, comm: short('comm'), executable: evil('exe'), cgroupId: short('cg') };
  const addresses = { claimedAddress: short('claimed'), claimedMac: short('mac'), expectedAddress: short('expected') };
  const operation = {
    ...(sampleLsmViolation().operation as NonNullable<ReturnType<typeof sampleLsmViolation>['operation']>),
    operation: short('operation'),
    subject: evil('subject'),
    address: short('address'),
    comm: short('comm'),
    executable: evil('exe'),
    parentExecutable: evil('parent'),
    arguments: [evil('argument')],
    containerName: evil('container'),
    containerId: short('id'),
    capabilities: short('caps'),
  };
  await world.frame(NODE_A, [
    violationOf(at, EVIL_POD, {
      vector: evil('vector'),
      counterEpoch: evil('epoch'),
      detail: evil('detail'),
      interfaceName: short('veth'),
      sample: sample && { ...sample, ...addresses, process: { ...process, containerName: evil('container') } },
    }),
    violationOf(
      at,
      { ...EVIL_POD, uid: uid(7), name: evil('pod'), namespace: evil('namespace') },
      { counterEpoch: 'x' },
    ),
    // `doctor --would-drop` counts it.
    violationOf(at, EVIL_POD, { action: 'audit', vector: evil('audited'), counterEpoch: 'y' }),
  ]);
  const lsm = { kind: 'lsm' as const, sample: null, operation, pod: EVIL_POD, firstSeenAt: at, lastSeenAt: at };
  const words = { message: evil('message'), tags: [evil('tag')], severity: short('severity'), policy: evil('key') };
  await world.frame(NODE_A, [sampleLsmViolation({ ...lsm, ...words, vector: evil('policy/rule') })]);
  // `policy promote` lists it.
  const promoted = { policy: 'runtime.cluster._.hostile', vector: 'hostile/r', action: 'audit' as const };
  await world.frame(NODE_A, [sampleLsmViolation({ ...lsm, ...words, ...promoted, counterEpoch: 'z' })]);
  const { uid: podUid, namespace, name } = WEB;
  const by = { tgid: 1, uid: 0, comm: short('comm'), executable: evil('exe'), parentExecutable: evil('parent') };
  const piece = { streamSequence: 1, index: 0, vector: evil('vector'), packets: 1 };
  const verdict = await world.verdict({
    verdictId: verdictId(0xeeee),
    rule: evil('rule'),
    groupKey: evil('group'),
    nodeName: evil('node'),
    pod: { uid: podUid, namespace, name, ownerKind: OWNER.kind, ownerName: OWNER.name, ownerUid: '' },
    vectors: [evil('vector')],
    reason: evil('reason'),
    tags: [evil('tag')],
    evidence: [
      {
        ...piece,
        process: { ...by, containerName: evil('container'), operation: short('op'), subject: evil('subject') },
      },
    ],
  });
  const capture = sampleCapture();
  const [captured, socket] = [capture.processes[0], capture.sockets[0]];
  if (!captured || !socket) throw new Error('a sample of a capture has both');
  const texts = { reason: evil('reason'), reasonCode: evil('code'), apiPath: evil('path'), apiVerb: short('verb') };
  const rest = { ...texts, rule: evil('rule'), ownerName: OWNER.name, ownerKind: OWNER.kind, policy: evil('policy') };
  const names = {
    container: evil('container'),
    comm: short('comm'),
    executable: evil('exe'),
    args: [evil('argument')],
  };
  await world.response(verdict, {
    action: 'capture',
    phase: 'succeeded',
    ...rest,
    capture: {
      ...capture,
      processes: [{ ...captured, ...names }],
      sockets: [{ ...socket, local: evil('local'), remote: short('remote'), state: short('state') }],
    },
  });
  const waiting = async (action: 'delete' | 'evict') =>
    (await world.response(verdict, { action, phase: 'pending', ...rest, policy: `${PLANTED}-${action}` })).responseId;
  const ids = { delete: await waiting('delete'), evict: await waiting('evict') };
  for (const node of [NODE_A, NODE_B]) await world.status(evilStatus(node));
  const pod = samplePodIdentity({
    uid: podUid,
    namespace,
    name,
    labels: { app: 'web', [short('label')]: evil('value') },
    serviceAccount: evil('account'),
    owners: [OWNER],
    containers: [{ name: evil('container'), id: short('id') }],
  });
  const other = { ...pod, uid: uid(7), name: evil('pod'), namespace: evil('namespace') };
  await world.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods: [pod, other] });
  await world.put('bailiff_pods', encodeToken(NODE_B), `{"nodeName": "${PLANTED}-node\u202e\u009b"`);
  const nodes = [NODE_A, NODE_B, evil('missing')].map((node) => ({ name: node, addresses: [], podCidrs: [] }));
  await world.put('bailiff_pods', '_cluster', { revision: 1, nodes });
  const entry = { verdictId: short('id'), until: '', reason: evil('reason') };
  const entries = [
    { podUid: uid(8), podNamespace: 'shop', podName: evil('pod'), ...entry },
    { podUid: uid(3), podNamespace: 'shop', podName: 'cart-1', ...entry },
    { podUid: uid(9), podNamespace: 'shop', podName: 'x', ...entry, until: evil('until') },
  ];
  await world.put('bailiff_quarantine', NODE_A, { nodeName: NODE_A, revision: 2, entries });
  const taints = { tainted: [evil('node')], taintedCount: 1, withheld: [evil('withheld')], withheldCount: 1 };
  const now = new Date().toISOString();
  for (const service of ['correlator', 'ipam-sync'])
    await world.put('bailiff_services', `${service}.one`, {
      service,
      instance: short('instance'),
      version: short('version'),
      startedAt: now,
      updatedAt: now,
      configRevision: 0,
      configRefused: [{ key: evil('key'), reason: evil('reason') }],
      taints: { ...taints, problem: evil('problem'), remedy: evil('remedy') },
    });
  // Written directly, without the checks of a client.
  const config = openBucket(await world.as('admin'), 'bailiff_config');
  const rule = { type: 'event_count', level: 'low', timespan: '60s', condition: { gte: 3 } };
  await config.put(
    'correlation.cluster._.hostile',
    JSON.stringify({ ...rule, description: evil('rule'), tags: [short('tag')] }),
  );
  await config.put('correlation.cluster._.refused', JSON.stringify({ ...rule, [evil('field')]: evil('value') }));
  await config.put('spoof.cluster._.default', `{"${PLANTED}\u202e\u009b": `);
  await config.put(`correlation.cluster._.second`, JSON.stringify({ ...rule, revision: 1 }));
  await config.put(
    'runtime.cluster._.hostile',
    JSON.stringify({ ...JSON.parse(policyFile('audit')).spec, revision: 1 }),
  );
  const note = ['--reason', evil('why'), '--by', evil('who'), '--yes'];
  await world.cli(['config', 'set', 'correlation.cluster._.hostile', 'level=high', ...note]);
  return ids;
}

function evilStatus(node: string) {
  const healthy = healthyStatus(node);
  const iface = {
    ...(healthy.interfaces[0] as NonNullable<(typeof healthy.interfaces)[0]>),
    interfaceName: short('veth'),
    coverage: 'partial' as const,
    reason: evil('reason'),
    podName: evil('pod'),
    podNamespace: evil('namespace'),
    addresses: [short('address')],
    mac: short('mac'),
    quarantinedUntil: short('until'),
  };
  const maps = [{ name: short('map'), used: 512, capacity: 512 }];
  const refused = [{ key: evil('key'), reason: evil('reason') }];
  return healthyStatus(node, {
    collectorVersion: evil('version'),
    bootId: evil('boot'),
    snapshotRefused: evil('refused'),
    configRefused: refused,
    interfaces: [...healthy.interfaces, iface],
    disarmedUntil: short('until'),
    maps,
    features: [{ name: short('feature'), available: false, reason: evil('reason'), remedy: evil('remedy') }],
    runtime: {
      state: 'available',
      reason: evil('reason'),
      remedy: evil('remedy'),
      missingHooks: [short('hook')],
      maps,
      policies: [
        { key: 'runtime.cluster._.hostile', revision: 1, state: 'refused', reason: evil('reason'), subjects: 1 },
        { key: evil('key'), revision: 1, state: 'refused', reason: evil('reason'), subjects: 1 },
      ],
      policiesOmitted: 0,
      refusedSubjects: [{ podUid: uid(1), container: evil('container'), reason: evil('reason') }],
      refusedSubjectsOmitted: 0,
      subjects: 1,
      sets: 1,
      losses: { [short('loss')]: 5 },
    },
  });
}

/** A backup with a manifest that Bailiff did not write. */
async function hostileBackup(file: string): Promise<void> {
  const writer = await ArchiveWriter.create(file);
  const { bytes, sha256 } = await writer.add(fileOf('VIOLATIONS'), async () => null);
  const at = '2026-01-01T00:00:00Z';
  await writer.finish({
    format: 'bailiff-backup',
    version: 1,
    bailiff: evil('version'),
    natsServer: evil('server'),
    startedAt: at,
    finishedAt: at,
    absent: [evil('absent')],
    streams: [
      {
        name: 'VIOLATIONS',
        bytes,
        sha256,
        config: { name: 'VIOLATIONS', num_replicas: 1 },
        state: { messages: 0, first_seq: 0, last_seq: 0 },
      },
    ],
  });
  await writer.close();
}

/** Commands that print no data of other parties. */
const OWN = [
  'bus setup',
  // A number of streams and messages, and its file.
  'backup',
  'responder rbac',
  'schemas export',
  // It prints its own key and a number.
  'evidence log',
  // Its own key, and sizes. A request is refused with a fixed text.
  'witness',
  // It prints the origin of a head, which is printable ASCII: evidence-log.test.ts.
  'evidence copy-log',
  ...['init', 'rotate', 'show', 'render', 'install', 'uninstall'].map((step) => `credentials ${step}`),
  'lab',
  'completion',
  '__complete',
  // test/cluster/cli-kubectl.test.ts
  'logs',
  // A service: test/cluster/console-visitors.test.ts looks at its pages.
  'console serve',
  // It prints a link alone. test/cluster/console.test.ts looks at its pages.
  'console',
];
/** Each command line, and how its output shows the injected text; empty: it prints none of it. */
const LINES: readonly [line: string, shows: readonly string[]][] = [
  ['status', ['reason', 'refused']],
  ['events --limit 50', ['vector', 'pod']],
  ['events --limit 50 --json', ['vector', 'argument', 'tag', 'container']],
  ['verdicts', ['rule']],
  ['verdicts --json', ['reason', 'subject']],
  ['verdicts -o yaml', ['reason', 'subject']],
  ['verdicts -o name', []],
  ['verdicts -o jsonpath={.items[*].rule}', ['rule']],
  ['top pods', []],
  ['top nodes', []],
  ['top rules', ['rule']],
  ['version', []],
  ['support-bundle --out SUPPORT', []],
  ['responses', ['reason']],
  ['responses --json', ['argument', 'local', 'path']],
  ['why shop/web-0', ['reason', 'subject']],
  ['why shop/web-0 --json', ['reason']],
  ['explain shop/web-0', ['reason', 'argument', 'subject']],
  ['explain shop/web-0 --json', ['reason', 'local']],
  [`evidence export ${verdictId(0xeeee)} --out FILE`, []],
  ['evidence verify BUNDLE', ['exporter']],
  ['evidence verify BUNDLE --json', ['exporter']],
  ['evidence verify BROKEN', ['stream']],
  ['timeline shop/web-0', ['vector', 'rule']],
  ['timeline shop/web-0 --json', ['vector', 'rule']],
  ['timeline shop/web-0 --html -', ['vector', 'rule']],
  ['restore BACKUP --dry-run', ['version']],
  ['replay --since 1h --speed max', ['vector', 'pod']],
  ['replay --since 1h --speed max --format json', ['vector', 'argument']],
  ['replay --since 1h --speed max --format cef', ['vector']],
  ['replay --since 1h --speed max --format ecs', ['vector']],
  ['backtest --since 1h --live', []],
  ['backtest --since 1h --rules MODES', []],
  ['config list', ['field', 'why', 'who']],
  ['config list --json', ['field', 'why']],
  ['config get correlation.cluster._.hostile', ['rule', 'who', 'why']],
  ['config get correlation.cluster._.refused', ['value']],
  ['config history correlation.cluster._.hostile', ['why', 'who']],
  ['config history correlation.cluster._.hostile --json', ['why', 'rule']],
  ['config effective shop/web-0', ['owner', 'why']],
  ['config effective shop/web-0 --json', ['owner', 'why']],
  ['config set correlation.cluster._.hostile level=low --dry-run', []],
  ['config set -f RULE correlation.cluster._.second --dry-run', ['other']],
  ['config set -f BAD correlation.cluster._.second --dry-run', ['field']],
  ['config validate -f BAD correlation.cluster._.second', ['field']],
  ['config rollback correlation.cluster._.hostile --dry-run', []],
  ['config delete correlation.cluster._.hostile --dry-run', []],
  ['config release correlation.cluster._.hostile --dry-run', []],
  ['config sign --sign KEY --dry-run', ['description']],
  ['config signer KEY', []],
  ['config sign-resource POLICY --sign KEY', ['description']],
  ['config export DIR', []],
  ['config import DIR --dry-run', []],
  ['policy list', []],
  ['policy show hostile', ['description', 'message']],
  ['policy show hostile --json', ['description', 'message']],
  ['policy history hostile', []],
  ['policy status', ['missing']],
  ['policy status hostile', ['missing']],
  ['policy status --json', ['missing']],
  ['policy diff POLICY', []],
  ['policy apply POLICY --full --dry-run', []],
  ['policy explain shop/web-0', ['path']],
  ['policy explain shop/web-0 --json', ['path']],
  ['policy rollback hostile --to 1 --dry-run', []],
  ['policy promote hostile --since all --dry-run', ['subject', 'exe', 'owner']],
  ['policy promote hostile --since all --dry-run --json', ['owner']],
  ['policy simulate STRICT --since all', ['subject', 'exe']],
  ['policy simulate STRICT --since all --json', ['subject', 'exe', 'owner']],
  ['policy delete hostile --dry-run', []],
  ['policy test POLICYCASES', ['case']],
  ['rules test RULECASES', ['case', 'owner']],
  ['rules test RULECASES --json', ['case']],
  ['rules import SIGMA', ['description']],
  ['rules import SIGMA --json', ['description']],
  ['rules import BADSIGMA', ['field']],
  ['rules export', ['rule']],
  ['policy learn --pod shop/web-0 --for 1s', []],
  ['policy learn --pod shop/web-0 --since all', []],
  ['quarantine list', ['pod', 'reason']],
  ['quarantine list --json', ['pod', 'reason']],
  ['quarantine list -o name', ['pod']],
  ['quarantine release shop/cart-1 --yes', []],
  ['disarm --node node-a --for 10m --reason EVIL --yes', []],
  ['doctor', ['key', 'problem', 'remedy']],
  ['doctor --json', ['key', 'problem']],
  ['doctor --would-drop', ['audited']],
  ['responses approve ID-delete --yes', ['rule']],
  ['responses deny ID-evict --yes', ['rule']],
];

const leaves = (command: ReturnType<typeof makeProgram>, names: string[] = []): string[] =>
  command.commands.length === 0
    ? [names.join(' ')]
    : command.commands.flatMap((one) => leaves(one as typeof command, [...names, one.name()]));

describe('hostile text - no command prints it unescaped', () => {
  let world: World;
  let services: AsyncDisposable;
  const files: Record<string, string> = {};
  beforeAll(async () => {
    world = await World.start();
    const ids = await plant(world);
    files['ID-delete'] = ids.delete;
    files['ID-evict'] = ids.evict;
    services = await world.services(['correlator']);
    const file = (name: string, text: string) => {
      files[name] = path.join(world.directory, `${name}.json`);
      writeFileSync(files[name], text);
    };
    const rule = { type: 'event_count', level: 'low', timespan: '60s', condition: { gte: 3 } };
    file('RULE', JSON.stringify({ ...rule, description: evil('other') }));
    file('BAD', JSON.stringify({ ...rule, [evil('field')]: evil('value') }));
    file('MODES', JSON.stringify({ 'spoof.cluster._.default': { modes: { 'ipv4-source': 'off' } } }));
    file('POLICY', policyFile('enforce'));
    const blocked = { file: 'block', execute: 'block', network: 'block', capability: 'block', kernel: 'block' };
    const strict = { kind: 'RuntimePolicy', metadata: { name: 'strict' }, spec: { defaultPosture: blocked } };
    file('STRICT', JSON.stringify(strict));
    file('KEY', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const made = incident();
    const [header = '', ...lines] = linesOf({ ...made, header: { ...made.header, exporter: evil('exporter') } });
    file('BUNDLE', [header, ...lines, ''].join('\n'));
    file(
      'BROKEN',
      [header, formatRecord({ ...(made.records[0] as EvidenceRecord), stream: evil('stream') }), ''].join('\n'),
    );
    const name = evil('case');
    const execute = { name, operation: 'execute', path: '/bin/sh', expect: 'kill' };
    file('POLICYCASES', JSON.stringify({ policies: [files['POLICY']], tests: [execute] }));
    const events = [{ pod: 'shop/web-0', vector: 'ipv4-source', count: 10 }];
    file('RULECASES', JSON.stringify({ tests: [{ name, events, verdicts: [{ rule: evil('owner') }] }] }));
    const detection = { selection: { kind: 'lsm' }, condition: 'selection' };
    const base = { title: 'x', name: 'base', logsource: { product: 'bailiff', service: 'violations' }, detection };
    const correlation = {
      type: 'event_count',
      rules: ['base'],
      'group-by': ['pod.uid'],
      timespan: '5m',
      condition: { gte: 1 },
    };
    const whole = { title: 'y', description: evil('description'), level: 'low', correlation };
    const documents = (...all: object[]) => all.map((one) => JSON.stringify(one)).join('\n---\n');
    file('SIGMA', documents(base, whole));
    file('BADSIGMA', documents({ ...base, [evil('field')]: 1 }, whole));
    files['FILE'] = path.join(world.directory, 'hostile.evidence');
    files['DIR'] = path.join(world.directory, 'tree');
    files['BACKUP'] = path.join(world.directory, 'backup.tar');
    await hostileBackup(files['BACKUP']);
    files['SUPPORT'] = path.join(world.directory, 'bundle.tar.gz');
    files['EVIL'] = evil('reason');
  });
  afterAll(async () => {
    await services?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });

  it('every command is tested, or shows no foreign data', () => {
    const tried = (name: string) => LINES.some(([line]) => `${line} `.startsWith(`${name} `));
    expect(leaves(makeProgram(captureCli().io)).filter((name) => !tried(name) && !OWN.includes(name))).toEqual([]);
  });

  const words = (line: string) => line.split(' ').map((word) => files[word] ?? word);
  /** Terminal styles of the command itself; no other text can contain one (terminal.ts). */
  const esc = '\u001b';
  const OWN_STYLES = new RegExp(`${esc}\\[(?:(?:0|1|2|31|32|33|36);?)+m|\r${esc}\\[K`, 'g');
  const check = (text: string) => {
    const own = text.replaceAll(OWN_STYLES, '');
    const found = [...own.matchAll(UNSAFE)].filter(([character]) => character !== '\n');
    expect(
      found.map(({ 0: character, index }) => [
        character.codePointAt(0)?.toString(16),
        own.slice(index - 40, index + 20),
      ]),
    ).toEqual([]);
    expect(own.split('\n').filter((one) => one.trimStart().startsWith(FORGED))).toEqual([]);
  };

  it('timeline --html FILE - the file is as safe as the output', async () => {
    const file = path.join(world.directory, 'timeline.html');
    await world.cli(['timeline', 'shop/web-0', '--html', file]);
    const html = readFileSync(file, 'utf8');
    check(html);
    expect(html).toContain(`${PLANTED}-vector`);
  });

  it.each(LINES)('%s', async (line, shows) => {
    const args = words(line);
    const run = await world.cli(args);
    check(run.stdout);
    check(run.stderr);
    for (const one of shows) expect(run.stdout + run.stderr).toContain(`${PLANTED}-${one}`);
    if (line.includes('--yes')) return;
    const onTerminal = await world.cli(args, { terminal: 400 });
    check(onTerminal.stdout);
    check(onTerminal.stderr);
  });
});
