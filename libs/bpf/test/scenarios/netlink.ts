/** Child process: link events, namespace ids and dumps, on veths created there. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { waitFor } from '@bailiff/service/testing';
import {
  deleteLink,
  dumpAddresses,
  dumpLinks,
  dumpLinksOf,
  dumpLocalNetworks,
  firstLinks,
  getLink,
  getNsid,
  LinkMonitor,
  type LinkRecord,
} from '../../src/index.ts';
import { scenarioMain } from '../helpers.ts';
import { addVeth, failure, ip, Namespace, wire } from './network.ts';

/** A monitor that collects its events. */
function watch(receiveBufferBytes?: number): { events: LinkRecord[]; overruns: () => number } & Disposable {
  const events: LinkRecord[] = [];
  let overruns = 0;
  const monitor = new LinkMonitor({
    onLinks: (links) => events.push(...links),
    onOverrun: () => overruns++,
    receiveBufferBytes,
  });
  return { events, overruns: () => overruns, [Symbol.dispose]: () => monitor.close() };
}

async function events(): Promise<unknown> {
  using seen = watch();
  const ifindex = addVeth('va', 'vb');
  const of = (condition: (link: LinkRecord) => boolean) =>
    waitFor(() => seen.events.find((link) => link.ifindex === ifindex && condition(link)), {
      what: 'an event',
      state: () => seen.events,
    });
  const made = await of((link) => link.name === 'va');
  const { name, kind, removed, mtu, master, linkNetnsid, newNetnsid } = made;
  const peer = seen.events.find((link) => link.name === 'vb');
  ip('link', 'set', 'va', 'address', '02:00:00:00:00:07');
  const mac = (await of((link) => link.mac === '02:00:00:00:00:07')).mac;
  ip('link', 'set', 'va', 'up');
  ip('link', 'set', 'vb', 'up');
  const up = (await of((link) => link.operstate === 6)).flags & 1;
  ip('link', 'set', 'va', 'name', 'renamed');
  const renamed = (await of((link) => link.name === 'renamed')).name;
  ip('link', 'add', 'bridge0', 'type', 'bridge');
  ip('link', 'set', 'renamed', 'master', 'bridge0');
  const bridge = dumpLinks().find((link) => link.name === 'bridge0');
  const enslaved = (await of((link) => link.master !== null)).master === bridge?.ifindex;
  ip('link', 'set', 'renamed', 'nomaster');
  ip('link', 'set', 'renamed', 'mtu', '1400');
  await of((link) => link.mtu === 1400);
  const removedByBridge = seen.events.some((link) => link.ifindex === ifindex && link.removed);
  ip('link', 'del', 'renamed');
  const gone = (await of((link) => link.removed)).name;
  return {
    made: { name, kind, removed, mtu, master, linkNetnsid, newNetnsid },
    peered: made.peerIfindex === peer?.ifindex,
    mac,
    up,
    renamed,
    enslaved,
    bridgeKind: bridge?.kind,
    removedByBridge,
    gone,
    afterwards: getLink(ifindex),
    overruns: seen.overruns(),
  };
}

async function namespaces(): Promise<unknown> {
  using seen = watch();
  using namespace = await Namespace.create();
  const beforeAnyId = getNsid({ pid: namespace.pid });
  const ifindex = addVeth('va', 'vb');
  wire('va', 'vb', namespace);
  const link = await waitFor(() => seen.events.find((event) => event.name === 'va' && event.linkNetnsid !== null), {
    what: 'a link-netnsid',
    state: () => seen.events,
  });
  const moved = await waitFor(() => seen.events.find((event) => event.name === 'vb' && event.removed), {
    what: 'the peer to leave',
  });
  dumpLinks();
  const nsid = getNsid({ pid: namespace.pid });
  assert(nsid !== null);
  namespace.run('ping', '-c', '2', '-i', '0.01', '-W', '1', '192.0.2.1');
  const there = dumpLinks({ targetNsid: nsid });
  const peer = there.find((candidate) => candidate.name === 'vb');
  const expectedMac =
    namespace.run('cat', '/proc/net/dev').ok && namespace.run('ip', '-br', 'link', 'show', 'vb').output;
  return {
    beforeAnyId,
    sameId: [link.linkNetnsid, moved.newNetnsid].every((id) => id === nsid),
    peerFound: peer?.ifindex === link.peerIfindex && getLink(peer?.ifindex ?? 0, { targetNsid: nsid })?.name === 'vb',
    firstThere: firstLinks(9, { targetNsid: nsid }).some(({ name }) => name === 'vb'),
    macAgrees: peer !== undefined && String(expectedMac).includes(peer.mac),
    counted: (getLink(ifindex)?.rxPackets ?? 0) >= 2 && (getLink(ifindex)?.txPackets ?? 0) >= 2,
  };
}

function localNetworks(): unknown {
  ip('link', 'set', 'lo', 'up');
  const before = new Set(dumpLocalNetworks());
  ip('link', 'add', 'd0', 'type', 'bridge');
  // The interface stays down.
  ip('addr', 'add', '192.0.2.1/24', 'dev', 'd0');
  ip('route', 'add', 'local', '198.51.100.0/24', 'dev', 'lo');
  ip('-6', 'route', 'add', 'local', '2001:db8::/64', 'dev', 'lo');
  ip('route', 'add', '203.0.113.0/24', 'dev', 'lo');
  const added = dumpLocalNetworks().filter((network) => !before.has(network));
  ip('link', 'set', 'd0', 'up');
  return { loopback: before.has('127.0.0.0/8'), added, broadcast: dumpLocalNetworks().includes('192.0.2.255/32') };
}

/** A link with as many alternative names as the kernel accepts, and one behind it. */
function largeLink(): unknown {
  ip('link', 'add', 'large0', 'type', 'bridge');
  const names = Array.from(
    { length: 480 },
    (_, n) => `link property add dev large0 altname ${String(n).padStart(127, 'n')}`,
  );
  assert.equal(spawnSync('ip', ['-batch', '-'], { input: names.join('\n') }).status, 0);
  const ifindex = addVeth('behind0', 'behind1');
  ip('addr', 'add', '192.0.2.1/24', 'dev', 'behind0');
  ip('addr', 'add', '2001:db8::1', 'peer', '2001:db8::2/128', 'dev', 'behind0', 'nodad');
  ip('link', 'set', 'behind0', 'up');
  ip('link', 'set', 'behind1', 'up');
  const links = dumpLinks();
  const script = 'console.log(Object.keys(require("node:os").networkInterfaces()))';
  const control = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 2_000 });
  return {
    names: links.map(({ name }) => name).filter((name) => /^(large|behind)/.test(name)),
    counted: links.find((link) => link.ifindex === ifindex)?.rxPackets !== null,
    addresses: dumpAddresses().flatMap((one) =>
      one.ifindex === ifindex && !one.address.startsWith('fe80:') ? `${one.address}/${one.prefixLength}` : [],
    ),
    ofKind: ['veth', 'nosuch'].map((kind) => dumpLinksOf(kind).map(({ name }) => name)),
    glibcFinds: control.stdout.includes('behind0'),
  };
}

function refusals(): unknown {
  const veth = addVeth('deleted0', 'deleted1');
  deleteLink(veth);
  const pid = spawnSync('true').pid;
  return {
    deadPid: failure(() => getNsid({ pid })),
    unknownTarget: failure(() => dumpLinks({ targetNsid: 4711 })),
    unknownTargetOfFirst: failure(() => firstLinks(1, { targetNsid: 4711 })),
    noLink: getLink(9999),
    deleted: ['deleted0', 'deleted1'].filter((name) => dumpLinks().some((link) => link.name === name)),
    deletedTwice: failure(() => deleteLink(veth)),
    loopbackOnly: dumpLinks().filter((link) => link.name === 'lo').length,
  };
}

/** Blocks the event loop until the small buffer overflows. The monitor must continue afterwards. */
async function overrun(): Promise<unknown> {
  using seen = watch(4096);
  const ifindex = addVeth('va', 'vb');
  const lines = Array.from({ length: 300 }, (_, i) => `link set dev va mtu ${1000 + i}`).join('\n');
  execFileSync('ip', ['-batch', '-'], { input: lines });
  await waitFor(() => seen.overruns() > 0, { what: 'an overrun' });
  const lost = !seen.events.some((link) => link.mtu === 1299);
  const dumped = getLink(ifindex)?.mtu;
  seen.events.length = 0;
  ip('link', 'set', 'va', 'mtu', '1400');
  await waitFor(() => seen.events.some((link) => link.mtu === 1400), { what: 'an event after the overrun' });
  return { lost, dumped, overruns: seen.overruns() };
}

/**
 * Many interfaces at once with the default buffer: none is missed, none is reported as new twice
 * without cause.
 */
/** Every event that was queued before the overrun is delivered before it is reported. */
async function overrunOfMany(): Promise<unknown> {
  let isReported = false;
  const mtus = { before: 0, after: 0, last: 0 };
  using _ = new LinkMonitor({
    onLinks: (links) => {
      for (const { mtu } of links.filter(({ name }) => name === 'va')) {
        mtus[isReported ? 'after' : 'before'] += 1;
        mtus.last = mtu;
      }
    },
    onOverrun: () => {
      isReported = true;
    },
    receiveBufferBytes: 512 * 1024,
  });
  addVeth('va', 'vb');
  const lines = Array.from({ length: 2000 }, (_, i) => `link set dev va mtu ${1000 + (i % 300)}`).join('\n');
  execFileSync('ip', ['-batch', '-'], { input: lines });
  await waitFor(() => isReported, { what: 'an overrun' });
  ip('link', 'set', 'va', 'mtu', '1400');
  await waitFor(() => mtus.last === 1400, { what: 'an event after the overrun', state: () => mtus });
  return { isMoreThanATurn: mtus.before > 64, after: mtus.after };
}

async function burst(): Promise<unknown> {
  using seen = watch();
  const lines = Array.from({ length: 250 }, (_, i) => `link add a${i} type veth peer name b${i}`).join('\n');
  execFileSync('ip', ['-batch', '-'], { input: lines });
  const names = () => new Set(seen.events.map((link) => link.name)).size;
  await waitFor(() => names() >= 500, { what: '500 interfaces', state: names });
  const began = process.cpuUsage();
  const dumped = dumpLinks().filter((link) => link.kind === 'veth').length;
  // CPU time instead of wall-clock time, because the machine may be busy.
  const { user, system } = process.cpuUsage(began);
  const some = firstLinks(100);
  const all = firstLinks(1_000);
  return {
    names: names(),
    dumped,
    overruns: seen.overruns(),
    quick: user + system < 1_000_000,
    first: some.length === 100 && some.every(({ name }, index) => name === all[index]?.name),
    all: all.length === dumpLinks().length,
  };
}

await scenarioMain({ events, namespaces, localNetworks, largeLink, refusals, overrun, overrunOfMany, burst });
