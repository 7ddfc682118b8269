// The console in a cluster: visitors see what Kubernetes lets them see, and nothing of others, in every
// view, in every count, and on a page that is open. Bus, API server, TLS and browser are real.
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeToken } from '@bailiff/bus';
import { freePort } from '@bailiff/bus/testing';
import { configSchema, KUBE_RULES, VIEWER_RULE } from '@bailiff/console';
import { podIdentityOf, sampleInterfaces } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { start } from '../../apps/cli/src/console/serve.ts';
import { makeAuthority, makeServer } from '../../apps/cli/src/operate/credentials/openssl.ts';
import { MAX_STREAMS } from '../../apps/console/src/server/open-pages.ts';
import { accessibilityFindings, newPage, readText, startBrowser } from '../support/browser.ts';
import { type KubeHarness, startKube } from '../support/kube.ts';
import { type RunningService, Services } from '../support/service.ts';
import {
  CART,
  healthyStatus,
  NODE_A,
  NODE_B,
  publishStory,
  type Story,
  uid,
  VPN,
  verdictId,
  violationOf,
  WEB,
  World,
} from './cli/world.ts';
import { ask, type OpenStream, openStream, screenshot } from './console/rig.ts';

const rights = KUBE_RULES.map(({ apiGroups, resources, verbs }) => ({
  apiGroups: [...apiGroups],
  resources: [...resources],
  verbs: [...verbs],
}));
const viewer = (namespace?: string) => ({
  apiGroups: [...VIEWER_RULE.apiGroups],
  resources: [...VIEWER_RULE.resources],
  verbs: [...VIEWER_RULE.verbs],
  ...(namespace === undefined ? {} : { namespace }),
});
/** Everything that has a right may be taken away from: the API server reads these objects. */
const users = {
  console: { user: 'console', token: 'token-console', allow: rights },
  all: { user: 'all', token: 'token-all', allow: [viewer()] },
  shop: { user: 'shop', token: 'token-shop', allow: [viewer('shop')] },
  payments: { user: 'payments', token: 'token-payments', allow: [viewer('payments')] },
  nobody: { user: 'nobody', token: 'token-nobody', allow: [{ resources: ['pods'], verbs: ['get'] }] },
};
type Name = keyof typeof users;

let world: World;
let story: Story;
let kube: KubeHarness;
const services = new Services();
let origin = '';
let service: RunningService;

const SECRET = 'secret-of-the-proxy';
const bearer = (name: Name) => ({ authorization: `Bearer ${users[name].token}` });

/** `bailiff console serve` in this process. */
async function serve(flags: string[] = [], scheme = 'http'): Promise<{ origin: string; service: RunningService }> {
  const at = `127.0.0.1:${await freePort()}`;
  const url = `${scheme}://${at}`;
  const passwordFile = path.join(world.directory, 'console-password');
  writeFileSync(passwordFile, 'password-of-console', { mode: 0o600 });
  const argv = [
    ...['--nats-url', world.nats.url, '--nats-password-file', passwordFile],
    ...['--kubeconfig', kube.server.kubeconfigPath('console')],
    ...['--listen-address', at, '--external-url', url],
    ...['--metrics-address', '127.0.0.1:0', '--probe-address', '127.0.0.1:0'],
    ...flags,
  ];
  return { origin: url, service: await services.start({ name: 'console', argv, schema: configSchema, start }) };
}

/** Pods that violate later. */
const FRESH = [7, 5].map((count) => ({
  ...(count === 7 ? WEB : VPN),
  uid: uid(500 + count),
  name: `fresh-${count}`,
})) as [typeof WEB, typeof VPN];

beforeAll(async () => {
  world = await World.start();
  for (const [nodeName, pods] of [
    [NODE_A, [WEB, CART, FRESH[0]]],
    [NODE_B, [VPN, FRESH[1]]],
  ] as const) {
    const list = pods.map((pod, index) => podIdentityOf(pod, { interfaces: sampleInterfaces(`10.1.9.${index + 1}`) }));
    await world.put('bailiff_pods', encodeToken(nodeName), { nodeName, revision: 1, pods: list });
  }
  story = await publishStory(world);
  for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
  const why = ['--yes', '--reason', 'their VPN, until Friday'];
  for (const namespace of ['shop', 'payments'])
    await world.cli(['config', 'set', `spoof.namespace.${namespace}.default`, 'modes.tunnel=audit', ...why]);
  await world.cli(['config', 'set', 'spoof.cluster._.default', 'modes.tunnel=audit', ...why]);
  kube = await startKube({ tokens: [{ user: 'admin', token: 'token-admin' }, ...Object.values(users)] });
  for (const name of ['shop', 'payments', 'empty']) kube.server.api.create('namespaces', { metadata: { name } });
  const secretFile = path.join(world.directory, 'proxy-secret');
  writeFileSync(secretFile, `${SECRET}\n`, { mode: 0o600 });
  ({ origin, service } = await serve(['--proxy-secret-file', secretFile]));
});
afterAll(async () => {
  await services[Symbol.asyncDispose]();
  await kube?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});
const streams: OpenStream[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});
async function open(headers: Record<string, string>): Promise<OpenStream> {
  const stream = await openStream(origin, headers);
  streams.push(stream);
  return stream;
}

/** Every reading, as the page asks for it. */
const PATHS = () => [
  '/api/now',
  `/api/verdict?id=${story.spoofing.verdictId}`,
  '/api/pod?pod=shop/web-0',
  '/api/pod-file?pod=shop/web-0',
  '/api/history?since=all',
  '/api/graph?since=all',
  '/api/policies?since=all',
];

describe('who a visitor is', () => {
  it.each<[string, Record<string, string>, number]>([
    ['nobody', {}, 401],
    ['a token of nobody', { authorization: 'Bearer wrong' }, 401],
    ['a password', { authorization: 'Basic c2hvcDpzaG9w' }, 401],
    ['an empty token', { authorization: 'Bearer ' }, 401],
    ['a user without the right', bearer('nobody'), 403],
    ['the console itself', bearer('console'), 403],
    ['a name without a proxy', { 'x-forwarded-user': 'all' }, 401],
    ['a name with a wrong secret', { 'x-forwarded-user': 'all', 'x-bailiff-proxy-secret': 'guess' }, 401],
    ['a name with an empty secret', { 'x-forwarded-user': 'all', 'x-bailiff-proxy-secret': '' }, 401],
    ['two names', { 'x-forwarded-user': 'all, shop', 'x-bailiff-proxy-secret': SECRET }, 401],
    ['a name of Kubernetes', { 'x-forwarded-user': 'system:admin', 'x-bailiff-proxy-secret': SECRET }, 401],
    [
      'a wrong token, and a name',
      { 'x-forwarded-user': 'all', 'x-bailiff-proxy-secret': SECRET, authorization: 'Bearer x' },
      401,
    ],
    ['another site of the same browser', { ...bearer('all'), origin: 'http://evil.example' }, 403],
    ['another name of the console', { ...bearer('all'), host: 'evil.example' }, 421],
    ['a name from the proxy', { 'x-forwarded-user': 'shop', 'x-bailiff-proxy-secret': SECRET }, 200],
    ['a token', bearer('shop'), 200],
    ['a token for all', bearer('all'), 200],
  ])('%s', async (_, headers, status) => {
    for (const one of PATHS()) expect([one, (await ask(origin, one, { headers })).status]).toEqual([one, status]);
    expect((await ask(origin, '/api/session', { method: 'POST', headers: { ...headers, origin } })).status).not.toBe(
      200,
    );
  });

  it('a name from the proxy sees what its user sees', async () => {
    const stream = await open({ 'x-forwarded-user': 'shop', 'x-bailiff-proxy-secret': SECRET });
    await waitFor(() => stream.view()?.scope);
    expect(stream.view()?.scope).toEqual({ isAll: false, namespaces: ['shop'], omitted: 0 });
  });

  it('a client certificate - of the proxy is one, of another name or CA is none', async () => {
    const [ca, otherCa] = await Promise.all([makeAuthority(), makeAuthority()]);
    const file = (name: string, text: string) => {
      const at = path.join(world.directory, name);
      writeFileSync(at, text, { mode: 0o600 });
      return at;
    };
    // All of them have the common name bailiff-nats.
    const [server, proxy, stranger] = await Promise.all([
      makeServer(ca, ['127.0.0.1']),
      makeServer(ca, ['proxy']),
      makeServer(otherCa, ['proxy']),
    ]);
    const flags = [
      ...['--tls-cert-file', file('tls.crt', server.certificate), '--tls-key-file', file('tls.key', server.key)],
      ...['--proxy-ca-file', file('proxy-ca.crt', ca.certificate)],
    ];
    const named = await serve([...flags, '--proxy-names', 'bailiff-nats'], 'https');
    const other = await serve([...flags, '--proxy-names', 'another'], 'https');
    const as = async (
      at: string,
      pair: { certificate: string; key: string } | null,
      headers: Record<string, string>,
    ) => {
      const tls = pair ? { cert: pair.certificate, key: pair.key } : {};
      return (await ask(at, '/api/history', { ca: ca.certificate, ...tls, headers })).status;
    };
    const name = { 'x-forwarded-user': 'shop' };
    expect(await as(named.origin, proxy, name), 'the proxy').toBe(200);
    expect(await as(named.origin, null, name), 'no certificate').toBe(401);
    expect(await as(named.origin, stranger, name), 'another CA').toBe(401);
    expect(await as(other.origin, proxy, name), 'another name').toBe(401);
    expect(await as(named.origin, null, bearer('shop')), 'a token needs none').toBe(200);
    expect(await as(named.origin, proxy, {}), 'the proxy itself is no visitor').toBe(401);
    const endsAt = Date.parse(new X509Certificate(server.certificate).validTo) / 1_000;
    const ready = named.service.log().find(({ msg }) => msg === 'ready');
    const metrics = await (await fetch(`http://${ready?.['metricsAddress']}/metrics`)).text();
    expect(metrics).toContain(`bailiff_bus_certificate_not_after_seconds{certificate="console certificate"} ${endsAt}`);
  });
});

/** Words of the story that belong to a namespace, or to nodes. */
const OF = {
  payments: ['payments', 'vpn-0', VPN.uid, 'tunnel-other', 'audited-spoofing'],
  shop: ['shop/', 'web-0', WEB.uid, 'ipv4-source', 'cart-1'],
  nodes: ['node-b.example', 'unknown-interface', 'their VPN, until Friday'],
} as const;

async function bodies(name: Name, paths: string[]): Promise<string> {
  const all = [];
  for (const one of paths) {
    const { body } = await ask(origin, one, { headers: bearer(name) });
    // A page repeats the text of a pod that was asked for.
    all.push(body.replaceAll(new URL(one, origin).searchParams.get('pod') ?? '\n', ''));
  }
  const stream = await open(bearer(name));
  await waitFor(() => stream.view()?.live.complete === true && stream.view()?.status && stream.view()?.waiting, {
    state: () => stream.view(),
  });
  return [...all, stream.text()].join('\n');
}

describe('what a visitor sees', () => {
  const everywhere = () => [
    ...PATHS(),
    `/api/verdict?id=${story.tunnelling.verdictId}`,
    `/api/verdict?id=${story.tunnelling.verdictId.slice(0, 4)}`,
    '/api/pod?pod=payments/vpn-0',
    '/api/pod-file?pod=payments/vpn-0',
    `/api/pod-file?pod=${VPN.uid}&namespace=shop`,
    `/api/pod?pod=${VPN.uid}`,
    `/api/pod?pod=${VPN.uid}&namespace=shop`,
    '/api/pod?pod=vpn-0',
    '/api/history?key=spoof.namespace.payments.default&since=all',
    '/api/history?key=spoof.cluster._.default&since=all',
  ];

  it('a viewer of one namespace finds no word of another one, whatever is asked for', async () => {
    const seen = await bodies('shop', everywhere());
    for (const word of [...OF.payments.filter((one) => one !== 'payments'), 'node-b.example', 'unknown-interface'])
      expect([word, seen.includes(word)]).toEqual([word, false]);
    for (const word of OF.shop) expect([word, seen.includes(word)]).toEqual([word, true]);
    // The controls: it is there for those who may see it.
    const all = await bodies('all', everywhere());
    for (const word of Object.values(OF).flat()) expect([word, all.includes(word)]).toEqual([word, true]);
  });

  it('a trial judges all namespaces: only for those who may see all', async () => {
    const trial = '/api/trial?key=correlation.cluster._.repeated-spoofing&set=condition.gte=5&since=1d';
    // Evidence has frames of all pods of a node.
    const evidence = `/api/evidence?id=${story.spoofing.verdictId}`;
    for (const one of ['/api/rules', evidence]) {
      const status = async (name: Name) => (await ask(origin, one, { headers: bearer(name) })).status;
      expect([one, await status('shop'), await status('all')]).toEqual([one, 403, 200]);
    }
    const policy = `kind: RuntimePolicy\nmetadata: {name: any}\nspec: {defaultPosture: {file: block}}\n`;
    const body = JSON.stringify({ policy, since: '1d' });
    const posted = { method: 'POST', body, headers: { origin, 'content-type': 'application/json' } };
    const mode = '/api/trial?key=spoof.namespace.payments.default&set=modes.tunnel=off&since=1d';
    const trials = [
      [trial, {}, 'Nothing would have been different'],
      [mode, {}, 'Packets under the trial modes'],
      ['/api/simulation', posted, 'what enforcing any, with'],
      // Also of a pod of its own: what else is audited there is of policies of the cluster.
      ['/api/learn?pod=shop/web-0&since=1d', {}, 'no operation of shop/web-0 was audited'],
    ] as const;
    for (const [one, asked, words] of trials) {
      const headers = 'headers' in asked ? asked.headers : {};
      const sent = (name: Name) => ask(origin, one, { ...asked, headers: { ...headers, ...bearer(name) } });
      const [shop, all] = [await sent('shop'), await sent('all')];
      expect([one, shop.status, all.status]).toEqual([one, 403, 200]);
      // The rights of the console's own login are enough for the result.
      expect([one, all.body]).toEqual([one, expect.stringContaining(words)]);
      expect([one, shop.body.includes('payments')]).toEqual([one, false]);
    }
    const unstored = await ask(origin, '/api/policy?key=runtime.cluster._.any', { headers: bearer('shop') });
    expect(unstored.status, 'not even whether it exists').toBe(403);
  });

  it('what is outside the scope is as if it did not exist', async () => {
    const read = async (name: Name, one: string) => {
      const { status, body } = await ask(origin, one, { headers: bearer(name) });
      return { status, body };
    };
    const hidden = await read('shop', `/api/verdict?id=${story.tunnelling.verdictId}`);
    const absent = await read('shop', `/api/verdict?id=${'9'.repeat(32)}`);
    expect(hidden.status).toBe(404);
    expect(hidden.body.replace(story.tunnelling.verdictId, 'ID')).toBe(absent.body.replace('9'.repeat(32), 'ID'));
    const pods = await Promise.all(
      ['payments/vpn-0', 'payments/absent-0'].map((pod) => read('shop', `/api/pod?pod=${pod}`)),
    );
    expect(pods[0]).toEqual(pods[1]);
    expect(pods[0]?.status).toBe(404);
    expect((await read('payments', '/api/pod?pod=payments/vpn-0')).status, 'the control').toBe(200);
  });

  it('counts are those of the scope, and two visitors at once have their own', async () => {
    // Those of the beginning are old by now on a loaded machine.
    for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
    const [shop, payments, all] = [
      await open(bearer('shop')),
      await open(bearer('payments')),
      await open(bearer('all')),
    ];
    const names = ['shop', 'payments', 'all'] as const;
    const complete = () => [shop, payments, all].every((one) => one.view()?.live.complete && one.view()?.status);
    await waitFor(complete, { what: 'three views' });
    const totals = () => [shop, payments, all].map((one) => one.view()?.live.rates.total ?? 0);
    const before = totals();
    expect(before.slice(0, 2)).toEqual([322, 40]);
    expect(before[2]).toBeGreaterThanOrEqual(363);
    const at = Date.now() * 1000;
    const fresh = (pod: typeof WEB, count: number) => violationOf(at, pod, { cumulativePackets: count, count });
    await world.frame(NODE_A, [fresh(FRESH[0], 7)]);
    await world.frame(NODE_B, [fresh(FRESH[1], 5)]);
    const grown = () => totals().map((total, index) => total - (before[index] ?? 0));
    await waitFor(() => grown().join() === '7,5,12', { state: grown, what: 'each its own' });
    const views = [shop, payments, all].map((one) => one.view());
    expect(views.map((view) => view?.live.verdicts.rows.length)).toEqual([2, 1, 3]);
    expect(views.map((view) => view?.live.verdicts.omitted)).toEqual([0, 0, 0]);
    expect(views.map((view) => view?.waiting?.rows.length)).toEqual([0, 1, 1]);
    expect(views.map((view) => view?.scope.isAll)).toEqual([false, false, true]);
    // Nodes, services and their problems are of no namespace.
    for (const [index, view] of views.entries()) {
      const isAll = names[index] === 'all';
      expect([view?.status?.exitCode === null, view?.status?.streams === '']).toEqual([!isAll, !isAll]);
      expect(view?.status?.nodes.columns[0]?.title).toBe(isAll ? 'NODE' : 'POD');
    }
    // Both nodes report the pods of shop as guarded; node-b has none of them, and is silent about its own.
    const guarded = (index: number) => [views[index]?.status?.guarded, views[index]?.status?.guardable];
    expect([guarded(0), guarded(1)]).toEqual([
      [2, 3],
      [0, 2],
    ]);
    expect(views[1]?.status?.headline).toBe('Not known to be guarded: 2 of 2 interfaces of your pods');
  });

  it('a verdict about a node, and evidence of another pod, are not those of a namespace', async () => {
    const part = { nodeName: NODE_B, pod: { ...WEB }, groupKey: WEB.uid };
    const evidence = (streamSequence: number) => [
      { streamSequence, index: 0, vector: 'ipv4-source', packets: 40, process: null },
    ];
    // The last pod that the node rule counted was of shop; the others were not.
    const ofNode = await world.verdict({
      ...part,
      ...{ verdictId: verdictId(0xdddd), rule: 'many-on-node', groupBy: 'node', groupKey: NODE_B },
      evidence: evidence(3),
      reason: '99 packets (tunnel-other) by node node-b; by /usr/bin/payments-job (pid 7)',
    });
    // A stream that was restored: the sequence is that of a violation of vpn-0.
    const restored = await world.verdict({
      ...part,
      ...{ verdictId: verdictId(0xeeee), rule: 'restored', evidence: evidence(3) },
    });
    const read = async (name: Name, one: string) => {
      const { status, body } = await ask(origin, one, { headers: bearer(name) });
      return { status, body };
    };
    const path_ = `/api/verdict?id=${ofNode.verdictId}`;
    expect([(await read('shop', path_)).status, (await read('all', path_)).status]).toEqual([404, 200]);
    const stream = await open(bearer('shop'));
    await waitFor(() => stream.view()?.live.complete && stream.text().includes('restored'));
    const page = await read('shop', '/api/pod?pod=shop/web-0');
    for (const text of [stream.text(), page.body]) {
      expect(text).toContain('restored');
      expect(text).not.toMatch(/many-on-node|payments-job/);
    }
    expect((await read('all', '/api/pod?pod=shop/web-0')).body, 'the control').toContain('payments-job');
    const bodies_ = [await read('shop', `/api/verdict?id=${restored.verdictId}`)];
    bodies_.push(await read('all', `/api/verdict?id=${restored.verdictId}`));
    expect(bodies_.map(({ status, body }) => [status, body.includes('tunnel-other')])).toEqual([
      [200, false],
      [200, true],
    ]);
  });

  it('a node that accuses a pod of a namespace is not named to it', async () => {
    const at = Date.now() * 1000;
    await world.frame(NODE_B, [violationOf(at, WEB, { counterEpoch: 'lie', cumulativePackets: 900, count: 900 })]);
    const pod = async (name: Name) =>
      (await ask(origin, '/api/pod?pod=shop/web-0', { headers: bearer(name) })).body.includes('refused, not counted');
    await waitFor(() => pod('all'), { what: 'the control: those who see nodes are told' });
    expect(await pod('shop')).toBe(false);
  });

  it('no page claims to be empty if it hides rows from the visitor', async () => {
    await world.cli(['policy', 'apply', '-', '--yes'], {
      stdin: [
        'apiVersion: bailiff.dev/v1alpha1',
        'kind: RuntimePolicy',
        'metadata: { name: no-shell }',
        'spec: { mode: audit, rules: [{ name: shells, action: block, execute: { paths: [/bin/sh] } }] }',
      ].join('\n'),
    });
    const read = async (name: Name, one: string) => (await ask(origin, one, { headers: bearer(name) })).body;
    expect(await read('all', '/api/policies'), 'the control: it is stored').toContain('no-shell');
    expect(await read('shop', '/api/policies')).toContain(
      'No policy for programs is stored in the namespaces that you may see',
    );
    const history = async (name: Name, key: string) =>
      (await read(name, `/api/history?key=${key}&since=all`)).replaceAll(key, 'KEY');
    const [stored, absent] = ['spoof.cluster._.default', 'correlation.cluster._.repeated-spoofing'];
    expect(await history('all', stored)).toContain('their VPN, until Friday');
    expect(await history('all', absent), 'the control: there is none').toContain('no value was ever stored');
    // It does not depend on whether there is a value.
    expect(await history('shop', stored)).toContain('KEY: you may see changes in your own namespaces only');
    expect(await history('shop', absent)).toBe(await history('shop', stored));
  });
});

describe('requests', () => {
  it('what a browser adds to the headers of the proxy is refused', async () => {
    const status = async (groups: string | string[]) => {
      const headers = { 'x-forwarded-user': 'shop', 'x-bailiff-proxy-secret': SECRET, 'x-forwarded-groups': groups };
      return (await ask(origin, '/api/history', { headers: headers as Record<string, string> })).status;
    };
    expect([await status('dev'), await status(['security', 'dev'])]).toEqual([200, 401]);
  });

  it('each refusal is counted, also of one page too many', async () => {
    const count = (status: number) => service.metric(`refused_total{status="${status}"}`);
    const before = await count(503);
    let last = 200;
    for (let n = 0; last === 200 && n <= MAX_STREAMS; n += 1) last = (await open(bearer('payments'))).status;
    expect([last, await count(503)]).toEqual([503, before + 1]);
    const other = await count(421);
    expect((await ask(origin, '/api/history', { headers: { ...bearer('all'), host: 'a.example' } })).status).toBe(421);
    expect(await count(421)).toBe(other + 1);
    expect((await open(bearer('shop'))).status, 'the control: others have a place').toBe(200);
  });
});

describe('a right that ends', () => {
  it('ends an open page within ten seconds, and what was asked for then is refused', async () => {
    const [shop, all] = [await open(bearer('shop')), await open(bearer('all'))];
    expect(shop.status).toBe(200);
    const { allow } = users.shop;
    const takenMs = performance.now();
    users.shop.allow = [];
    try {
      await waitFor(() => !shop.isOpen(), { what: 'the end of the stream', timeoutMs: 20_000 });
      expect(performance.now() - takenMs).toBeLessThan(12_000);
      for (const one of PATHS()) expect((await ask(origin, one, { headers: bearer('shop') })).status).toBe(403);
      expect(all.isOpen(), 'others stay').toBe(true);
    } finally {
      users.shop.allow = allow;
    }
    // Given back, it comes within the time for which a missing right is remembered; a new token asks at once.
    expect((await ask(origin, '/api/history', { headers: bearer('payments') })).status).toBe(200);
  });

  it('a smaller right ends the page of the larger one, and opens its own', async () => {
    const stream = await open(bearer('all'));
    await waitFor(() => stream.text().includes('vpn-0'), { what: 'everything' });
    const { allow } = users.all;
    users.all.allow = [viewer('shop')];
    try {
      await waitFor(() => !stream.isOpen(), { what: 'the end of the stream', timeoutMs: 20_000 });
      const next = await open(bearer('all'));
      await waitFor(() => next.view()?.live.complete === true);
      expect(next.view()?.scope).toEqual({ isAll: false, namespaces: ['shop'], omitted: 0 });
      expect(next.text()).not.toContain('vpn-0');
    } finally {
      users.all.allow = allow;
    }
  });

  it('a token that ends ends the page too, and is counted', async () => {
    const stream = await open(bearer('payments'));
    kube.server.faults.expireTokens('payments');
    try {
      await waitFor(() => !stream.isOpen(), { what: 'the end of the stream', timeoutMs: 20_000 });
      expect((await ask(origin, '/api/history', { headers: bearer('payments') })).status).toBe(401);
    } finally {
      kube.server.faults.restoreTokens('payments');
    }
    const isBack = async () => (await ask(origin, '/api/history', { headers: bearer('payments') })).status === 200;
    await waitFor(isBack, { what: 'the token to be accepted again' });
    expect(await service.metric('refused_total{status="401"}')).toBeGreaterThan(0);
  });
});

describe('in a browser', () => {
  it('the page says whose violations it shows, and what a visitor without a right can do', async () => {
    const browser = await startBrowser();
    try {
      const { page, errors } = await newPage(browser, { extraHTTPHeaders: bearer('payments') });
      await page.goto(origin);
      await page.getByText('You see the namespace').waitFor();
      await page.getByText('payments/vpn-0').first().waitFor();
      await page.getByText('● live').waitFor();
      const text = await readText(page.locator('main'));
      expect(text).not.toMatch(/web-0|shop\/|Coverage by node/);
      for (const width of [390, 1280]) {
        await page.setViewportSize({ width, height: 900 });
        expect([width, await accessibilityFindings(page), errors]).toEqual([width, [], []]);
        await screenshot(page, `viewer-light-${width}`);
      }
      // This page stays open: its place would be free for the late one.
      let last = 200;
      for (let n = 0; last === 200 && n <= MAX_STREAMS; n += 1) last = (await open(bearer('payments'))).status;
      const late = await newPage(browser, { extraHTTPHeaders: bearer('payments') });
      await late.page.goto(origin);
      await late.page.getByText('Not live: too many pages are open already').waitFor();
      for (const stream of streams.splice(0)) stream.close();
      await late.page.getByText('● live').waitFor();
      for (const one of [late, { page }]) await one.page.context().close();
      const other = await newPage(browser, { extraHTTPHeaders: bearer('nobody') });
      await other.page.goto(origin);
      await other.page.getByText('create rolebinding').waitFor();
      expect(await accessibilityFindings(other.page)).toEqual([]);
      await other.page.context().close();
    } finally {
      await browser.close();
    }
  });
});
