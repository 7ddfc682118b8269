// A port-forward by containerd's streaming server, whose code is the kubelet's: the framing is theirs.
// The API server passes the upgrade on, as a real one and its kubelet do.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PAUSE, writeImage } from '../support/cri/image.ts';
import type { CriSandbox } from '../support/cri/pod.ts';
import { CriRuntime } from '../support/cri/runtime.ts';
import { type KubeHarness, startKube } from '../support/kube.ts';
import { compileProgram } from '../vm/compile.ts';

const missing = CriRuntime.missing();
const POD = { namespace: 'default', pod: 'bailiff-nats-0' };

describe('port-forward by containerd', () => {
  if (missing !== null) {
    it('a container runtime', ({ skip }) => skip(missing));
    return;
  }
  const directory = temporaryDirectory();
  let runtime: CriRuntime;
  let sandbox: CriSandbox;
  let kube: KubeHarness;
  let echo: Server;
  beforeAll(async () => {
    const at = (name: string) => {
      const made = path.join(directory, name);
      mkdirSync(made, { recursive: true });
      return made;
    };
    const pause = compileProgram(path.resolve('test/lsm/programs/pause.c'), { flags: ['-static'] });
    const image = writeImage(at('cri'), { [PAUSE]: pause });
    const cni = { confDir: at('conf'), binDir: at('bin'), resultsDir: at('results') };
    runtime = await CriRuntime.start({ dir: at('cri'), cni }, image);
    // In the machine's network, so that the test itself is what listens there.
    const uid = '00000000-0000-4000-8000-00000000f0f0';
    sandbox = await runtime.runSandbox({ uid, namespace: POD.namespace, name: POD.pod, hostNetwork: true });
    echo = createServer((socket: Socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    kube = await startKube({
      streamOfPod: async (_pod, port) => {
        const request = { pod_sandbox_id: sandbox.id, port: [port] };
        const { url } = await runtime.client.runtime<{ url: string }>('PortForward', request);
        return new URL(url);
      },
    });
    kube.pod(POD.pod);
  });
  afterAll(async () => {
    await kube?.[Symbol.asyncDispose]();
    echo?.close();
    await sandbox?.remove();
    await runtime?.[Symbol.asyncDispose]();
  });
  const forward = (port: number) => kube.client().portForward({ ...POD, port, timeoutMs: 10_000 });

  it('carries megabytes both ways', async () => {
    const stream = await forward((echo.address() as AddressInfo).port);
    const sent = randomBytes(4 * 1024 * 1024);
    stream.write(sent);
    const received: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      received.push(chunk);
      if (received.reduce((sum, { length }) => sum + length, 0) >= sent.length) break;
    }
    expect(Buffer.concat(received).equals(sent)).toBe(true);
  });

  it('a port on which nothing listens - ends the stream with the reason of the runtime', async () => {
    const stream = await forward(1);
    const [error] = (await once(stream.resume(), 'error')) as [Error];
    expect(error.message).toMatch(/port-forward to port 1 of pod default\/bailiff-nats-0: .*connection refused/s);
  });
});
