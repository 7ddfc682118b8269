// Signed configuration on a real collector and real packets: an administrator of the bus cannot turn a vector off.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeToken, openBucket } from '@bailiff/bus';
import { SIGNATURE_HEADER } from '@bailiff/policy';
import { newSigner, signedBy, signerLine } from '@bailiff/policy/testing';
import { nodeStatus } from '@bailiff/schemas';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODE, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const KEY = 'spoof.namespace.shop.default';
const AUDIT = '{"modes":{"ipv4-source":"audit"}}';
const ENFORCE = '{"modes":{"ipv4-source":"enforce"}}';

describe('collector - signed configuration', () => {
  const anna = newSigner('anna@prod');
  let node: TestNode;
  let directory: string;
  let signers: string[];
  beforeEach(async () => {
    directory = temporaryDirectory();
    writeFileSync(path.join(directory, 'signers'), signerLine(anna));
    signers = ['--config-signers', path.join(directory, 'signers'), '--status-interval-ms', '250'];
    node = await TestNode.start();
  });
  afterEach(async () => {
    await node[Symbol.asyncDispose]();
  });

  const put = (json: string, signature = '') =>
    openBucket(node.admin, 'bailiff_config').put(
      KEY,
      json,
      signature === '' ? {} : { headers: { [SIGNATURE_HEADER]: signature } },
    );
  const sign = (json: string, atMs: number) => signedBy(anna, KEY, json, atMs).signature;
  const rowOf = async (pod: TestPod) =>
    (await node.offlineStatus()).interfaces.find((one) => one.interfaceName === pod.hostInterface);
  /** Of ten forged packets: the dropped and the audited ones. */
  const judged = async (pod: TestPod) => {
    const before = await rowOf(pod);
    await node.send(pod, [udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' })], 10);
    const after = await rowOf(pod);
    return [
      (after?.droppedPackets ?? 0) - (before?.droppedPackets ?? 0),
      (after?.auditedPackets ?? 0) - (before?.auditedPackets ?? 0),
    ];
  };
  const becomes = (pod: TestPod, wanted: number[]) =>
    waitFor(async () => String(await judged(pod)) === String(wanted), { what: `packets judged ${wanted}` });
  const refusal = async () => {
    const entry = await openBucket(node.admin, 'bailiff_nodes').get(encodeToken(NODE));
    const status = entry && nodeStatus.parse(JSON.parse(entry.value.toString('utf8')));
    return status?.configRefused.find(({ key }) => key === KEY)?.reason ?? '';
  };
  const refuses = (reason: RegExp) => waitFor(async () => reason.test(await refusal()), { state: refusal });

  it('unsigned and old values - packets stay dropped, also after restarts with and without the bus; control: without signers they pass', async () => {
    const pod = await node.addPod();
    await put(AUDIT, sign(AUDIT, 1));
    await put(ENFORCE, sign(ENFORCE, 2));
    await node.startCollector({ args: signers });
    await node.putPods(1);
    await node.waitForState(pod, 'programmed');
    await becomes(pod, [10, 0]);
    await put(AUDIT);
    await refuses(/^the value is not signed$/);
    await put(AUDIT, sign(AUDIT, 1));
    await refuses(/^an old value: /);
    expect(await judged(pod)).toEqual([10, 0]);

    await node.killCollector();
    await node.startCollector({ args: signers });
    await refuses(/^an old value: /);
    node.relay.setDown(true);
    await node.killCollector();
    await node.startCollector({ until: 'guarding', args: signers });
    expect(await judged(pod)).toEqual([10, 0]);
    node.relay.setDown(false);

    // A signed change passes.
    await put(AUDIT, sign(AUDIT, 3));
    await becomes(pod, [0, 10]);
    await put(ENFORCE, sign(ENFORCE, 4));
    await becomes(pod, [10, 0]);

    await put(AUDIT);
    await node.killCollector();
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    await becomes(pod, [0, 10]);
  }, 180_000);

  it('a file of signers that cannot be used - the collector does not start, and the kernel keeps its state', async () => {
    const pod = await node.addPod();
    await node.startCollector({ args: signers });
    await node.putPods(1);
    await node.waitForState(pod, 'programmed');
    await node.killCollector();
    writeFileSync(path.join(directory, 'signers'), 'nothing');
    const child = node.spawnCollector(signers);
    await once(child, 'exit');
    expect(child.exitCode).toBe(6);
    expect(await judged(pod)).toEqual([10, 0]);
  }, 120_000);
});
