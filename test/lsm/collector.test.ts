// A real collector and a real bus: from a policy in the bucket to the allowed operations of a
// running container, and from its operations to an exact count on the bus, through a kill of
// either. Network and runtime enforcement in one kernel: the dropped packet names the process that
// opened the socket, and the built-in rule makes one verdict of both. In one file, because a
// starting collector loads the programs.
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { CorrelationEngine, RuleHistory } from '@bailiff/correlation';
import { podInventoryOf } from '@bailiff/correlation/testing';
import { writeCacheRecord } from '@bailiff/lab/node';
import type { RuntimePolicyInput } from '@bailiff/policy';
import type { Verdict, Violation } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { CollectorNode, NODE, NodePod, STARTS_TIMEOUT_MS, Steps } from './harness/collector-node.ts';
import { presentAmong } from './harness/doctored.ts';
import { acts, LOAD_TIMEOUT_MS, source } from './harness/rig.ts';
import { readyMadePolicy } from './scenarios-rig.ts';

const deny = (name: string, ...paths: string[]): RuntimePolicyInput => ({
  mode: 'enforce',
  severity: 'high',
  tags: ['attack.t1059'],
  message: 'not here',
  selector: { podLabels: { matchLabels: { app: 'web' } } },
  rules: [{ name, action: 'block', execute: { paths, operations: ['execute'] } }],
});
const EDITS = 5;
const TIMES = (n: number, program: string): string[] => Array.from({ length: n }, () => ['run', program, ',']).flat();

const NETNS = `bailiff-fused-${process.pid}`;
const HOST_SIDE = 'vfused0';
const MAC = '0a:58:0a:f4:00:02';
const ip = (...words: string[]) => execFileSync('ip', words);

describe('collector', () => {
  let node: CollectorNode;
  beforeAll(async () => {
    acts();
    ip('netns', 'add', NETNS);
    node = await CollectorNode.start();
    // The first collector is killed while it loads its programs; the loading continues beside the
    // second one.
    await node.startLoading();
    await node.killCollector();
    await node.startCollector();
  }, STARTS_TIMEOUT_MS);
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
        ifName: 'eth0',
        containerId: 'c1',
        podUid: uid,
        podNamespace: namespace,
        podName: name,
        podAnnotations: {},
        cgroupParent: pod.cgroup,
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

  const podWith = (name: string, uid?: string): NodePod => {
    const pod = new NodePod(name, uid);
    for (const program of ['/bin/one', '/bin/two']) pod.container.install(acts(), program);
    return pod;
  };

  it(
    'policy - in force on a running pod, edited while it runs, counted exactly through kills of collector and bus',
    async () => {
      const pod = podWith('web-0');
      const steps = new Steps(
        pod,
        [...TIMES(1, '/bin/one'), ...TIMES(1, '/bin/two')],
        [...TIMES(5, '/bin/one'), ...TIMES(1, '/bin/two')],
        [...TIMES(1, '/bin/one'), ...TIMES(7, '/bin/two')],
        TIMES(11, '/bin/two'),
        TIMES(13, '/bin/two'),
        TIMES(1, '/bin/two'),
      );
      // A count may be read before the sample of the same operation. The sample is then published
      // with the next violation, which needs another operation.
      let more = 0;
      const sampleThat = (is: (violation: Violation) => boolean, what: string) =>
        waitFor(
          async () => {
            const found = node.ledger.violations('shells/two').find(is);
            if (found === undefined) more += (await pod.container.acts(...TIMES(1, '/bin/two'))).length;
            return found;
          },
          { what, intervalMs: 2_000, timeoutMs: 60_000 },
        );
      await steps.ready();
      expect(await steps.next()).toEqual(['run /bin/one: ok', 'run /bin/two: ok']);

      const status = await node.reported('the runtime engine', ({ runtime }) => runtime?.state === 'available');
      const missing = status.runtime?.missingHooks ?? [];
      expect(presentAmong(missing)).toEqual([]);
      await node.putPods(pod);
      const firstMs = await node.untilFlipped(pod, () => node.putPolicy('shells', deny('one', '/bin/one')));
      expect(await steps.next()).toEqual([...Array(5).fill('run /bin/one: EPERM'), 'run /bin/two: ok']);

      // Several edits: under emulation on a busy machine, a single one may be delayed.
      const editsMs: number[] = [];
      for (let revision = 1; revision <= EDITS; revision += 1) {
        const policy = { ...deny('two', '/bin/two'), message: `edition ${revision}`, revision };
        editsMs.push(await node.untilFlipped(pod, () => node.putPolicy('shells', policy)));
      }
      process.stderr.write(`in force after ${[firstMs, ...editsMs].map(Math.round).join(', ')} ms\n`);
      expect(Math.min(...editsMs)).toBeLessThan(1_000);
      expect(await steps.next()).toEqual(['run /bin/one: ok', ...Array(7).fill('run /bin/two: EPERM')]);
      await node.counted('shells/one', 5);
      await node.counted('shells/two', 7);
      const last = await node.lastWord('shells/one');
      expect(last).toMatchObject({ kind: 'lsm', action: 'drop', policy: 'runtime.cluster._.shells' });
      expect(last.cumulativePackets).toBe(5);
      const [first] = node.ledger.violations('shells/two');
      expect(first).toMatchObject({
        severity: 'high',
        tags: ['attack.t1059'],
        message: `edition ${EDITS}`,
        policyRevision: EDITS,
      });
      expect(first?.pod).toMatchObject({ name: 'web-0', ownerKind: 'Deployment' });
      const { operation: sampled } = await sampleThat(({ operation }) => operation !== null, 'a sample of shells/two');
      expect(sampled).toMatchObject({ operation: 'execute', outcome: 'block', subject: '/bin/two' });
      expect(sampled).toMatchObject({ executable: '/bin/acts', containerName: 'app', uid: 0 });
      await node.reported('the policy to be in force', ({ runtime }) =>
        Boolean(
          runtime?.policies.some((one) => one.state === 'in-force' && one.revision === EDITS && one.subjects === 1),
        ),
      );

      // The bus is down, then the collector too: denials are unacknowledged meanwhile.
      await node.nats.kill();
      expect(await steps.next()).toEqual(Array(11).fill('run /bin/two: EPERM'));
      await node.killCollector();
      const before = node.subject(pod);
      expect(await steps.next()).toEqual(Array(13).fill('run /bin/two: EPERM'));
      await node.nats.restart();
      await node.startCollector();
      await node.counted('shells/two', 7 + more + 11 + 13);
      expect(node.subject(pod)).toEqual(before);
      expect(node.ledger.packets({ vector: 'shells/one' })).toBe(5);
      expect(node.ledger.packets({ vector: 'shells/two' })).toBe(31 + more);

      // Break-glass: the operation passes, and the bus has it as audited.
      const until = new Date(Date.now() + 600_000).toISOString();
      await node.putConfig('disarm.namespace.shop.all', {
        revision: 1,
        until,
        duration: '10m',
        reason: 'test',
        by: 'test',
      });
      await node.untilAudited(pod);
      expect(await steps.next()).toEqual(['run /bin/two: ok']);
      await node.counted('shells/two', 32 + more);
      const audited = await sampleThat(
        ({ operation }) => operation?.outcome === 'audit',
        'a sample of an audited operation',
      );
      expect(audited.action).toBe('audit');

      // The bus no longer lists the pod: its running processes stay held. Then the pod ends, and
      // its entry is removed.
      await node.putPods();
      await node.reported('an empty snapshot', ({ snapshotRevision }) => snapshotRevision === 2);
      expect(node.subject(pod)).not.toBeNull();
      pod[Symbol.dispose]();
      await node.untilGone(pod);
      await node.counted('shells/two', 32 + more);
      await node.untilSettled();

      // A later pod with the same UID (the UID of a static pod depends on its file) has only the
      // policy in common with it.
      expect(node.boundCgroups(pod)).toBe(0);
      await node.putConfig('disarm.namespace.shop.all', {
        revision: 2,
        until: new Date(0).toISOString(),
        duration: '10m',
      });
      using again = podWith('web-0', pod.uid);
      expect([node.boundCgroups(again), node.subject(again)]).toEqual([1, null]);
      expect(await again.container.acts(...TIMES(1, '/bin/two'))).toEqual(['run /bin/two: ok']);
      await node.untilFlipped(again, () => node.putPods(again));
      await node.untilEnforced(again);
      expect(node.subject(again)?.generation).not.toBe(before?.generation);
      expect(await again.container.acts(...TIMES(2, '/bin/two'))).toEqual(Array(2).fill('run /bin/two: EPERM'));
      await node.counted('shells/two', 34 + more);
    },
    STARTS_TIMEOUT_MS,
  );

  it(
    'network and runtime - raw socket, then spoofed packets: the violation of the packet and the critical verdict name the process',
    async () => {
      using pod = new NodePod('forger');
      pod.container.install(compileProgram(source('../programs/spoof.c'), { flags: ['-static'] }), '/bin/spoof');
      await connect(pod);
      // The policy first: with the policies of other tests the pod would flip without it.
      await node.putPolicy('no-raw-sockets', { ...readyMadePolicy('no-raw-sockets'), mode: 'audit' });
      await node.reported('the policy to be read', ({ runtime }) =>
        Boolean(runtime?.policies.some(({ key }) => key.endsWith('.no-raw-sockets'))),
      );
      await node.untilFlipped(pod, () => node.putPods(pod));
      await node.reported('a guarded interface', ({ interfaces }) =>
        interfaces.some((one) => one.interfaceName === HOST_SIDE && one.coverage === 'guarded'),
      );
      const contain = compileProgram(source('../programs/contain.c'), { flags: ['-static'] });
      const { cgroup, root } = pod.container;
      const words = [`--net=/run/netns/${NETNS}`, contain, cgroup, root, '/bin/spoof'];
      const forge = () => promisify(execFile)('nsenter', [...words, 'eth0', '10.9.9.9', '10.244.0.1', '7']);
      expect((await forge()).stdout).toBe('sent 7\n');
      await node.counted('no-raw-sockets/packet', 1);
      await node.counted('ipv4-source', 7);
      // A count may be read before the sample of the same operation or packet. The sample is then
      // published with the next violation, which needs another attempt.
      const wait = { timeoutMs: 60_000, intervalMs: 1_000, state: () => node.log.slice(-2000) };
      const packets = () => node.ledger.violations('ipv4-source');
      const sampled = () =>
        node.ledger.violations('no-raw-sockets/packet').flatMap((socket) => {
          const { operation } = socket;
          const packet = packets().find(({ sample }) => operation !== null && sample?.process?.tgid === operation.tgid);
          return packet ? [{ socket, packet }] : [];
        })[0];
      const { socket, packet } = await waitFor(
        async () => {
          const found = sampled();
          if (found === undefined) await forge();
          return found;
        },
        { what: 'samples of a packet socket and of a packet sent through it', ...wait },
      );
      expect(socket).toMatchObject({ action: 'audit', operation: { operation: 'socket', executable: '/bin/spoof' } });
      expect(packet.sample?.process).toMatchObject({ executable: '/bin/spoof', comm: 'spoof', containerName: 'app' });

      const { uid, namespace, name } = pod.identity;
      const owner = { serviceAccount: 'web', ownerKind: 'Deployment', ownerName: 'web', ownerUid: 'd-1' };
      // From the frame with the sampled socket on: a verdict about an earlier attempt may name no
      // process.
      const from = node.ledger.frames.findIndex(({ violations }) => violations.includes(socket));
      const judged = () => {
        const verdicts: Verdict[] = [];
        const fold = new CorrelationEngine({
          rules: new RuleHistory(),
          inventory: podInventoryOf({ [NODE]: [{ uid, namespace, name, ...owner }] }),
          onVerdict: (verdict) => void verdicts.push(verdict),
        });
        for (const [index, frame] of node.ledger.frames.slice(from).entries())
          fold.processFrame({ sequence: index + 1, timestampMicros: frame.publishedAt, node: NODE }, frame);
        return verdicts.find((one) => one.rule === 'raw-socket-then-spoofing');
      };
      // The packet may be reported before its socket, and a count without a sample has no time of
      // its own. A later attempt has both.
      const verdict = await waitFor(
        async () => {
          const found = judged();
          if (found === undefined) await forge();
          return found;
        },
        { what: 'a verdict of network and runtime', ...wait },
      );
      expect(verdict).toMatchObject({ level: 'critical', pod: { name: 'forger' } });
      expect(verdict.reason).toContain('by /bin/spoof (pid');
    },
    LOAD_TIMEOUT_MS,
  );

  it(
    'policy - of one container by its name; an invalid one is rejected and leaves the last valid one in force',
    async () => {
      using pod = podWith('web-1');
      const named = (container: string): RuntimePolicyInput => ({
        ...deny('one', '/bin/one'),
        selector: { containers: [container] },
      });
      await node.putConfig('spoof.cluster._.default', { sampling: { burst: 3, perSecond: 4 } });
      await node.putPolicy('shells', { ...deny('none', '/bin/none'), revision: EDITS + 1 });
      // The pod exists before its flag is awaited, because a new subject changes the flag too.
      await node.untilFlipped(pod, () => node.putPods(pod));
      await node.untilSampling(3, 4);
      await node.putPolicy('named', named('other'));
      await node.reported('both policies', ({ runtime }) =>
        ['shells', 'named'].every((name) => runtime?.policies.some(({ key }) => key.endsWith(`.${name}`))),
      );
      expect(await pod.container.acts(...TIMES(1, '/bin/one'))).toEqual(['run /bin/one: ok']);
      await node.untilFlipped(pod, () => node.putPolicy('named', { ...named('app'), revision: 1 }), 'hasContainers');
      expect(await pod.container.acts(...TIMES(1, '/bin/one'))).toEqual(['run /bin/one: EPERM']);
      await node.putConfig('runtime.cluster._.named', { revision: 2, rules: [{ name: 'x' }] });
      const reported = await node.reported('a rejected policy', ({ runtime }) =>
        Boolean(runtime?.policies.some((one) => one.key.endsWith('named') && one.state === 'refused')),
      );
      expect(reported.runtime?.policies.find((one) => one.key.endsWith('named'))?.reason).toContain('rules.0');
      expect(await pod.container.acts(...TIMES(1, '/bin/one'))).toEqual(['run /bin/one: EPERM']);
      await node.counted('named/one', 2);
    },
    LOAD_TIMEOUT_MS,
  );

  it(
    'detach - removes programs and pins of network and runtime enforcement; attach restores both in the running process',
    async () => {
      using pod = podWith('web-2');
      // One after the other: a new pod starts under the previous policy.
      await node.untilFlipped(pod, () => node.putPods(pod));
      await node.untilFlipped(pod, () => node.putPolicy('shells', { ...deny('one', '/bin/one'), revision: EDITS + 2 }));
      expect(await pod.container.acts(...TIMES(1, '/bin/one'))).toEqual(['run /bin/one: EPERM']);
      expect(await node.command('status')).toContain(pod.identity.name);
      expect(await node.command('detach', '--all')).toMatch(/removed \d+ links/);
      // The kernel detaches a program some time after its link is removed.
      await waitFor(async () => (await pod.container.acts(...TIMES(1, '/bin/one')))[0] === 'run /bin/one: ok', {
        what: 'the programs to be off their hooks',
        timeoutMs: 30_000,
      });
      await node.reported('detached', ({ runtime }) => runtime?.state === 'off');
      expect(await node.command('attach')).toContain('may attach again');
      await node.reported('attached', ({ runtime }) => runtime?.state === 'available', LOAD_TIMEOUT_MS);
      await waitFor(async () => (await pod.container.acts(...TIMES(1, '/bin/one')))[0] === 'run /bin/one: EPERM', {
        what: 'the policy to be in force again',
        timeoutMs: LOAD_TIMEOUT_MS,
      });
    },
    LOAD_TIMEOUT_MS,
  );
});
