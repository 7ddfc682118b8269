// Both halves in one kernel: who opened the socket is on the packet that was dropped, and the shipped rule makes one verdict of both.
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { Fold, RuleBook } from '@bailiff/judge';
import { membersOf } from '@bailiff/judge/testing';
import type { Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeCacheRecord } from '../lab/src/cni/cache.ts';
import { compileProgram } from '../vm/compile.ts';
import { CollectorNode, NODE, NodePod } from './harness/collector-node.ts';
import { acts, LOAD_TIMEOUT_MS, source } from './harness/rig.ts';
import { shippedPolicy } from './scenarios-rig.ts';

const NETNS = `bailiff-fused-${process.pid}`;
const HOST_SIDE = 'vfused0';
const MAC = '0a:58:0a:f4:00:02';
const ip = (...words: string[]) => execFileSync('ip', words);

describe('both halves', () => {
  let node: CollectorNode;
  beforeAll(async () => {
    acts();
    ip('netns', 'add', NETNS);
    node = await CollectorNode.start();
    await node.startCollector(['--exclude-interfaces', '^lo$']);
  }, LOAD_TIMEOUT_MS);
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    ip('netns', 'del', NETNS);
  }, LOAD_TIMEOUT_MS);

  const connect = async (pod: NodePod) => {
    const peer = ['peer', 'name', 'eth0', 'netns', NETNS, 'address', MAC];
    ip('link', 'add', HOST_SIDE, 'type', 'veth', ...peer);
    ip('-n', NETNS, 'addr', 'add', '10.244.0.2/24', 'dev', 'eth0');
    ip('-n', NETNS, 'link', 'set', 'eth0', 'up');
    ip('link', 'set', HOST_SIDE, 'up');
    pod.identity.interfaces.push({ name: 'eth0', addresses: ['10.244.0.2'], mac: null });
    const { uid, namespace, name } = pod.identity;
    await writeCacheRecord(
      node.dir,
      {
        conf: { cniVersion: '1.0.0', name: 'pods', plugins: [] },
        ...{ ifName: 'eth0', containerId: 'c1', podUid: uid, podNamespace: namespace, podName: name },
        ...{ podAnnotations: {}, cgroupParent: pod.cgroup },
      },
      {
        cniVersion: '1.0.0',
        interfaces: [
          { name: HOST_SIDE, mac: '' },
          { name: 'eth0', mac: MAC, sandbox: `/run/netns/${NETNS}` },
        ],
        ips: [{ address: '10.244.0.2/24', interface: 1 }],
      },
    );
  };

  it(
    'raw socket, then spoofed packets - the violation of the packet and the critical verdict name the process',
    async () => {
      using pod = new NodePod('forger');
      pod.container.install(compileProgram(source('../programs/spoof.c'), { flags: ['-static'] }), '/bin/spoof');
      await connect(pod);
      await node.putPods(pod);
      await node.untilFlipped(pod, () =>
        node.putPolicy('no-raw-sockets', { ...shippedPolicy('no-raw-sockets'), mode: 'audit' }),
      );
      await node.told('a guarded interface', ({ interfaces }) =>
        interfaces.some((one) => one.interfaceName === HOST_SIDE && one.coverage === 'guarded'),
      );
      const contain = compileProgram(source('../programs/contain.c'), { flags: ['-static'] });
      const { cgroup, root } = pod.container;
      const words = [`--net=/run/netns/${NETNS}`, contain, cgroup, root, '/bin/spoof'];
      const forge = () => promisify(execFile)('nsenter', [...words, 'eth0', '10.9.9.9', '10.244.0.1', '7']);
      expect((await forge()).stdout).toBe('sent 7\n');
      await node.counted('no-raw-sockets/packet', 1);
      await node.counted('ipv4-source', 7);
      // A count may be read between an operation's count and its sample, which then comes with the next violation: that of another attempt.
      const wait = { timeoutMs: 60_000, state: () => node.log.slice(-2000) };
      const sampled = () => node.ledger.violations('no-raw-sockets/packet').find(({ operation }) => operation !== null);
      const socket = await waitFor(
        async () => {
          const found = sampled();
          if (found === undefined) await forge();
          return found;
        },
        { what: 'a sample of a packet socket', ...wait },
      );
      expect(socket).toMatchObject({ action: 'audit', operation: { operation: 'socket', executable: '/bin/spoof' } });
      const packet = await waitFor(
        () =>
          node.ledger
            .violations('ipv4-source')
            .find(({ sample }) => sample?.process != null && sample.process.tgid === socket.operation?.tgid),
        { what: 'a packet of the process that made the socket', ...wait },
      );
      expect(packet.sample?.process).toMatchObject({ executable: '/bin/spoof', comm: 'spoof', containerName: 'app' });

      const { uid, namespace, name } = pod.identity;
      const owner = { serviceAccount: 'web', ownerKind: 'Deployment', ownerName: 'web', ownerUid: 'd-1' };
      const judged = () => {
        const verdicts: Verdict[] = [];
        const fold = new Fold({
          rules: new RuleBook(),
          members: membersOf({ [NODE]: [{ uid, namespace, name, ...owner }] }),
          onVerdict: (verdict) => void verdicts.push(verdict),
        });
        for (const [index, frame] of node.ledger.frames.entries())
          fold.frame({ sequence: index + 1, timestampMicros: frame.publishedAt, node: NODE }, frame);
        return verdicts.find((one) => one.rule === 'raw-socket-then-spoofing');
      };
      // Of a packet and its socket the one may be told first, and a count without its sample has no time of its own: not so with the next ones.
      const verdict = await waitFor(
        async () => {
          const found = judged();
          if (found === undefined) await forge();
          return found;
        },
        { what: 'a verdict of both halves', intervalMs: 1_000, ...wait },
      );
      expect(verdict).toMatchObject({ level: 'critical', pod: { name: 'forger' } });
      expect(verdict.reason).toContain('by /bin/spoof (pid');
    },
    LOAD_TIMEOUT_MS,
  );
});
