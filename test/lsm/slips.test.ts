// Operations that slip by although a policy seems to cover them: the passages of system-calls.ts and
// of docs/runtime-{hooks,paths,policies}.md that name this file. Each is tried beside an operation
// that is held, so that an outdated passage fails.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { acts, LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { readySet, readySetWithout, Stage } from './scenarios-rig.ts';

const slipOps = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/slip-ops.c'), { flags: ['-static'] });

const rig = useRig();
beforeAll(() => {
  slipOps();
}, LOAD_TIMEOUT_MS);

/** A pod with a container that has these programs. */
function podWith(...programs: string[]) {
  const pod = rig.pod();
  const container = pod.container();
  for (const name of programs) container.install(acts(), name);
  container.install(slipOps(), '/bin/slip-ops');
  writeFileSync(container.image('/etc/secret'), 'secret');
  return { pod, container };
}

describe('names', () => {
  it('fromSource is a path and no content: a copy of the program under another name is another program', async () => {
    const { pod, container } = podWith('/bin/reader');
    const read = ['map-plain', '/etc/secret', ','];
    const copied = ['copy', '/bin/reader', '/tmp/renamed', 'run', '/tmp/renamed', ...read];
    pod.apply({
      rules: [
        {
          name: 'reader',
          action: 'block',
          fromSource: [{ path: '/bin/reader', children: true }],
          file: { paths: ['/etc/secret'], operations: ['read'] },
        },
      ],
    });
    expect(await container.acts('run', '/bin/reader', ...read)).toContain('map-plain /etc/secret: EPERM');
    expect(await container.acts(...copied)).toContain('map-plain /etc/secret: ok');
    expect(pod.counts()).toEqual({ reader: 1 });
  });

  it('a false executable (PR_SET_MM_EXE_FILE) is in /proc and in the sample; fromSource uses the executed program', async () => {
    const { pod, container } = podWith('/bin/innocent');
    const pose = ['/bin/slip-ops', 'pose', '/bin/innocent', '/etc/secret'];
    pod.apply({
      rules: [
        {
          name: 'poser',
          action: 'block',
          fromSource: [{ path: '/bin/slip-ops' }],
          file: { paths: ['/etc/secret'], operations: ['read'] },
        },
      ],
    });
    rig.takeSamples();
    const running = container.start(pose);
    await running.exit();
    expect(running.lines).toEqual(['/bin/innocent', 'open: EPERM']);
    expect(pod.counts()).toEqual({ poser: 1 });
    const [sample] = rig.takeSamples().filter((one) => one.pod === pod.uid);
    expect(sample).toMatchObject({ program: '/bin/innocent' });
  });
});

describe('code', () => {
  it('own code overwritten by /proc/self/mem is no new mapping; a rule about the file refuses it', async () => {
    const { pod, container } = podWith();
    const words = ['/bin/slip-ops', 'selfmem'];
    const printed = async () => {
      const running = container.start(words);
      await running.exit();
      return running.lines;
    };
    pod.put(readySet('immutable-image', 'no-fileless-exec'));
    expect(await printed()).toEqual(['landed']);
    expect(pod.counts()).toEqual({});
    pod.apply({ rules: [{ name: 'mem', action: 'block', file: { suffixes: ['mem'], operations: ['write'] } }] });
    expect(await printed()).toEqual(['open: EPERM']);
  });

  it('binfmt_misc: an interpreter that the host opened (flag F) is drift, and with allowVolumes it runs', async () => {
    const { pod, container } = podWith();
    writeFileSync(container.image('/bin/foreign'), 'BAILIFFX', { mode: 0o755 });
    execFileSync('modprobe', ['binfmt_misc']);
    const dir = '/proc/sys/fs/binfmt_misc';
    if (!existsSync(`${dir}/register`)) execFileSync('mount', ['-t', 'binfmt_misc', 'none', dir]);
    writeFileSync(`${dir}/register`, `:bailiff:M::BAILIFFX::${acts()}:F`);
    try {
      const attempt = ['run', '/bin/foreign', ','];
      expect(await container.acts(...attempt)).toEqual(['run /bin/foreign: ok']);
      pod.put(readySet('immutable-image'));
      expect(await container.acts(...attempt)).toEqual(['run /bin/foreign: EPERM']);
      expect(pod.counts()).toEqual({ drift: 1 });
      pod.apply({ rules: [{ name: 'drift', action: 'block', drift: { allowVolumes: true } }] });
      expect(await container.acts(...attempt)).toEqual(['run /bin/foreign: ok']);
    } finally {
      writeFileSync(`${dir}/bailiff`, '-1');
    }
  });
});

describe('the host', () => {
  let stage: Stage;
  beforeAll(() => {
    stage = new Stage(rig);
  }, LOAD_TIMEOUT_MS);
  afterAll(() => stage?.[Symbol.dispose]());

  it('host-mounts ends where a task creates a mount namespace from the host’s; the steps to it are refused before', async () => {
    const target = path.join(stage.host, 'proof');
    const slip = stage.share(slipOps());
    const go = async (...more: string[]) => {
      rmSync(target, { force: true });
      const { code } = await stage.run([slip, 'elsewhere', target, ...more]);
      return { code, landed: existsSync(target), counts: stage.pod.counts() };
    };
    stage.pod.put(readySetWithout(['namespaces', 'other-tasks'], 'escape-guard'));
    expect(await go()).toMatchObject({ landed: false, counts: { 'host-binaries': 1 } });
    expect(await go('copy')).toEqual({ code: 0, landed: true, counts: { 'host-binaries': 1 } });
    stage.pod.put(readySetWithout(['other-tasks'], 'escape-guard'));
    expect(await go('copy')).toEqual({ code: 1, landed: false, counts: { namespaces: 1 } });
    stage.pod.put(readySet('escape-guard'));
    expect(await go('copy')).toEqual({ code: 1, landed: false, counts: { 'other-tasks': 1 } });
  });
});
