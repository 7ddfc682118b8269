// containerd and runc, driven through the CRI, under the ready-made policies: a sandbox and its
// containers start, are entered and probed, crash, restart and are joined under all policies at
// once, and each policy denies an operation in a container. test/cri has the pods' packets.
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
const QUICK = ['/bin/scenario-ops', 'quick'];

interface Denied {
  /** Words of acts.c. */
  readonly attack: readonly string[];
  readonly landed: readonly string[];
  readonly refused: readonly string[];
  readonly rule: string;
}

const ALG = ['run', '/bin/scenario-ops', 'alg'];
const READ = ['run', '/bin/sh', 'map-plain', TOKEN];
const denied = (attack: string[], landed: string[], refused: string[], rule: string): Denied => ({
  ...{ attack, landed, refused, rule },
});
/** By policy. The last attack changes the namespaces of its process. */
const DENIED: Readonly<Record<string, Denied>> = {
  'af-alg': denied(
    ALG,
    ['landed', 'run /bin/scenario-ops: ok'],
    ['socket: EPERM', 'run /bin/scenario-ops: exit 1'],
    'alg-socket',
  ),
  'immutable-image': denied(
    ['copy', '/bin/fine', '/bin/x', 'run', '/bin/x'],
    ['copy /bin/x: ok', 'run /bin/x: ok'],
    ['copy /bin/x: ok', 'run /bin/x: EPERM'],
    'drift',
  ),
  'metadata-guard': denied(
    ['connect', METADATA],
    [`connect ${METADATA}: ok`],
    [`connect ${METADATA}: EPERM`],
    'metadata',
  ),
  'no-crypto-miners': denied(
    ['run', '/bin/xmrig'],
    ['run /bin/xmrig: ok'],
    ['run /bin/xmrig: signal 9'],
    'miner-programs',
  ),
  'no-fileless-exec': denied(['memfd', '/bin/fine'], ['memfd memfd: ok'], ['memfd memfd: EPERM'], 'memory'),
  'no-raw-sockets': denied(['raw-socket'], ['raw-socket : ok'], ['raw-socket : EPERM'], 'raw'),
  'no-shell': denied(['run', '/bin/sh'], ['run /bin/sh: ok'], ['run /bin/sh: EPERM'], 'shell'),
  'service-account-token-guard': denied(
    READ,
    [`map-plain ${TOKEN}: ok`, 'run /bin/sh: ok'],
    [`map-plain ${TOKEN}: EPERM`, 'run /bin/sh: ok'],
    'token-by-shell',
  ),
  'escape-guard': denied(['unshare-user'], ['unshare-user : ok'], ['unshare-user : EPERM'], 'user-namespaces'),
};

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
    cri = await CriRuntime.start({ dir, cni, cgroupParent: '/kubepods/burstable', isNodes: true }, image);
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

  const ended = async (container: CriContainer) => ({ code: await container.exit(), lines: container.lines });

  it('all ready-made policies at once - start, exec, probe, crash, restart and a container that joins are uncounted', async () => {
    expect(await app.exec('/bin/acts', 'map-plain', TOKEN)).toEqual({ code: 0, lines: [`map-plain ${TOKEN}: ok`] });
    expect(await app.exec('/bin/fine'), 'as a probe').toEqual({ code: 0, lines: [] });
    const crashing = await sandbox.start('worker', { command: ['/bin/scenario-ops', 'crash'] });
    expect(await crashing.exit()).toBe(139);
    await crashing.remove();
    expect(await ended(await sandbox.start('worker', { attempt: 1, command: QUICK }))).toMatchObject({ code: 0 });
    expect(await ended(await sandbox.start('debugger', { command: QUICK }))).toEqual({ code: 0, lines: ['landed'] });
    expect(pod.counts()).toEqual({});
    await expect(app.exec('/bin/sh'), 'a probe that runs a shell').rejects.toThrow(/not permitted/);
    expect(pod.counts()).toEqual({ shell: 1 });
  });

  it('control - without a policy every attack lands in the container', async () => {
    expect(Object.keys(DENIED).sort()).toEqual([...READY].sort());
    rig.object.maps.pods.delete(pod.uid);
    const rows = Object.values(DENIED);
    const { lines } = await app.exec('/bin/acts', ...rows.flatMap(({ attack }) => [...attack, ',']));
    expect(lines).toEqual(rows.flatMap(({ landed }) => landed));
  });

  it.each(Object.entries(DENIED))(
    '%s - denies an attack in the container, and nothing beside it',
    async (policy, { attack, refused, rule }) => {
      pod.put(readySet(policy));
      const beside = [',', 'map-plain', TOKEN, 'run', '/bin/fine'];
      const { lines } = await app.exec('/bin/acts', ...attack, ...beside);
      expect(lines).toEqual([...refused, `map-plain ${TOKEN}: ok`, 'run /bin/fine: ok']);
      expect(pod.counts()).toEqual({ [rule]: 1 });
    },
  );

  it('all ready-made policies at once - the sandbox is removed', async () => {
    pod.put(readySet(...READY));
    await sandbox.remove();
    const { items } = await cri.client.runtime<{ items: object[] }>('ListPodSandbox');
    expect([items, pod.counts()]).toEqual([[], {}]);
  });
});
