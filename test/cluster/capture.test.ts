// The processes of a pod are recorded before it is deleted. A real responder sends the request to a
// real collector over a real bus. The collector reads /proc of real processes in a cgroup with
// kubelet's name. No LSM is needed.
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { captureSubject } from '@bailiff/bus';
import { CHECKOUT, cgroup2Mount, exec } from '@bailiff/lab/node';
import { MAX_CAPTURE_BYTES, type Verdict } from '@bailiff/schemas';
import { sampleCapture } from '@bailiff/schemas/testing';
import { looksFor, temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { launch, type RunningProcess } from '../support/process.ts';
import { acting, brief, Rig, type RigPod } from './responder/rig.ts';

/** A node for which the bus has a user. */
const NODE = 'node-a';
/** A listener, an abstract unix socket, a shell below it, and a secret in its arguments. */
const PROGRAM = `import os, socket, subprocess, sys
s = socket.socket(); s.bind(('0.0.0.0', 4444)); s.listen()
u = socket.socket(socket.AF_UNIX); u.bind('\\0evil'); u.listen()
c = subprocess.Popen(['sh', '-c', 'sleep 601; true', 'shell-of-${'x'.repeat(700)}'])
print('up', os.getpid(), flush=True); sys.stdin.read()`;

/** Evidence without a process. */
const NO_PROCESS = {
  tgid: 0,
  uid: 0,
  comm: 'sleep',
  executable: '',
  parentExecutable: '',
  containerName: '',
  operation: '',
  subject: '',
};

class PodProcesses implements AsyncDisposable {
  readonly #running: RunningProcess;
  readonly #dir: string;
  readonly #pod: string;
  pid = 0;

  private constructor(running: RunningProcess, dir: string, pod: string) {
    this.#running = running;
    this.#dir = dir;
    this.#pod = pod;
  }

  static async start(root: string, { uid }: RigPod, words = ['python3', '-c', PROGRAM, '--password=hunter2']) {
    const pod = path.join(root, 'kubepods', 'burstable', `pod${uid}`);
    const dir = path.join(pod, 'container-1');
    mkdirSync(dir, { recursive: true });
    const join = `echo $$ > ${dir}/cgroup.procs && exec unshare --net "$@"`;
    const running = launch('sh', ['-c', join, 'sh', ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
    const processes = new PodProcesses(running, dir, pod);
    await running.printed(/up \d+/);
    processes.pid = Number(/up (\d+)/.exec(running.out())?.[1]);
    // The program reports readiness before its children have started the last process.
    await waitFor(() => processes.comms().includes('sleep'), {
      what: 'its last process',
      state: () => processes.comms(),
    });
    return processes;
  }

  /** Names of its processes. */
  comms(): string[] {
    const pids = readFileSync(path.join(this.#dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean);
    return pids.map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
  }

  /** Behind more cgroups than a collector lists in a pod. */
  hide(pid: number): void {
    for (let i = 0; i < 1_024; i++) mkdirSync(path.join(this.#dir, `${i}`));
    const deep = path.join(this.#dir, '0', 'deep');
    mkdirSync(deep);
    writeFileSync(path.join(deep, 'cgroup.procs'), String(pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    writeFileSync(path.join(this.#dir, 'cgroup.kill'), '1');
    await waitFor(() => readFileSync(path.join(this.#dir, 'cgroup.procs'), 'utf8') === '', { what: 'the pod to end' });
    await this.#running.kill();
    await exec('find', [this.#dir, '-depth', '-type', 'd', '-delete']);
    rmdirSync(this.#pod);
  }
}

describe('capture', () => {
  let rig: Rig;
  let dir: string;
  let root: string;
  let collector: RunningProcess;

  beforeAll(async () => {
    rig = await Rig.start();
    dir = temporaryDirectory();
    for (const name of ['bpf', 'state', 'cni']) mkdirSync(path.join(dir, name));
    await exec('mount', ['-t', 'bpf', 'bpf', path.join(dir, 'bpf')]);
    root = path.join(cgroup2Mount(), path.basename(dir));
    mkdirSync(path.join(root, 'kubepods', 'burstable'), { recursive: true });
    writeFileSync(path.join(dir, 'password'), `password-of-collector-${NODE}`, { mode: 0o600 });
    const args = [
      ...['--node-name', NODE, '--nats-url', rig.nats.url, '--nats-user', `collector-${NODE}`],
      ...['--nats-password-file', path.join(dir, 'password'), '--bpf-dir', path.join(dir, 'bpf/bailiff')],
      ...['--state-dir', path.join(dir, 'state'), '--cni-results-dir', path.join(dir, 'cni')],
      ...['--cgroup-root', root, '--exclude-interfaces', '.*', '--metrics-address', '127.0.0.1:0'],
    ];
    const bundle = path.join(CHECKOUT, 'apps/collector/dist/main.mjs');
    collector = launch(process.execPath, [...COLLECTOR_NODE_FLAGS, bundle, ...args]);
    await collector.logged('ready');
    const remove = [{ action: 'delete', gracePeriodSeconds: 0 }];
    await rig.policies({
      plain: acting('plain', remove),
      captured: acting('captured', [...remove, { action: 'capture' }]),
      'in-full': acting('in-full', [{ action: 'capture', arguments: 'full' }]),
      'no-args': acting('no-args', [{ action: 'capture', arguments: 'none' }]),
    });
    await rig.start();
  });
  afterAll(async () => {
    await collector?.kill();
    await rig?.[Symbol.asyncDispose]();
    if (dir === undefined) return;
    for (const name of ['kubepods/burstable', 'kubepods', '']) rmdirSync(path.join(root, name));
    await exec('umount', [path.join(dir, 'bpf')]);
  });

  const podHere = () => rig.pod({ node: NODE });
  const phases = (verdict: Verdict) => rig.of(verdict).map(brief);
  const state = () => ({ log: collector.out().slice(-2000) });

  it('before a deletion - the record has the tree, the sockets and the arguments without secrets; then the pod is deleted', async () => {
    const pod = podHere();
    await using processes = await PodProcesses.start(root, pod);
    const verdict = await rig.verdict(pod, { rule: 'captured' });
    await rig.until(verdict, 'delete', 'succeeded');
    expect(phases(verdict)).toEqual(['capture/started', 'capture/succeeded', 'delete/started', 'delete/succeeded']);
    const capture = rig.of(verdict, 'capture').at(-1)?.capture;
    if (!capture) throw new Error(`nothing was captured: ${JSON.stringify(state())}`);
    const [main, shell, sleep] = capture.processes;
    expect(capture.processes).toHaveLength(3);
    expect(capture).toMatchObject({ arguments: 'redacted', processesOmitted: 0 });
    expect(main).toMatchObject({ pid: processes.pid, uid: 0, container: 'container-1', argsCut: true });
    expect(main?.args.at(-1)).toBe('--password=***');
    expect(main?.executable).toMatch(/\/python3/);
    expect(shell).toMatchObject({ parentPid: processes.pid, comm: 'sh', argsCut: true });
    expect(sleep).toMatchObject({ parentPid: shell?.pid, comm: 'sleep', args: ['sleep', '601'], argsCut: false });
    expect(Math.abs((main?.startedAt ?? 0) / 1000 - Date.now())).toBeLessThan(60_000);
    expect(capture.sockets).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ protocol: 'tcp', local: '0.0.0.0:4444', state: 'listen', pids: [processes.pid] }),
        expect.objectContaining({ protocol: 'unix', local: '@evil', state: 'listen' }),
      ]),
    );
    expect(JSON.stringify(capture)).not.toContain('hunter2');
  });

  it('control - without the step the pod is deleted and no capture recorded', async () => {
    const verdict = await rig.verdict(podHere(), { rule: 'plain' });
    await rig.until(verdict, 'delete', 'succeeded');
    expect(phases(verdict)).toEqual(['delete/started', 'delete/succeeded']);
    expect(rig.of(verdict).every(({ capture }) => capture === null)).toBe(true);
  });

  it('arguments - all or none, as the step requires; a second capture of a pod within the interval is refused', async () => {
    const [full, none] = [podHere(), podHere()];
    await using a = await PodProcesses.start(root, full);
    await using _ = await PodProcesses.start(root, none);
    const [first, second] = [
      await rig.verdict(full, { rule: 'in-full' }),
      await rig.verdict(none, { rule: 'no-args' }),
    ];
    const reported = await rig.until(first, 'capture', 'succeeded');
    expect(reported.capture?.processes.find(({ pid }) => pid === a.pid)?.args.at(-1)).toBe('--password=hunter2');
    const quiet = await rig.until(second, 'capture', 'succeeded');
    expect(quiet.capture?.processes.map(({ args }) => args)).toEqual([[], [], []]);
    const again = await rig.until(await rig.verdict(full, { rule: 'in-full' }), 'capture', 'failed');
    expect(again).toMatchObject({ reasonCode: 'too-soon', capture: null });
  });

  it('many processes and cgroups - the record is bounded and has the culprit and its ancestors; the others are counted', async () => {
    const pod = podHere();
    const text = 'x'.repeat(400);
    const many = `import subprocess, sys
for i in range(600): subprocess.Popen(['sh', '-c', 'read x', '${text}', '${text}'], stdin=subprocess.PIPE)
subprocess.Popen(['sh', '-c', 'sleep 603 & echo up $!; wait'])
sys.stdin.read()`;
    await using processes = await PodProcesses.start(root, pod, ['python3', '-c', many]);
    processes.hide(processes.pid);
    const evidence = [
      {
        streamSequence: 1,
        index: 0,
        vector: 'p/r',
        packets: 1,
        process: { ...NO_PROCESS, tgid: processes.pid },
      },
    ];
    const done = await rig.until(await rig.verdict(pod, { rule: 'in-full', evidence }), 'capture', 'succeeded');
    const { capture } = done;
    expect(Buffer.byteLength(JSON.stringify(capture))).toBeLessThan(MAX_CAPTURE_BYTES);
    const [culprit, shell, python] = capture?.processes ?? [];
    expect(culprit).toMatchObject({ pid: processes.pid, comm: 'sleep', container: 'container-1' });
    expect(shell).toMatchObject({ pid: culprit?.parentPid, comm: 'sh' });
    expect(python).toMatchObject({ pid: shell?.parentPid, comm: expect.stringMatching(/python/) });
    expect((capture?.processes.length ?? 0) + (capture?.processesOmitted ?? 0)).toBe(603);
    expect(capture?.processesOmitted).toBeGreaterThan(0);
  });

  it('a pod without processes, a node without collector - reported, and the deletion continues', async () => {
    const gone = await rig.verdict(podHere(), { rule: 'captured' });
    const elsewhere = await rig.verdict(rig.pod({ node: 'node-b' }), { rule: 'captured' });
    await rig.until(gone, 'delete', 'succeeded');
    await rig.until(elsewhere, 'delete', 'succeeded');
    expect(rig.of(gone, 'capture').at(-1)).toMatchObject({ phase: 'failed', reasonCode: 'no-such-pod' });
    expect(rig.of(elsewhere, 'capture').at(-1)).toMatchObject({ phase: 'failed', reasonCode: 'no-collector' });
  });

  it('a collector that is silent or sends false data - the deletion waits no longer than its bound, and no false data is recorded', async () => {
    const capture = sampleCapture();
    const long = { ...capture, processes: capture.processes.map((one) => ({ ...one, comm: '€'.repeat(64) })) };
    const answers: (string | null)[] = [
      ...[null, '{"capture":{"processes":"none"}}', 'x'.repeat(MAX_CAPTURE_BYTES + 1)],
      // Too long for a record, as UTF-8.
      JSON.stringify({ capture: long }),
      JSON.stringify({ refused: 'busy', reason: 'x". Delete was done "'.padEnd(4_096, '€') }),
    ];
    const cases = answers.length;
    const bus = await rig.nats.connect('admin');
    const asked = bus.nc.subscribe(captureSubject('node-b'), {
      callback: (_, message) => {
        const answer = answers.shift();
        if (typeof answer === 'string') message.respond(answer);
      },
    });
    await bus.nc.flush();
    const reasons: string[] = [];
    let words = '';
    for (let i = 0; i < cases; i++) {
      const verdict = await rig.verdict(rig.pod({ node: 'node-b' }), { rule: 'captured' });
      // Counts probes, 5 s of them, instead of time: when this process pauses, so does the
      // responder, which runs in it.
      const deleted = () => rig.of(verdict, 'delete').some(({ phase }) => phase === 'succeeded');
      const waiting = { what: 'the deletion', intervalMs: 50, state: () => phases(verdict) };
      expect(await looksFor(deleted, waiting)).toBeLessThan(100);
      const ended = await rig.until(verdict, 'capture', 'failed');
      expect(ended.capture).toBeNull();
      reasons.push(ended.reasonCode);
      words = ended.reason;
    }
    asked.unsubscribe();
    expect(reasons).toEqual(['no-answer', 'bad-answer', 'bad-answer', 'bad-answer', 'busy']);
    expect(words).toMatch(/^node-b: "x'\. Delete was done '/);
  });
});
