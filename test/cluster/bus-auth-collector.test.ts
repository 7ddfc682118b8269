/**
 * A collector process that logs in to the bus by its token, through a bus-auth process. Packets of
 * pods are published across a change of the token.
 */
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { NODE, TestNode } from '../support/node.ts';
import { launchBundle } from '../support/process.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { AuthRig } from './bus-auth/rig.ts';

const LIFE_S = 8;
const EVERY_MS = 2_000;

/** Replaces the token in a file long before it expires. */
class Kubelet implements AsyncDisposable {
  readonly #end = new AbortController();
  readonly #work: Promise<void>;

  constructor(rig: AuthRig, tokenFile: string) {
    this.#work = this.#replace(rig, path.basename(tokenFile));
  }
  async #replace(rig: AuthRig, file: string): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      rig.write(file, await rig.tokenOf(NODE, { seconds: LIFE_S }));
      await pause(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#work;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

test('collector - with its token it publishes every dropped packet, across the expiry of a token and a restart of bus-auth', async () => {
  await using rig = await AuthRig.start();
  const { tokenFile } = await rig.collector(NODE);
  const replica = () => launchBundle('bus-auth', rig.flags());
  await using first = replica();
  await first.logged('ready');
  const node = await TestNode.start({ nats: rig.nats, login: ['--nats-token-file', tokenFile] });
  try {
    const pod = await node.addPod();
    // Renews the token as long as the API server can review it, however long the test takes.
    await using kubelet = new Kubelet(rig, tokenFile);
    await node.startCollector();
    await node.waitForState(pod, 'provisional');
    const spoofed = udpFrame({ sourceMac: pod.mac, source: '10.244.0.66', destination: '10.244.0.1' });
    const counted = (n: number) =>
      waitFor(() => node.ledger.packets({ podUid: pod.uid, action: 'drop' }) === n, {
        what: `${n} packets on the bus`,
        timeoutMs: 30_000,
        state: () => [node.log.slice(-3_000), rig.nats.log.slice(-1_000)],
      });
    await node.send(pod, [spoofed], 10);
    await counted(10);
    // The token expires while the API server cannot review another one. Drops of that time are
    // published afterwards.
    const refusals = () => rig.nats.log.split(`authentication error - User "collector-${NODE}"`).length;
    const before = refusals();
    await first.kill('SIGTERM');
    expect(first.child.exitCode).toBe(0);
    await kubelet.stop();
    rig.write(path.basename(tokenFile), await rig.tokenOf(NODE));
    await waitFor(() => refusals() > before, {
      what: 'the collector to be refused',
      state: () => [node.log.slice(-3_000), rig.nats.log.slice(-1_000)],
    });
    await node.send(pod, [spoofed], 20);
    const second = replica();
    try {
      await counted(30);
    } finally {
      await second.kill('SIGTERM');
    }
    expect(node.log).toContain('"part":"connect"');
  } finally {
    await node[Symbol.asyncDispose]();
  }
}, 120_000);
