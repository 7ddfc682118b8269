// Events of a node that broke other chained CNI plugins: a reboot, directories that vanish or are read-only, a changed peer.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectorCapabilities, confined } from '../k8s/confined.ts';
import { createNetns, deleteNetns } from '../lab/src/net/netns.ts';
import { exec } from '../lab/src/process/exec.ts';
import { CniNode, forged, OWN, own } from '../support/cni-node.ts';

const PRIMARY = '10-lab.conflist';
const CONFINED = confined(collectorCapabilities());

describe('node with the CNI plugin', () => {
  let cni: CniNode;
  beforeEach(async () => {
    cni = await CniNode.create();
    cni.writePrimary('ptp');
  });
  afterEach(async () => cni[Symbol.asyncDispose]());

  /** Runs later collectors with these mounts, which they alone see. */
  const mountForCollector = (script: string) => {
    cni.node.wrap = ['unshare', '--mount', 'sh', '-ec', `${script}; exec "$@"`, 'sh', ...CONFINED];
  };

  /**
   * What a reboot leaves: the disk (state directory, CNI records, both lists) and nothing of the
   * kernel or /run. The primary's agent rewrites its file before the collector starts.
   */
  const reboot = async () => {
    await cni.node.killCollector('SIGKILL');
    for (const pod of cni.node.pods.splice(0)) await deleteNetns(pod.netns);
    const bpf = cni.at('bpf');
    await exec('umount', [bpf]);
    await exec('mount', ['-t', 'bpf', 'bpf', bpf]);
    rmSync(cni.at('run'), { recursive: true });
    writeFileSync(cni.at('boot-id'), `${crypto.randomUUID()}\n`);
    mountForCollector(`mount --bind ${cni.at('boot-id')} /proc/sys/kernel/random/boot_id`);
    const { plugins, ...list } = cni.list(PRIMARY);
    const rewritten = { ...list, cniVersion: '0.4.0', plugins: plugins.map((plugin) => ({ ...plugin, mtu: 1400 })) };
    writeFileSync(cni.at('net.d', PRIMARY), JSON.stringify(rewritten));
  };
  const followsPrimary = () =>
    waitFor(() => existsSync(cni.at('net.d', OWN)) && cni.list().plugins[0]?.['mtu'] === 1400, {
      what: 'the list to follow the primary',
      state: () => cni.node.log.slice(-3_000),
    });

  it('a reboot under closed - a pod waits until the collector runs, and then starts behind its guard', async () => {
    await cni.start('closed', ['--cni-wait-ms', '300']);
    const before = await cni.add();
    await cni.node.send(before.pod, [forged(before.pod)], 10);
    await cni.isDropped(before.pod, 'programmed', 10);
    expect(await cni.status('closed'), 'control').toBe('');
    await reboot();

    await expect(cni.status('closed'), 'the node is not ready').rejects.toThrow(/"code":50/);
    const early = await cni.sandbox();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(cni.attach(early)).rejects.toThrow(/bailiff-cni for web-2: .*"code":11.*No such file/s);
      // The runtime removes what it created, and the kubelet tries again.
      await cni.detach(early);
    }
    await cni.start('closed');
    await followsPrimary();
    expect(cni.list().cniVersion).toBe('0.4.0');
    expect(await cni.status('closed')).toBe('');
    early.attachment.conf = cni.list();
    await cni.attach(early);
    await cni.node.send(early.pod, [forged(early.pod), own(early.pod)], 20);
    await cni.isDropped(early.pod, 'programmed', 10);
    const { interfaces } = await cni.node.offlineStatus();
    expect(interfaces.map(({ pod }) => pod).filter((pod) => pod !== '')).toEqual([
      expect.stringContaining(early.pod.name),
    ]);
    // The kubelet deletes the sandboxes of the earlier boot, whose namespaces are gone.
    await cni.detach(before);
  });

  it('a reboot that removes list and plugin - both are restored; a pod that started before is bound by its record', async () => {
    await cni.start('closed');
    await reboot();
    for (const file of [cni.at('net.d', OWN), cni.at('bin/bailiff-cni')]) rmSync(file);
    const early = await cni.add(cni.list(PRIMARY));
    await cni.start('closed');
    await followsPrimary();
    await cni.node.waitForState(early.pod, 'provisional');
    const { pod } = await cni.add();
    await cni.node.send(pod, [forged(pod)], 10);
    await cni.isDropped(pod, 'programmed', 10);
    // Control: the weaker guarantee of the earlier pod.
    await cni.node.send(early.pod, [forged(early.pod)], 10);
    await cni.isDropped(early.pod, 'provisional', 10);
  });

  it('the folder of the socket vanishes - a pod waits for the next check, and starts behind its guard', async () => {
    await cni.start('closed', ['--cni-wait-ms', '60000']);
    rmSync(cni.at('run'), { recursive: true });
    const { pod } = await cni.add();
    expect(cni.node.log).toMatch(/cni\.sock was removed: listening again/);
    await cni.node.send(pod, [forged(pod)], 10);
    await cni.isDropped(pod, 'programmed', 10);
  });

  it.each(['net.d', 'bin'])(
    '%s is read-only - the status names the setting, and pods start as without the plugin',
    async (name) => {
      const dir = cni.at(name);
      mountForCollector(`mount --bind ${dir} ${dir}; mount -o remount,ro,bind ${dir}`);
      await cni.node.startCollector({ until: 'ready', args: [...cni.args('closed'), '--status-interval-ms', '250'] });
      const status = async () => (await cni.node.nodeStatus())?.cni;
      await waitFor(async () => Boolean((await status())?.problem), { what: 'a problem', state: status });
      expect(await status()).toMatchObject({
        state: 'not-installed',
        problem: expect.stringMatching(/must be writable for the collector \(cniConfDir, cniBinDir\)/),
      });
      expect(existsSync(cni.at('net.d', OWN))).toBe(false);
      const { pod } = await cni.add(cni.list(PRIMARY));
      await cni.node.waitForState(pod, 'provisional');
    },
  );

  it('the peer moves to another namespace - its programs stay, and what it forges there is dropped', async () => {
    await cni.start('closed');
    const { pod } = await cni.add();
    await cni.node.send(pod, [forged(pod)], 10);
    await cni.isDropped(pod, 'programmed', 10);
    const nested = `${pod.netns}-n`;
    await createNetns(nested);
    try {
      await exec('ip', ['-n', pod.netns, 'link', 'set', 'eth0', 'netns', nested]);
      await exec('ip', ['-n', nested, 'link', 'set', 'eth0', 'up']);
      await cni.node.send({ ...pod, netns: nested }, [forged(pod)], 10);
      await cni.isDropped(pod, 'programmed', 20);
    } finally {
      await deleteNetns(nested);
    }
  });

  it('GC with no valid attachment removes no guard', async () => {
    await cni.start('closed');
    const { pod } = await cni.add();
    const conf = { cniVersion: '1.1.0', name: 'lab', type: 'bailiff-cni', 'cni.dev/valid-attachments': [] };
    await exec(cni.at('bin/bailiff-cni'), [], { input: JSON.stringify(conf), env: { CNI_COMMAND: 'GC' } });
    await cni.node.send(pod, [forged(pod)], 10);
    await cni.isDropped(pod, 'programmed', 10);
  });
});
