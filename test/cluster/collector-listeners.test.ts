// The HTTP listeners of a collector under attack by a pod of its node: the kubelet's probes and the
// scrapes of another source succeed. As a control, the same attack against a listener for both that
// refuses the newest connection.
import type { ChildProcess } from 'node:child_process';
import { exec, netnsPath } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAX_CONNECTIONS } from '../../libs/service/src/http.ts';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { TestNode, type TestPod } from '../support/node.ts';
import { launch, type RunningProcess } from '../support/process.ts';

const GATEWAY = '10.244.0.1';
const METRICS = `${GATEWAY}:9464`;
const PROBES = '127.0.0.1:9465';
const SHARED_PORT = 9470;
const PARSING_PORT = 9471;
const CONNECTIONS = 64;
/** As the kubelet: a new connection, and its timeout. */
const PROBE_TIMEOUT_MS = 3_000;

/** Keeps idle connections open, and opens each again that the server closes. Prints how many are open. */
const HOLD = (host: string, port: number, count: number) => `
let open = 0;
const one = () => {
  const socket = require('node:net').connect({ host: '${host}', port: ${port} });
  socket.on('connect', () => open++);
  socket.on('error', () => {});
  socket.on('close', (hadError) => { open -= hadError ? 0 : 1; setTimeout(one, 50); });
  socket.resume();
};
for (let n = 0; n < ${count}; n++) one();
setInterval(() => console.log(open), 50);`;

/** Sends requests as fast as it can, each by a new connection. Prints how many it has made. */
const FLOOD = (host: string, port: number) => `
let made = 0;
const one = () => {
  const socket = require('node:net').connect({ host: '${host}', port: ${port} });
  socket.on('connect', () => { made++; socket.write('GET /metrics HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'); });
  socket.on('error', () => {});
  socket.on('close', one);
  socket.resume();
};
for (let n = 0; n < 64; n++) one();
setInterval(() => console.log(made), 50);`;

/**
 * As many requests in a connection as one read takes, without pause, in as many connections as eight pods have
 * together. Prints how many it has made.
 */
const PIPELINE = (host: string, port: number) => `
const requests = Buffer.from('GET /x HTTP/1.1\\r\\nhost:\\r\\n\\r\\n'.repeat(2400));
let made = 0;
const one = () => {
  const socket = require('node:net').connect({ host: '${host}', port: ${port} });
  socket.on('connect', () => { made++; socket.write(requests); });
  socket.on('error', () => {});
  socket.on('close', () => setImmediate(one));
  socket.resume();
};
for (let n = 0; n < ${MAX_CONNECTIONS}; n++) one();
setInterval(() => console.log(made), 50);`;

/** A listener that ends a connection at its second request, and has parsed all of them by then. */
const PARSING = `
const asked = new WeakSet();
require('node:http').createServer((request, response) => {
  if (asked.has(request.socket)) return request.socket.destroy();
  asked.add(request.socket);
  response.end('ok');
}).listen(${PARSING_PORT}, '0.0.0.0', () => console.log('listening'));`;

/** The former listener: metrics and probes together, with a limit of all connections. */
const SHARED = `
const server = require('node:http').createServer((request, response) => response.end('ok'));
server.maxConnections = ${CONNECTIONS};
server.listen(${SHARED_PORT}, '0.0.0.0', () => console.log('listening'));`;

const ASK = (url: string, times: number, timeoutMs: number) => `
const ask = () => new Promise((done) => {
  const request = require('node:http').get('${url}', { agent: false, timeout: ${timeoutMs} }, (response) => {
    response.resume().on('end', () => done(response.statusCode)).on('error', () => done('cut'));
  });
  request.on('timeout', () => request.destroy(new Error('timeout'))).on('error', (error) => done(error.code ?? error.message));
});
(async () => {
  const answers = {};
  for (let n = 0; n < ${times}; n++) { const answer = await ask(); answers[answer] = (answers[answer] ?? 0) + 1; }
  console.log(JSON.stringify(answers));
})();`;

describe('listeners of a collector', () => {
  let node: TestNode;
  let attacker: TestPod;
  let other: TestPod;
  let shared: RunningProcess;
  let collector: ChildProcess;

  const run = (netns: string, script: string, flags: readonly string[] = []) =>
    launch('nsenter', [`--net=${netnsPath(netns)}`, process.execPath, ...flags, '-e', script]);
  /** Requests one after another. @returns how often each status or error came */
  const ask = async (netns: string, url: string, times: number, timeoutMs = PROBE_TIMEOUT_MS) =>
    JSON.parse(
      await exec('nsenter', [`--net=${netnsPath(netns)}`, process.execPath, '-e', ASK(url, times, timeoutMs)]),
    ) as Record<string, number>;
  /** Connections that a flood has made. */
  const made = (one: RunningProcess) => Number(one.stdout().trim().split('\n').at(-1));
  const counter = (series: string) => node.metric(series);

  beforeAll(async () => {
    node = await TestNode.start();
    attacker = await node.addPod();
    other = await node.addPod();
    for (const { hostInterface, ipv4, netns } of [attacker, other]) {
      await exec('ip', ['-n', node.netns, 'addr', 'add', `${GATEWAY}/32`, 'dev', hostInterface]);
      await exec('ip', ['-n', node.netns, 'route', 'add', `${ipv4}/32`, 'dev', hostInterface]);
      await exec('ip', ['-n', netns, 'route', 'add', 'default', 'via', GATEWAY]);
    }
    collector = await node.startCollector({ args: ['--metrics-address', METRICS, '--probe-address', PROBES] });
    for (const pod of [attacker, other]) await node.waitForState(pod, 'provisional');
    shared = run(node.netns, SHARED);
    await shared.printed('listening');
  });
  afterAll(async () => {
    await shared?.kill();
    await node?.[Symbol.asyncDispose]();
  });

  it('control - idle connections of a pod to a listener shared with the probes make every probe fail', async () => {
    const url = `http://127.0.0.1:${SHARED_PORT}/`;
    expect(await ask(node.netns, url, 10)).toEqual({ 200: 10 });
    await using holding = run(attacker.netns, HOLD(GATEWAY, SHARED_PORT, CONNECTIONS));
    await holding.printed(/^64$/m);
    expect(await ask(node.netns, url, 10)).not.toHaveProperty('200');
  });

  it('a pod that holds connections to the metrics delays no probe, and no scrape of another source', async () => {
    await using holding = run(attacker.netns, HOLD(GATEWAY, 9464, 4 * CONNECTIONS));
    await waitFor(() => counter('bailiff_http_connections_closed_total{listener="metrics",reason="source-share"}'), {
      state: holding.out,
    });
    expect(await ask(node.netns, `http://${PROBES}/healthz`, 20)).toEqual({ 200: 20 });
    expect(await ask(node.netns, `http://${PROBES}/readyz`, 20)).toEqual({ 200: 20 });
    expect(await ask(other.netns, `http://${METRICS}/metrics`, 20)).toEqual({ 200: 20 });
    // Its share, and those that are being closed.
    expect(await counter('bailiff_http_connections{listener="metrics"}')).toBeLessThan(CONNECTIONS);
    expect(await counter('bailiff_http_connections_closed_total{listener="probes",reason="all-shares"}')).toBe(0);
  });

  // From the address of the kubelet: a burst of its connections can displace a probe before its
  // request is read. The kubelet restarts a container after three failures in a row.
  it('a process of the node that holds connections to the probes makes few of them fail', async () => {
    await using holding = run(node.netns, HOLD('127.0.0.1', 9465, 4 * CONNECTIONS));
    await waitFor(() => counter('bailiff_http_connections_closed_total{listener="probes",reason="source-share"}'), {
      state: holding.out,
    });
    expect((await ask(node.netns, `http://${PROBES}/healthz`, 50))[200]).toBeGreaterThanOrEqual(45);
  });

  it('packets of a pod to the node’s loopback get no answer, also where the kernel routes them there', async () => {
    // As kube-proxy sets it. The pod itself must not keep packets to 127.0.0.1 for itself.
    for (const netns of [node.netns, attacker.netns]) {
      await exec('nsenter', [`--net=${netnsPath(netns)}`, 'sysctl', '-q', 'net.ipv4.conf.all.route_localnet=1']);
    }
    await exec('ip', ['-n', attacker.netns, 'addr', 'flush', 'dev', 'lo']);
    await exec('ip', ['-n', attacker.netns, 'route', 'add', '127.0.0.1/32', 'via', GATEWAY, 'src', attacker.ipv4]);
    expect(await ask(attacker.netns, `http://127.0.0.1:${SHARED_PORT}/`, 5)).toEqual({ 200: 5 });
    expect(await ask(attacker.netns, `http://${PROBES}/healthz`, 5)).toEqual({ ECONNRESET: 5 });
    expect(await counter('bailiff_http_connections_closed_total{listener="probes",reason="not-local"}')).toBe(5);
    expect(await ask(node.netns, `http://${PROBES}/healthz`, 5)).toEqual({ 200: 5 });
  });

  it('a pod that opens connections without pause delays no probe by its timeout', async () => {
    await using flooding = run(attacker.netns, FLOOD(GATEWAY, 9464));
    while (!(made(flooding) > 1_000)) expect(await ask(node.netns, `http://${PROBES}/healthz`, 5)).toEqual({ 200: 5 });
    expect(await counter('bailiff_http_metrics_repeated_total')).toBeGreaterThan(0);
  });

  it('control - requests behind the first one fill the heap of a collector if they are parsed', async () => {
    await using parsing = run(node.netns, PARSING, COLLECTOR_NODE_FLAGS);
    await parsing.printed('listening');
    await using _flooding = run(attacker.netns, PIPELINE(GATEWAY, PARSING_PORT));
    expect((await parsing.exit)[1]).toBe('SIGABRT');
    expect(parsing.stderr()).toContain('JavaScript heap out of memory');
  });

  it('a pod that sends thousands of requests in each connection ends no collector and no probe', async () => {
    await using flooding = run(attacker.netns, PIPELINE(GATEWAY, 9464));
    while (!(made(flooding) > 500)) expect(await ask(node.netns, `http://${PROBES}/healthz`, 5)).toEqual({ 200: 5 });
    expect(collector.exitCode ?? collector.signalCode).toBeNull();
  });
});
