// "On a node" in docs/operations.md, without a collector and without the bus: stock kubectl accepts the
// command, and what it runs works in a root as \`kubectl debug\` gives it, with the node's at /host. The
// API stand-in reads no protobuf, so the request to create the pod is where kubectl ends.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { detachAll, mountBpffs, openSpoofObject } from '@bailiff/bpf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DetachMarker } from '../../apps/collector/src/offline/detach-marker.ts';
import { readBootId } from '../../apps/collector/src/process/boot.ts';
import { nodeArgs } from '../../tools/children.ts';
import { KubectlBench } from '../cluster/contract/kubectl-bench.ts';
import { launch } from '../support/process.ts';
import { command } from './harness/processes.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PAGE = readFileSync(path.join(ROOT, 'docs/operations.md'), 'utf8');
const BLOCK = /<!-- test: on a node -->\n```sh\n([\s\S]*?)```/.exec(PAGE)?.[1] ?? '';
const NODE = 'node-a';

describe('break-glass on a node', () => {
  const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-glass-'));
  const stateDir = mkdtempSync(path.join(tmpdir(), 'bailiff-state-'));
  const pinDir = path.join(bpffs, 'bailiff');
  const marker = () => new DetachMarker(stateDir, pinDir);
  let bench: KubectlBench;
  beforeAll(async () => {
    mountBpffs(bpffs);
    bench = await KubectlBench.start();
    bench.server.api.create('namespaces', { metadata: { name: 'bailiff-system' } });
    bench.makeNode(NODE);
    const collector = parse(
      readFileSync(path.join(ROOT, 'k8s/base/collector.yaml'), 'utf8')
        .split(/^---$/m)
        .find((one) => /kind: DaemonSet/.test(one)) ?? '',
    );
    bench.server.api.create('daemonsets', collector, 'bailiff-system');
  });
  beforeEach(() => {
    marker().clear();
    detachAll(pinDir);
    mkdirSync(path.join(stateDir, readBootId()), { recursive: true });
    openSpoofObject({ pinDir, maxInterfaces: 16 }).close();
  });
  afterAll(async () => {
    await bench?.[Symbol.asyncDispose]();
    marker().clear();
    detachAll(pinDir);
    await command('umount', bpffs);
    rmdirSync(bpffs);
    rmSync(stateDir, { recursive: true });
  });

  /** Runs lines of the page. */
  async function bash(text: string) {
    const env = { ...process.env, NODE, KUBECONFIG: bench.server.kubeconfigPath('admin'), HOME: stateDir };
    const { exit, stdout, stderr } = launch('bash', ['-e', '-c', text], { env });
    const [code] = await exit;
    return { code, stdout: stdout(), stderr: stderr() };
  }

  /** What the page runs in the pod. */
  const [, words = ''] = / -- (node .*)/.exec(BLOCK) ?? [];

  /**
   * Runs the command of a container as the runtime does: a root with the node's at /host, and a /sys
   * without a bpffs. The image is this checkout.
   */
  function runIn(line: string) {
    const args = line
      .split(' ')
      .slice(2)
      .map((word) => word.replace('/sys/fs/bpf/bailiff', pinDir).replace('/var/lib/bailiff', stateDir));
    const script = `set -e
      root=$(mktemp -d -p ${stateDir}); mount -t tmpfs tmpfs $root; mkdir $root/host; mount --rbind / $root/host
      for at in usr proc dev etc ${ROOT.slice(1)}; do mkdir -p $root/$at; mount --rbind /$at $root/$at; done
      mkdir $root/sys; mount -t sysfs sysfs $root/sys
      for link in bin lib lib64 sbin; do ln -s usr/$link $root/$link; done
      cd $root; exec chroot $root env --chdir=${ROOT} ${process.execPath} "$@"`;
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        '--mount',
        '--propagation',
        'private',
        'sh',
        '-c',
        script,
        'sh',
        ...nodeArgs('apps/collector/src/main.ts'),
        ...args,
      ],
      { encoding: 'utf8', timeout: 60_000 },
    );
    return { exit: status, stdout, stderr };
  }

  it('kubectl debug - accepts the command, with the image of the collector and an existing node', async () => {
    const image = await bash(`${BLOCK.split('\n')[0]}\necho $IMAGE`);
    expect(image).toMatchObject({ code: 0, stdout: expect.stringMatching(/^bailiff\/collector\S*\n$/) });
    const created = await bash(BLOCK);
    expect(created.stderr).toContain('the body of the request was in an unknown format');
    // The controls: kubectl ends earlier.
    expect((await bash(BLOCK.replace('sysadmin', 'sysop'))).stderr).toContain('unknown profile');
    expect((await bash(BLOCK.replace('$NODE', 'node-x'))).stderr).toContain('"node-x" not found');
  });

  it('detach, attach - the pins are removed, and the marker stays until attach', () => {
    expect(words.split(' ').slice(0, 2)).toEqual(['node', '/app/main.mjs']);
    // The control: the collector's own paths are empty in that pod.
    expect(runIn(words.replaceAll('/host/', '/'))).toMatchObject({
      exit: 7,
      stderr: expect.stringContaining('nothing is pinned'),
    });
    expect(readdirSync(path.join(pinDir, 'programs')).length).toBeGreaterThan(0);

    const status = runIn(words.replace('detach --all', 'status').replace('/host/var', '/var'));
    expect(status).toMatchObject({ exit: 0, stderr: '' });
    expect(runIn(words)).toMatchObject({
      exit: 0,
      stderr: '',
      stdout: expect.stringMatching(/^removed 0 links, 3 pr/),
    });
    expect(readdirSync(pinDir)).toEqual(['detached']);
    expect(marker().reason()).toMatch(/detached by an operator/);

    const attached = runIn(words.replace('detach --all', 'attach'));
    expect(attached).toMatchObject({ exit: 0, stdout: expect.stringContaining('may attach again') });
    expect(existsSync(path.join(pinDir, 'detached'))).toBe(false);
  });
});
