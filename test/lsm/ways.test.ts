// Each way to start a task in a container, under a denial of each kind: all kinds hold for it,
// whatever started it. Each way is first tried without a policy.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acts, type Container, type Pod, Running, removeCgroup } from './harness/rig.ts';
import { CAPABILITIES, specOf } from './harness/runc.ts';
import { useRig } from './harness/use-rig.ts';

type Rule = NonNullable<RuntimePolicyInput['rules']>[number];

/**
 * For each kind: the rule, the denied operation and its outcome, and an allowed operation beside
 * it.
 */
const KINDS: readonly { rule: Omit<Rule, 'action'>; denied: string[]; error?: string; beside?: string[] }[] = [
  {
    rule: { name: 'file', file: { paths: ['/etc/secret'], operations: ['read'] } },
    denied: ['map-plain', '/etc/secret'],
    beside: ['map-plain', '/etc/plain'],
  },
  {
    rule: { name: 'execute', execute: { paths: ['/bin/denied'], operations: ['execute'] } },
    denied: ['run', '/bin/denied', ','],
    beside: ['run', '/bin/fine', ','],
  },
  {
    rule: { name: 'map', execute: { paths: ['/bin/mapped'], operations: ['map'] } },
    denied: ['map', '/bin/mapped'],
    beside: ['map', '/bin/fine'],
  },
  {
    rule: { name: 'network', network: { operations: ['connect'], cidrs: ['127.9.0.0/16'] } },
    denied: ['connect', '127.9.0.1'],
    beside: ['connect', '127.8.0.1'],
  },
  { rule: { name: 'socket', socket: { families: ['inet'], types: ['raw'] } }, denied: ['raw-socket'] },
  {
    rule: { name: 'unix', unix: { abstract: ['taken'], operations: ['bind'] } },
    denied: ['abstract', 'taken'],
    beside: ['abstract', 'free'],
  },
  { rule: { name: 'capability', capabilities: ['sys_nice'] }, denied: ['nice'], error: 'EACCES' },
  { rule: { name: 'mount', mount: { operations: ['new'] } }, denied: ['tmpfs', '/volume'] },
  { rule: { name: 'kernel', kernel: { operations: ['user-namespace'] } }, denied: ['unshare-user'] },
];
const POLICY: RuntimePolicyInput = { rules: KINDS.map(({ rule }): Rule => ({ ...rule, action: 'block' })) };
const TRY = KINDS.flatMap(({ beside = [], denied }) => [...beside, ...denied]);
const printed = ([act = '', object = '']: readonly string[], outcome: string) => `${act} ${object}: ${outcome}`;
const linesWith = (error: (own: string) => string): string[] =>
  KINDS.flatMap(({ beside, denied, error: own = 'EPERM' }) => [
    ...(beside === undefined ? [] : [printed(beside, 'ok')]),
    printed(denied, error(own)),
  ]);
const PASSED = linesWith(() => 'ok');
const REFUSED = linesWith((own) => own);
const COUNTED = Object.fromEntries(KINDS.map(({ rule }) => [rule.name, 1]));
const MORE = ['CAP_SYS_NICE', 'CAP_SYS_ADMIN', 'CAP_NET_RAW'];

describe('every kind of rule', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  let dir: string;
  let running: Running | null = null;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-ways-'));
    for (const name of ['/bin/denied', '/bin/mapped', '/bin/fine']) container.install(acts(), name);
    for (const name of ['/etc/secret', '/etc/plain']) writeFileSync(container.image(name), '');
  });
  const end = async () => {
    running?.go();
    await running?.exit();
    running = null;
  };
  afterEach(async () => {
    await end();
    rmSync(dir, { recursive: true });
  });

  /** Compares the output from `map-plain` on; lines before it are those of the way itself. */
  async function expectHeld(attempt: () => Promise<readonly string[]> | readonly string[]): Promise<void> {
    const tried = async () => {
      // The parent prints the number of its child at any time.
      const lines = (await attempt()).filter((line) => line !== 'exit 0' && !line.startsWith('child '));
      return lines.slice(Math.max(0, lines.indexOf('map-plain /etc/plain: ok')));
    };
    expect(await tried()).toEqual(PASSED);
    pod.apply(POLICY);
    expect(await tried()).toEqual(REFUSED);
    expect(pod.counts()).toEqual(COUNTED);
  }

  it.each([
    ['the first program', []],
    ['a further program', ['become', '/bin/acts']],
    ['a child', ['child']],
    ['a child whose parent is gone', ['double-fork']],
    ['a task in a mount namespace of its own', ['unshare-mnt']],
  ])('%s', async (_name, words) => {
    await expectHeld(() => container.run(['/bin/acts', ...words, ...TRY]));
  });

  it.each([
    ['a child that begins in another cgroup (CLONE_INTO_CGROUP)', (dir: string) => ['into-cgroup', dir]],
    ["a task that left the pod's cgroup", (dir: string) => ['write', `${dir}/cgroup.procs`, '0']],
  ])('%s', async (_name, words) => {
    const elsewhere = `bailiff-elsewhere-${process.pid}`;
    const at = path.join('/sys/fs/cgroup', elsewhere);
    mkdirSync(at);
    container.mount('tmp', '-t', 'cgroup2', 'cgroup2');
    await expectHeld(() => container.run(['/bin/acts', ...words(`/tmp/${elsewhere}`), ...TRY]));
    removeCgroup(at);
  });

  it('a task that ran before its pod was known: from its next operation on', async () => {
    const { cgroups } = rig.object.maps;
    await expectHeld(async () => {
      cgroups.delete(pod.cgroupId);
      running = container.start(['/bin/acts', 'wait', ...TRY]);
      await running.line('ready');
      cgroups.set(pod.cgroupId, pod.uid);
      running.go();
      const { lines } = running;
      await running.exit();
      running = null;
      return lines;
    });
  });

  it("nsenter from the host, into the container's mount namespace", async () => {
    running = container.start(['/bin/acts', 'wait']);
    await running.line('ready');
    const words = ['--mount', '--target', `${running.child.pid}`, '/bin/acts', ...TRY];
    await expectHeld(() => `${spawnSync('nsenter', words, { encoding: 'utf8' }).stdout}`.trim().split('\n'));
  });

  describe.each(['runc', 'crun'])('%s', (runtime) => {
    const words = (...rest: string[]): string[] => ['--root', path.join(dir, 'state'), ...rest];
    const call = (...rest: string[]): string[] => {
      const { stdout, stderr } = spawnSync(runtime, words(...rest), { encoding: 'utf8' });
      return `${stdout}${stderr}`.trim().split('\n');
    };
    const bundle = (args: readonly string[], hooks: object = {}) => {
      const spec = specOf(container, args, [...CAPABILITIES, ...MORE]);
      const namespaces = spec.linux.namespaces.filter(({ type }) => type !== 'network');
      writeFileSync(
        path.join(dir, 'config.json'),
        JSON.stringify({ ...spec, hooks, linux: { ...spec.linux, namespaces } }),
      );
    };
    afterEach(async () => {
      await end();
      call('delete', '--force', 'c');
    });

    it('run', async () => {
      bundle(['/bin/acts', ...TRY]);
      await expectHeld(() => call('run', '--bundle', dir, 'c'));
    });

    it('exec: what kubectl exec, exec probes and lifecycle hooks are', async () => {
      bundle(['/bin/acts', 'wait']);
      running = new Running(spawn(runtime, words('run', '--bundle', dir, 'c')));
      await running.line('ready');
      await expectHeld(() => call('exec', 'c', '/bin/acts', ...TRY));
    });

    it('hooks - one that the runtime starts in the container belongs to the container, one on the host does not', () => {
      const made = { container: path.join(container.root, 'volume/made'), host: path.join(dir, 'made') };
      bundle(['/bin/fine'], {
        startContainer: [{ path: '/bin/acts', args: ['acts', 'copy', '/etc/secret', '/volume/made'] }],
        createContainer: [{ path: acts(), args: ['acts', 'connect', '127.9.0.1'] }],
        createRuntime: [{ path: acts(), args: ['acts', 'copy', container.image('/etc/secret'), made.host] }],
      });
      /** Each hook creates a file with the content that it could read. */
      const contents = () => {
        for (const file of Object.values(made)) rmSync(file, { force: true });
        call('run', '--bundle', dir, 'c');
        call('delete', '--force', 'c');
        return Object.values(made).map((file) => readFileSync(file, 'utf8'));
      };
      writeFileSync(container.image('/etc/secret'), 'secret');
      expect(contents()).toEqual(['secret', 'secret']);
      pod.apply(POLICY);
      expect(contents()).toEqual(['', 'secret']);
      expect(pod.counts()).toEqual({ file: 1, network: 1 });
    });
  });
});
