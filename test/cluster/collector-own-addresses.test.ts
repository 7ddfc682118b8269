// Addresses of a node besides its registered one, such as the gateway of its pods. The gateway
// appears with the first pod, and no document lists it.
import { openBucket } from '@bailiff/bus';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL } from '@bailiff/lab/frames';
import { exec, netnsPath, startLines, stopLines } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GATEWAY_MAC, NODE, TestNode, type TestPod } from '../support/node.ts';

/** The plugin ptp gives this address to the host side of each pod. */
const GATEWAY = '10.244.0.1';
/** Global addresses, of which only knowledge makes one of the node. */
const LATER = '20.7.0.1';
const OTHER = '20.7.0.200';
const PORT = 8080;

const ipipFrame = (pod: TestPod, destination: string) => {
  const inner = ipv4({ source: '198.51.100.1', destination: '198.51.100.2', protocol: PROTOCOL.udp }, Buffer.alloc(8));
  const outer = ipv4({ source: pod.ipv4, destination, protocol: PROTOCOL.ipip }, inner);
  return ethernet({ source: pod.mac, destination: GATEWAY_MAC, type: ETHERTYPE.ipv4 }, outer);
};

describe('own addresses of a node', () => {
  let node: TestNode;
  let pod: TestPod;
  beforeEach(async () => {
    node = await TestNode.start();
    await node.startCollector();
    pod = await node.addPod();
    await node.putPods(1, (pods) => {
      for (const each of pods) each.probePorts = [{ protocol: 'TCP', port: PORT }];
    });
    await node.waitForState(pod, 'programmed');
  });
  afterEach(async () => node[Symbol.asyncDispose]());

  const onNode = (...command: string[]) => exec('nsenter', [`--net=${netnsPath(node.netns)}`, ...command]);
  const ip = (words: string) => exec('ip', ['-n', node.netns, ...words.split(' ')]);
  const addGateway = async () => {
    await ip(`addr add ${GATEWAY}/32 dev ${pod.hostInterface}`);
    await ip(`route add ${pod.ipv4} dev ${pod.hostInterface} src ${GATEWAY}`);
  };
  const row = async () => {
    const { interfaces } = await node.offlineStatus();
    return interfaces.find((i) => i.interfaceName === pod.hostInterface)!;
  };
  /** Verdict on one tunnelled packet: [dropped, audited]. */
  const judged = async (destination: string): Promise<[number, number]> => {
    const before = await row();
    await node.send(pod, [ipipFrame(pod, destination)], 1);
    const after = await row();
    return [after.droppedPackets - before.droppedPackets, after.auditedPackets - before.auditedPackets];
  };

  it('a tunnel to an address of the node is dropped, only while the node has the address', async () => {
    expect(await judged(LATER)).toEqual([0, 1]);
    await ip(`addr add ${LATER}/32 dev ${pod.hostInterface}`);
    await waitFor(async () => (await judged(LATER))[0] === 1, { what: 'a tunnel to the address to be dropped' });
    expect(await judged(OTHER)).toEqual([0, 1]);
    await ip(`addr del ${LATER}/32 dev ${pod.hostInterface}`);
    await waitFor(async () => (await judged(LATER))[1] === 1, { what: 'the address to be removed' });
  });

  it('a probe from the gateway’s address reaches a quarantined pod; other packets do not', async () => {
    const server = `for (const port of [${PORT}, ${PORT + 1}]) require('net').createServer((s) => s.end('answered')).listen(port, () => console.log(port))`;
    let listening = 0;
    const lines = await startLines('nsenter', [`--net=${netnsPath(pod.netns)}`, process.execPath, '-e', server], {
      onLine: () => {
        listening += 1;
      },
    });
    try {
      await addGateway();
      await waitFor(() => listening === 2, { what: 'the pod to listen' });
      const ask = async (port: number, patienceMs = 20_000) => {
        const client = `const s = require('net').connect({ host: '${pod.ipv4}', port: ${port}, localAddress: '${GATEWAY}' });
          s.setTimeout(${patienceMs}, () => process.exit(3)); s.on('error', () => process.exit(4)); s.on('data', (d) => process.stdout.write(d));`;
        return onNode(process.execPath, '-e', client).catch(() => 'nothing');
      };
      expect([await ask(PORT), await ask(PORT + 1)]).toEqual(['answered', 'answered']);
      const entry = {
        podUid: pod.uid,
        podNamespace: 'shop',
        podName: pod.name,
        verdictId: 'v',
        until: '',
        reason: 'x',
      };
      await openBucket(node.admin, 'bailiff_quarantine').put(
        NODE,
        JSON.stringify({ nodeName: NODE, revision: 1, entries: [entry] }),
      );
      await waitFor(async () => (await row()).quarantined, { what: 'the pod to be in quarantine' });
      expect([await ask(PORT), await ask(PORT + 1, 1_000)]).toEqual(['answered', 'nothing']);
    } finally {
      await stopLines(lines, 'SIGKILL', 1_000);
    }
  });
});
