// containerd and runc, driven through the CRI, under the ready-made policies: a sandbox and its
// containers start, are entered (as by exec probes), crash and restart under all policies at once,
// and each policy denies an attack in a container. test/cri has the pods' packets.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PAUSE, writeImage } from '../support/cri/image.ts';
import type { CriContainer, CriSandbox } from '../support/cri/pod.ts';
import { CriRuntime } from '../support/cri/runtime.ts';
import { compileProgram } from '../vm/compile.ts';
import { acts, LOAD_TIMEOUT_MS, type Pod, source } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { operations, READY, readySet } from './scenarios-rig.ts';

const METADATA = '169.254.169.254';
const TOKEN = '/run/secrets/kubernetes.io/serviceaccount/token';

interface Attack {
  /** Words of acts.c. */
  readonly words: readonly string[];
  /** Lines of the attack without the policy, and under it. */
  readonly landed: readonly string[];
  readonly refused: readonly string[];
  /** The rule that refuses it. */
  readonly rule: string;
}

const attack = (rule: string, words: string[], landed: string[], refused: string[]): Attack => ({
  rule,
  words,
  landed,
  refused,
});
/** An act whose line ends with its outcome. */
const act = (rule: string, words: string[], object: string): Attack =>
  attack(rule, words, [`${words[0]} ${object}: ok`], [`${words[0]} ${object}: EPERM`]);

const ALG = ['run', '/bin/scenario-ops', 'alg'];
const READ = ['run', '/bin/sh', 'map-plain', TOKEN];
/** By policy, in groups in which no policy refuses the attack on another one. */
const GROUPS: readonly Readonly<Record<string, Attack>>[] = [
  {
    'af-alg': attack(
      'alg-socket',
      ALG,
      ['landed', 'run /bin/scenario-ops: ok'],
      ['socket: EPERM', 'run /bin/scenario-ops: exit 1'],
    ),
    'metadata-guard': act('metadata', ['connect', METADATA], METADATA),
    'no-crypto-miners': attack(
      'miner-programs',
      ['run', '/bin/xmrig'],
      ['run /bin/xmrig: ok'],
      ['run /bin/xmrig: signal 9'],
    ),
    'no-fileless-exec': act('memory', ['memfd', '/bin/fine'], 'memfd'),
    'no-raw-sockets': act('raw', ['raw-socket'], ''),
    'service-account-token-guard': attack(
      'token-by-shell',
      READ,
      [`map-plain ${TOKEN}: ok`, 'run /bin/sh: ok'],
      [`map-plain ${TOKEN}: EPERM`, 'run /bin/sh: ok'],
    ),
    // It changes the namespaces of its process, so it is the last one.
    'escape-guard': act('user-namespaces', ['unshare-user'], ''),
  },
  {
    'immutable-image': attack(
      'drift',
      ['copy', '/bin/fine', '/bin/x', 'run', '/bin/x'],
      ['copy /bin/x: ok', 'run /bin/x: ok'],
      ['copy /bin/x: ok', 'run /bin/x: EPERM'],
    ),
    'no-shell': act('shell', ['run', '/bin/sh'], '/bin/sh'),
  },
];
/** Allowed beside the attacks: the token for the container's own program, and another program. */
const BESIDE = ['map-plain', TOKEN, 'run', '/bin/fine', ','];
const PASSED = [`map-plain ${TOKEN}: ok`, 'run /bin/fine: ok'];

const missing = CriRuntime.missing();

describe('containerd', () => {
  if (missing !== null) {
    it('a container runtime', ({ skip }) => skip(missing));
    return;
  }

  const rig = useRig();
  let dir = '';
  let pod: Pod;
  let cri: CriRuntime;
  let sandbox: CriSandbox;
  let app: CriContainer;
  beforeAll(async () => {
    execFileSync('ip', ['addr', 'add', `${METADATA}/32`, 'dev', 'lo']);
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-cri-'));
    for (const name of ['net.d', 'results']) mkdirSync(path.join(dir, name));
    const token = path.join(dir, 'token');
    writeFileSync(token, 'eyJhbGciOi');
    const pause = compileProgram(source('../programs/pause.c'), { flags: ['-static'] });
    const copies = Object.fromEntries(['acts', 'fine', 'sh', 'xmrig'].map((name) => [`/bin/${name}`, acts()]));
    const image = writeImage(dir, { ...copies, [PAUSE]: pause, '/bin/scenario-ops': operations(), [TOKEN]: token });
    const cni = { confDir: path.join(dir, 'net.d'), binDir: '/usr/lib/cni', resultsDir: path.join(dir, 'results') };
    cri = await CriRuntime.start({ dir, cni, cgroupParent: '/kubepods/burstable', sharesNamespaces: true }, image);
    pod = rig.pod();
    pod.put(readySet(...READY));
    const uid = path.basename(pod.cgroup).slice('pod'.length);
    sandbox = await cri.runSandbox({ uid, namespace: 'shop', name: 'web', hostNetwork: true });
    app = await sandbox.start('app', { command: [PAUSE] });
  }, LOAD_TIMEOUT_MS);
  afterAll(async () => {
    await cri?.[Symbol.asyncDispose]();
    execFileSync('ip', ['addr', 'del', `${METADATA}/32`, 'dev', 'lo']);
    rmSync(dir, { recursive: true, force: true });
  }, LOAD_TIMEOUT_MS);

  it('all ready-made policies at once - start, exec, probe, a later container, its crash and restart are uncounted', async () => {
    expect(await app.exec('/bin/acts', ...BESIDE)).toEqual({ code: 0, lines: PASSED });
    const crashing = await sandbox.start('worker', { command: ['/bin/scenario-ops', 'crash'] });
    expect(await crashing.exit()).toBe(139);
    await crashing.remove();
    const again = await sandbox.start('worker', { attempt: 1, command: ['/bin/scenario-ops', 'quick'] });
    expect([await again.exit(), again.lines]).toEqual([0, ['landed']]);
    expect(pod.counts()).toEqual({});
    const { code, lines } = await app.exec('/bin/sh');
    expect([code === 0, lines.join()]).toEqual([false, expect.stringContaining('not permitted')]);
    expect(pod.counts()).toEqual({ shell: 1 });
  });

  it('control - without a policy every attack lands in the container', async () => {
    rig.object.maps.pods.delete(pod.uid);
    const attacks = GROUPS.toReversed().flatMap((group) => Object.values(group));
    const { lines } = await app.exec('/bin/acts', ...attacks.flatMap(({ words }) => [...words, ',']));
    expect(lines).toEqual(attacks.flatMap(({ landed }) => landed));
  });

  it('every ready-made policy has its attack', () => {
    expect(GROUPS.flatMap((group) => Object.keys(group)).sort()).toEqual([...READY].sort());
  });

  it.each(GROUPS.map((group) => [Object.keys(group).join(', '), group] as const))(
    '%s - each denies its attack in the container, and nothing else',
    async (_policies, group) => {
      pod.put(readySet(...Object.keys(group)));
      const attacks = Object.values(group);
      const { lines } = await app.exec('/bin/acts', ...BESIDE, ...attacks.flatMap(({ words }) => [...words, ',']));
      expect(lines).toEqual([...PASSED, ...attacks.flatMap(({ refused }) => refused)]);
      expect(pod.counts()).toEqual(Object.fromEntries(attacks.map(({ rule }) => [rule, 1])));
    },
  );

  it('all ready-made policies at once - the sandbox is removed', async () => {
    pod.put(readySet(...READY));
    await sandbox.remove();
    const { items } = await cri.client.runtime<{ items: object[] }>('ListPodSandbox');
    expect([items, pod.counts()]).toEqual([[], {}]);
  });
});
