// The CNI plugin in a real chain: the reference plugins, the installed list, and the collector as its own process.
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { podSide, removeCacheRecord, writeCacheRecord } from '../lab/src/cni/cache.ts';
import { cniAdd, cniDel } from '../lab/src/cni/plugin.ts';
import { netnsPath } from '../lab/src/names.ts';
import { createNetns, deleteNetns } from '../lab/src/net/netns.ts';
import { exec } from '../lab/src/process/exec.ts';
import { CniNode, forged, OWN, own } from '../support/cni-node.ts';
import type { TestPod } from '../support/node.ts';

describe('collector with the CNI plugin', () => {
  let cni: CniNode;
  beforeEach(async () => {
    cni = await CniNode.create();
  });
  afterEach(async () => cni[Symbol.asyncDispose]());

  const isDropped: CniNode['isDropped'] = (...args) => cni.isDropped(...args);

  it.each(['bridge', 'ptp'] as const)('%s - the first packet of each pod is judged as programmed', async (plugin) => {
    cni.writePrimary(plugin);
    await cni.start('closed');
    for (let i = 0; i < 5; i += 1) {
      const { pod } = await cni.add();
      // The list of pods never reaches this node: only the call can make the identity certain.
      await cni.node.send(pod, [forged(pod), own(pod)], 20);
      await isDropped(pod, 'programmed', 10);
    }
    const states = new Set([...cni.node.ledger.epochs.values()].filter((v) => v.pod).map((v) => v.state));
    expect([...states]).toEqual(['programmed']);
    // Control: by the primary's own list, the same packets are judged under a weaker state.
    const { pod } = await cni.add(cni.list('10-lab.conflist'));
    await cni.node.waitForState(pod, 'provisional');
    await cni.node.send(pod, [forged(pod)], 10);
    await isDropped(pod, 'provisional', 10);
  });

  it('a pod that starts while the collector restarts waits, and is guarded', async () => {
    cni.writePrimary('bridge');
    await cni.start('closed', ['--cni-wait-ms', '60000']);
    const list = cni.list();
    await cni.node.killCollector('SIGKILL');
    const adding = cni.add(list);
    await cni.node.startCollector({ until: 'ready', args: cni.args('closed', ['--cni-wait-ms', '60000']) });
    const { pod, attachment } = await adding;
    await cni.node.send(pod, [forged(pod)], 10);
    await isDropped(pod, 'programmed', 10);
    // The binding outlives another restart.
    await cni.node.killCollector('SIGKILL');
    await cni.node.startCollector({ until: 'ready', args: cni.args('closed') });
    await cni.node.waitForState(pod, 'programmed');
    await cniDel(cni.host, attachment, pod.netns);
    await cniDel(cni.host, attachment, pod.netns);
  });

  it('without a collector: closed answers error 11, an exempt namespace starts, open starts and is counted', async () => {
    cni.writePrimary('bridge');
    await cni.start('closed', ['--cni-wait-ms', '300']);
    const closed = cni.list();
    await cni.node.killCollector('SIGKILL');
    await expect(cni.add(closed)).rejects.toThrow(/bailiff-cni for web-1: .*"code":11/s);
    const change = (more: object) => {
      const [first, last] = closed.plugins;
      if (!first || !last) throw new Error('the list has no two plugins');
      return { ...closed, plugins: [first, { ...last, ...more }] };
    };
    await cni.add(change({ exemptNamespaces: ['shop'] }));
    const { pod } = await cni.add(change({ failurePolicy: 'open' }));
    expect(readFileSync(cni.at('run/cni-passed'), 'utf8')).toMatch(/^2 \d+ shop\/web-3 cannot connect/);
    await cni.node.startCollector({ until: 'ready', args: cni.args('open') });
    await waitFor(() => cni.node.log.includes('a pod started without a guard: cannot connect'), {
      what: 'the report of the pods without a guard',
      state: () => cni.node.log.slice(-3_000),
    });
    // As without the plugin, its record binds it.
    await cni.node.waitForState(pod, 'provisional');
  });

  it('a result without interfaces is completed from the kernel; a repeated call changes nothing; another pod is refused', async () => {
    cni.writePrimary('bridge');
    const collector = await cni.node.startCollector({ until: 'ready', args: cni.args('closed') });
    // The primary's own list: the record alone, as without the plugin. It is older than the event of the interface
    // that the collector reads, so a newer one may replace the binding until a call confirms it.
    collector.kill('SIGSTOP');
    const { pod } = await cni.add(cni.list('10-lab.conflist'));
    collector.kill('SIGCONT');
    await cni.node.waitForState(pod, 'provisional');
    const partial = { cniVersion: '1.0.0', ips: [{ address: `${pod.ipv4}/24` }, { address: `${pod.ipv6}/64` }] };
    for (let i = 0; i < 2; i += 1) expect(JSON.parse(await cni.call(pod, partial))).toEqual(partial);
    await cni.node.waitForState(pod, 'programmed');
    const { interfaces } = await cni.node.offlineStatus();
    const row = interfaces.find((one) => one.interfaceName === pod.hostInterface);
    expect(row).toMatchObject({ mac: pod.mac, addresses: expect.arrayContaining([pod.ipv4, pod.ipv6]) });
    const other = { uid: '00000000-0000-4000-8000-0000000000ff' };
    await expect(cni.call(pod, partial, other)).rejects.toThrow(/"code":11.*is bound to pod/s);
    expect(JSON.parse(await cni.call(pod, partial, { ...other, policy: 'open' })), 'open passes').toEqual(partial);
    await cni.node.send(pod, [forged(pod), own(pod)], 20);
    await isDropped(pod, 'programmed', 10);
  });

  it('a call behind a queue of link events is about the link that has the index now', async () => {
    cni.writePrimary('bridge');
    const collector = await cni.node.startCollector({ until: 'ready', args: cni.args('closed') });
    const call = (pod: TestPod) =>
      cni.call(pod, { cniVersion: '1.0.0', ips: [{ address: `${pod.ipv4}/24` }, { address: `${pod.ipv6}/64` }] });
    const old = await cni.node.addPod({ cni: false });
    await call(old);
    await cni.node.waitForState(old, 'programmed');
    const { interfaces } = await cni.node.offlineStatus();
    const ifindex = interfaces.find((one) => one.interfaceName === old.hostInterface)?.ifindex;
    collector.kill('SIGSTOP');
    // More than the collector reads in the turns of its loop that a call takes.
    const lines = Array.from({ length: 3_000 }, (_, i) => `link set lo alias a${i}`);
    await exec('ip', ['-n', cni.node.netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
    await cni.node.removePod(old);
    // A later sandbox of the same pod.
    const pod = Object.assign(await cni.node.addPod({ cni: false }), { uid: old.uid });
    await cni.node.renameHostSide(pod, pod.hostInterface, ifindex);
    const calling = call(pod);
    const sockets = async () => {
      const all = await exec('nsenter', [`--net=${netnsPath(cni.node.netns)}`, 'cat', '/proc/net/unix']);
      return all.split('\n').filter((line) => line.endsWith(cni.at('run/cni.sock'))).length;
    };
    await waitFor(async () => (await sockets()) > 1, { what: 'the connection of the call', state: sockets });
    collector.kill('SIGCONT');
    await calling;
    await cni.node.send(pod, [forged(pod), own(pod)], 20);
    await isDropped(pod, 'programmed', 10);
  });

  it('each interface of a pod is guarded under its own name', async () => {
    cni.writePrimary('bridge');
    await cni.start('closed');
    const { pod, attachment } = await cni.add();
    const second = { ...attachment, ifName: 'net1', conf: { ...cni.list(), name: 'storage' } };
    const side = podSide(await cniAdd(cni.host, second, pod.netns));
    const { interfaces } = await cni.node.offlineStatus();
    const rows = interfaces.filter(({ state }) => state === 'programmed');
    expect(rows.map(({ interfaceName }) => interfaceName).sort()).toEqual(
      [pod.hostInterface, side.hostInterface].sort(),
    );
    expect(rows.find(({ interfaceName }) => interfaceName === side.hostInterface)?.addresses).toContain(
      side.addresses[0],
    );
  });

  it.each([
    ['by the call, under closed', OWN, 'programmed'],
    ['by its record', '10-lab.conflist', 'provisional'],
  ])('a network that a pod leaves and joins again in one sandbox is bound %s', async (_how, list, state) => {
    cni.writePrimary('bridge');
    await cni.start('closed', ['--cni-wait-ms', '300']);
    const { pod, attachment } = await cni.add();
    const second = { ...attachment, ifName: 'net1', conf: { ...cni.list(list), name: 'storage' } };
    for (let i = 0; i < 3; i += 1) {
      const side = podSide(await cniAdd(cni.host, second, pod.netns));
      const row = async () =>
        (await cni.node.offlineStatus()).interfaces.find((one) => one.interfaceName === side.hostInterface);
      await waitFor(row, { what: side.hostInterface, until: (one) => one?.state === state, state: row });
      expect((await row())?.addresses).toEqual(expect.arrayContaining(side.addresses));
      await cniDel(cni.host, second, pod.netns);
    }
  });

  it('an interface without a host side passes under closed, and a detached node starts pods', async () => {
    cni.writePrimary('bridge');
    await cni.start('closed');
    // A parent that is itself a veth: it is shared, so it must not become the pod's.
    const link = (...words: string[]) => exec('ip', ['-n', cni.node.netns, 'link', ...words]);
    await link('add', 'parent0', 'type', 'veth', 'peer', 'name', 'parent1');
    for (const name of ['parent0', 'parent1']) await link('set', name, 'up');
    const list = cni.list();
    const [first, last] = list.plugins;
    if (!first || !last) throw new Error('the list has no two plugins');
    const macvlan = { type: 'macvlan', master: 'parent0', mode: 'bridge', ipam: first['ipam'] };
    const netns = `${cni.node.netns}-m`;
    await createNetns(netns);
    try {
      const attachment = cni.attachment(200, { ...list, name: 'macvlan', plugins: [macvlan, last] });
      await cniAdd(cni.host, attachment, netns);
      const { interfaces } = await cni.node.offlineStatus();
      expect(interfaces.find(({ interfaceName }) => interfaceName === 'parent0')).toMatchObject({ state: 'unknown' });
    } finally {
      await deleteNetns(netns);
    }
    const dirs = ['--bpf-dir', cni.node.pinDir, '--state-dir', cni.node.stateDir];
    await cni.node.command(['detach', '--all', ...dirs]);
    await cni.add();
    expect(existsSync(cni.at('run/cni-passed')), 'neither is counted as a failure').toBe(false);
  });

  it('a process that is not root of the node gets no answer, though it reaches the socket', async () => {
    cni.writePrimary('bridge');
    await cni.start('closed');
    const socket = cni.at('run/cni.sock');
    expect([statSync(cni.at('run')).mode & 0o777, statSync(socket).mode & 0o777]).toEqual([0o700, 0o600]);
    const script = `const c = require('node:net').connect({ path: process.argv[1], allowHalfOpen: true }, () => c.end('{"protocol":1,"command":"STATUS","containerId":"","ifName":"","args":"","network":""}'));
      let text = ''; c.on('data', (d) => { text += d; }); c.on('error', (e) => { text += e.code; }); c.on('close', () => console.log('answer:' + text));`;
    const ask = (user: string, ...inside: string[]) => {
      const client = [...inside, process.execPath, '-e', script, socket];
      return exec('setpriv', [`--reuid=${user}`, `--regid=${user}`, '--clear-groups', ...client]);
    };
    expect(await ask('0'), 'control').toContain('answer:{"outcome":"guarded"');
    await expect(ask('65534')).resolves.toMatch(/answer:EACCES/);
    for (const [name, mode] of [
      [cni.node.dir, 0o755],
      [cni.at('run'), 0o755],
      [socket, 0o666],
    ] as const)
      chmodSync(name, mode);
    const refused = /answer:(ECONNRESET|EPIPE)?\n/;
    expect(await ask('65534')).toMatch(refused);
    expect(await ask('65534', 'unshare', '--user', '--map-root-user'), 'root of a user namespace').toMatch(refused);
    await waitFor(() => /process \d+ of user 65534 is not root/.test(cni.node.log));
  });

  it('uninstall-cni - refuses while a collector serves, then removes what was installed and nothing else', async () => {
    cni.writePrimary('bridge');
    await cni.start('open');
    const { attachment, pod } = await cni.add();
    const flags = ['--cni-conf-dir', cni.at('net.d'), '--cni-bin-dir', cni.at('bin')];
    const uninstall = (...more: string[]) =>
      cni.node.command([
        ...['uninstall-cni', ...flags, '--cni-results-dir', `${cni.node.cniDir},${cni.node.multusDir}`],
        ...['--cni-socket', cni.at('run/cni.sock'), ...more],
      ]);
    await expect(uninstall()).rejects.toThrow(/a collector serves/);
    expect(existsSync(cni.at('net.d', OWN))).toBe(true);
    expect(await cni.node.killCollector('SIGTERM')).toBe(0);
    expect(existsSync(cni.at('net.d', OWN)), 'a stop removes nothing').toBe(true);
    const net1 = { ...attachment, ifName: 'net1' };
    await writeCacheRecord(cni.node.multusDir, net1, { cniVersion: '1.0.0', interfaces: [], ips: [] });
    await expect(uninstall()).rejects.toThrow(/2 interfaces of pods were created with bailiff-cni/);
    expect([existsSync(cni.at('net.d', OWN)), existsSync(cni.at('bin/bailiff-cni'))]).toEqual([false, true]);
    await cniDel(cni.host, attachment, pod.netns);
    await expect(uninstall(), 'Multus deletes by the list too').rejects.toThrow(/1 interfaces of/);
    await removeCacheRecord(cni.node.multusDir, net1);
    expect(await uninstall()).toMatch(/removed/);
    expect(readdirSync(cni.at('net.d'))).toEqual(['10-lab.conflist']);
    expect(existsSync(cni.at('bin/bailiff-cni'))).toBe(false);
    expect(await uninstall(), 'a second time').toMatch(/removed/);
  });
});
