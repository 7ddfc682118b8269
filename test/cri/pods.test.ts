// Pods by containerd and runc, through the CRI and the CNI chain, with a real collector: every
// forged packet of a pod's containers is dropped as the pod's own, from the first act of the first
// container on. Without the plugin the same packets arrive.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CniNode, OWN } from '../support/cni-node.ts';
import { PAUSE } from '../support/cri/image.ts';
import { forge, startCri } from '../support/cri/on-node.ts';
import type { CriContainer, CriSandbox, SandboxOptions } from '../support/cri/pod.ts';
import { CriRuntime } from '../support/cri/runtime.ts';

const PRIMARY = '10-lab.conflist';
const PORT = '9000';
const sent = (count: number) => ({ code: 0, lines: [`sent ${count}`] });

const missing = CriRuntime.missing();

describe('pods of containerd', () => {
  if (missing !== null) {
    it('a container runtime', ({ skip }) => skip(missing));
    return;
  }

  let cni: CniNode;
  let cri: CriRuntime;
  let created = 0;
  beforeAll(async () => {
    cni = await CniNode.create();
    cni.writePrimary('bridge');
    cri = await startCri(cni);
  });
  afterAll(async () => {
    await cri?.[Symbol.asyncDispose]();
    await cni?.[Symbol.asyncDispose]();
  });

  const newPod = (): SandboxOptions => {
    const number = ++created;
    const uid = `00000000-0000-4000-8000-0000000001${number.toString(16).padStart(2, '0')}`;
    return { uid, namespace: 'shop', name: `web-${number}` };
  };
  /** The runtime's records of attachments. */
  const records = () =>
    readdirSync(cni.node.cniDir)
      .filter((file) => file.startsWith('lab-'))
      .sort();
  /** The runtime may write the log after it has reported the end. */
  const ended = async (container: CriContainer) => {
    const code = await container.exit();
    await waitFor(() => container.lines.length > 0, { what: 'the output of the container' });
    return { code, lines: container.lines };
  };
  const interfacesOf = async ({ namespace, name }: SandboxOptions) =>
    (await cni.node.offlineStatus()).interfaces.filter(({ pod }) => pod === `${namespace}/${name}`);
  /** Restarts the collector with this policy, and waits until the runtime uses its list. */
  const restart = async (policy: 'open' | 'closed') => {
    await cni.node.killCollector('SIGKILL');
    await cni.start(policy, ['--cni-wait-ms', '300']);
    await waitFor(() => cni.list().plugins.at(-1)?.['failurePolicy'] === policy, { what: `a list that is ${policy}` });
    await cri.usesNetwork(cni.at('net.d', OWN));
  };
  const arrives = async (before: number, count: number) =>
    waitFor(async () => (await cni.node.ipReceived()) - before, {
      what: `${count} packets to arrive`,
      until: (arrived) => arrived === count,
    });

  it('control - by the primary alone, what a container forges as its first act arrives', async () => {
    await cri.usesNetwork(cni.at('net.d', PRIMARY));
    const sandbox = await cri.runSandbox(newPod());
    const before = await cni.node.ipReceived();
    expect(await ended(await sandbox.start('first', { command: forge(7) }))).toEqual(sent(7));
    await arrives(before, 7);
    await sandbox.remove();
  });

  it('first act, exec, a container that joins, crash and restart - all is dropped as programmed, an honest exchange passes', async () => {
    await restart('closed');
    const [serverPod, pod] = [newPod(), newPod()];
    const server = await cri.runSandbox(serverPod);
    const serving = await server.start('app', { command: ['/bin/labtool', 'serve', PORT] });
    await waitFor(() => serving.lines.join().includes('ready'), {
      what: 'the server to listen',
      state: () => serving.lines,
    });

    const sandbox = await cri.runSandbox(pod);
    const [ipv4 = '', ipv6 = ''] = await sandbox.addresses();
    const [bound, ...others] = await interfacesOf(pod);
    expect(others).toEqual([]);
    expect(bound).toMatchObject({ state: 'programmed', addresses: expect.arrayContaining([ipv4, ipv6]) });
    const before = await cni.node.ipReceived();
    expect(await ended(await sandbox.start('first', { command: forge(7) }))).toEqual(sent(7));
    await cni.isDropped(pod, 'programmed', 7);
    const app = await sandbox.start('app', { command: [PAUSE] });
    expect(await app.exec(...forge(5))).toEqual(sent(5));
    expect(await ended(await sandbox.start('debugger', { command: forge(3) }))).toEqual(sent(3));
    const crashing = await sandbox.start('worker', { command: ['/bin/scenario-ops', 'crash'] });
    expect(await crashing.exit()).toBe(139);
    await crashing.remove();
    expect(await ended(await sandbox.start('worker', { attempt: 1, command: forge(2) }))).toEqual(sent(2));
    await cni.isDropped(pod, 'programmed', 17);

    const { code, lines } = await app.exec('/bin/labtool', 'talk', PORT, '1', '0', ...(await server.addresses()));
    expect([code, JSON.parse(lines.at(-1) ?? '')]).toMatchObject([0, { event: 'done', sent: 6, received: 6 }]);
    expect((await cni.node.ipReceived()) - before).toBe(0);
    expect(cni.node.ledger.packets({ action: 'drop' })).toBe(17);

    expect(records()).toContain(`lab-${sandbox.id}-eth0`);
    await sandbox.remove();
    await gone(pod, sandbox, bound?.interfaceName ?? '');
    expect(await interfacesOf(serverPod)).toMatchObject([{ state: 'programmed' }]);
    await server.remove();
  });

  /** Neither kernel nor runtime has anything of the pod left. */
  const gone = async (pod: SandboxOptions, sandbox: CriSandbox, hostInterface: string) => {
    const left = async () =>
      (await cni.node.offlineStatus()).interfaces.filter((one) => one.interfaceName === hostInterface);
    await waitFor(async () => (await left()).length === 0, { what: `the entries of ${pod.name} to go`, state: left });
    expect(records()).not.toContain(`lab-${sandbox.id}-eth0`);
    const { items } = await cri.client.runtime<{ items: { id: string }[] }>('ListPodSandbox');
    expect(items.map(({ id }) => id)).not.toContain(sandbox.id);
  };

  it('closed, without a collector - no sandbox until it is back, and then a guarded one', async () => {
    await restart('closed');
    await cni.node.killCollector('SIGKILL');
    const [pod, before] = [newPod(), records()];
    for (let attempt = 0; attempt < 2; attempt += 1)
      await expect(cri.runSandbox(pod)).rejects.toThrow(/plugin type="bailiff-cni".* failed \(add\).*cannot connect/);
    expect(records(), 'the primary was undone').toEqual(before);
    await cni.start('closed');
    const sandbox = await cri.runSandbox(pod);
    expect(await ended(await sandbox.start('first', { command: forge(7) }))).toEqual(sent(7));
    await cni.isDropped(pod, 'programmed', 7);
    await sandbox.remove();
  });

  it('open, without a collector - the sandbox starts and is counted, and is guarded once the collector is back', async () => {
    await restart('open');
    await cni.node.killCollector('SIGKILL');
    expect(existsSync(cni.at('run/cni-passed')), 'control').toBe(false);
    const pod = newPod();
    const sandbox = await cri.runSandbox(pod);
    expect(readFileSync(cni.at('run/cni-passed'), 'utf8')).toMatch(
      new RegExp(`^1 \\d+ shop/${pod.name} cannot connect`),
    );
    const before = await cni.node.ipReceived();
    expect(await ended(await sandbox.start('first', { command: forge(7) }))).toEqual(sent(7));
    await arrives(before, 7);
    await cni.start('open');
    await waitFor(async () => (await interfacesOf(pod))[0]?.state === 'provisional', { what: 'the record to bind it' });
    expect(await ended(await sandbox.start('second', { command: forge(5) }))).toEqual(sent(5));
    await cni.isDropped(pod, 'provisional', 5);
    await sandbox.remove();
  });
});
