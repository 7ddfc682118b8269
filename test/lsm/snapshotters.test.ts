// The root of a container by the snapshotter that made it: identity and drift must not depend on
// whether it has a file system of its own. Rows of docs/runtime-paths.md.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { acts, type Snapshotter } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const renewRoot = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/renew-root.c'), { flags: ['-static'] });
const SNAPSHOTTERS: readonly Snapshotter[] = ['overlay', 'native', 'btrfs'];
const READ = ['map-plain', '/etc/secret', 'map-plain', '/etc/plain'];
const FREE = ['map-plain /etc/secret: ok', 'map-plain /etc/plain: ok'];
const HELD = ['map-plain /etc/secret: EPERM', 'map-plain /etc/plain: ok'];

describe.each(SNAPSHOTTERS)('%s', (snapshotter) => {
  const rig = useRig();
  const made = () => {
    const pod = rig.pod();
    const container = pod.container(snapshotter);
    for (const name of ['/etc/secret', '/etc/plain']) writeFileSync(container.image(name), '');
    return { pod, container };
  };

  it("identity - a program that the host runs in the container's mount namespace belongs to the container", async () => {
    const { pod, container } = made();
    const running = container.start(['/bin/acts', 'wait']);
    await running.line('ready');
    // The process that enters is in no cgroup of the pod, like one that follows a container out.
    const enter = () => {
      const words = ['--mount', '--target', `${running.child.pid}`, '/bin/acts', ...READ];
      return spawnSync('nsenter', words, { encoding: 'utf8' }).stdout.trim().split('\n');
    };
    expect(enter()).toEqual(FREE);
    pod.apply({
      rules: [{ name: 'secret', action: 'block', file: { paths: ['/etc/secret'], operations: ['read'] } }],
    });
    expect(enter()).toEqual(HELD);
    expect(pod.counts()).toEqual({ secret: 1 });
    running.go();
    await running.exit();
  });

  it('drift - what the container wrote does not run; a volume does, also on the file system of the root', async () => {
    const { pod, container } = made();
    const beside = path.join(path.dirname(container.image('')), 'beside');
    const volume = snapshotter === 'overlay' ? path.join(container.root, 'disk') : beside;
    mkdirSync(volume, { recursive: true });
    copyFileSync(acts(), path.join(volume, 'tool'));
    container.mount('volume', '--bind', volume);
    const words = ['copy', '/bin/acts', '/tmp/x', 'run', '/tmp/x', ',', 'run', '/volume/tool', ','];
    expect(await container.acts(...words)).toEqual(['copy /tmp/x: ok', 'run /tmp/x: ok', 'run /volume/tool: ok']);
    pod.apply({ rules: [{ name: 'drift', action: 'block', drift: { allowVolumes: true } }] });
    const guarded = await container.run(['/volume/tool', ...words]);
    expect(guarded).toEqual(['copy /tmp/x: ok', 'run /tmp/x: EPERM', 'run /volume/tool: ok', 'exit 0']);
    expect(pod.counts()).toEqual({ drift: 1 });
    // A root without layers has no image.
    const [image] = await container.run(['/bin/acts', 'mkdir', '/tmp/made']);
    expect(image).toBe(snapshotter === 'overlay' ? 'mkdir /tmp/made: ok' : '/bin/acts: Operation not permitted');
  });
});

describe('a root file system whose number is used again', () => {
  const rig = useRig();

  /** A container whose program leaves the root, and runs a copy of itself from a tmpfs. */
  async function renewed(unmountsOnHost: boolean): Promise<string[]> {
    const pod = rig.pod();
    const container = pod.container();
    copyFileSync(renewRoot(), path.join(container.root, 'disk/renew-root'));
    const first = container.start(['/bin/acts', 'wait']);
    await first.line('ready');
    first.go();
    await first.exit();
    pod.apply({ rules: [{ name: 'memory', action: 'block', drift: { onlyMemory: true } }] });
    const running = container.start(['/disk/renew-root']);
    await running.line('ready');
    if (unmountsOnHost) container.unmount();
    running.go();
    expect(await running.exit()).toBe(0);
    return running.lines;
  }

  it('the mount of the runtime on the host keeps the number: a tmpfs that the container mounts is memory', async () => {
    expect(await renewed(false)).toEqual(['ready', 'number new', 'run EPERM']);
  });

  it('control - without that mount, the tmpfs gets the number, and its program runs', async () => {
    expect(await renewed(true)).toEqual(['ready', 'number reused', 'run 0']);
  });
});
