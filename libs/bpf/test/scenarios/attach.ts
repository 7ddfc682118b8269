/** Child process: programs on a real veth with real packets, at tcx and at clsact. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { waitFor } from '@bailiff/service/testing';
import { BpfObject, ClsactFilter, getLink, queryTcx } from '../../src/index.ts';
import { scenarioMain } from '../helpers.ts';
import { addVeth, failure, ip, wired } from './network.ts';

const DROP = Buffer.from([2, 0, 0, 0]);

function load(path: string, verdict: Buffer | null = null): BpfObject {
  const object = BpfObject.open(path);
  if (verdict !== null) object.setGlobal('verdict', verdict);
  object.load();
  return object;
}

/** Skbs counted by `first` (slot 0) or `second` (slot 1). */
function hits(object: BpfObject, slot: 0 | 1): bigint {
  using map = object.map('hits');
  const key = Buffer.from([slot, 0, 0, 0]);
  return map.perCpu(map.get(key)!).reduce((sum, value) => sum + value.readBigUInt64LE(), 0n);
}

/** Attaches at the head of a chain that already has another user's program. */
async function order(path: string): Promise<unknown> {
  const { ifindex, ping, namespace } = await wired();
  using other = load(path);
  using second = other.program('second');
  using drop = other.program('drop');
  using otherLink = second.attachTcx(ifindex, { direction: 'ingress', position: 'tail' });
  const control = { reached: ping('answered'), otherSaw: hits(other, 1) > 0n };
  const link = drop.attachTcx(ifindex, { direction: 'ingress' });
  const chain = queryTcx(ifindex, 'ingress');
  const sawBefore = hits(other, 1);
  const guarded = { reached: ping(), otherSaw: hits(other, 1) > sawBefore };
  const expected = [drop.info.id, second.info.id];
  const inOrder = chain.programs.map((member) => member.programId).join() === expected.join();
  const linkIds = [link.info().linkId, otherLink.info().linkId].join() === chain.programs.map((m) => m.linkId).join();
  link.close();
  const closed = { reached: ping('answered'), programs: queryTcx(ifindex, 'ingress').programs.length };
  namespace[Symbol.dispose]();
  return { control, guarded, closed, inOrder, linkIds, egress: queryTcx(ifindex, 'egress').programs.length };
}

function positions(path: string): unknown {
  const ifindex = addVeth('va', 'vb');
  using object = load(path);
  using first = object.program('first');
  using second = object.program('second');
  using drop = object.program('drop');
  using echo = object.program('echo');
  const names = new Map([first, second, drop, echo].map((program) => [program.info.id, program.info.name]));
  const chain = () => queryTcx(ifindex, 'ingress').programs.map((member) => names.get(member.programId));
  const revision = queryTcx(ifindex, 'ingress').revision;
  using middle = first.attachTcx(ifindex, { direction: 'ingress', expectedRevision: revision });
  const stale = failure(() => second.attachTcx(ifindex, { direction: 'ingress', expectedRevision: revision }));
  using _before = second.attachTcx(ifindex, {
    direction: 'ingress',
    position: { before: { linkId: middle.info().linkId } },
  });
  using _after = drop.attachTcx(ifindex, {
    direction: 'ingress',
    position: { after: { programId: first.info.id } },
  });
  using _tail = echo.attachTcx(ifindex, { direction: 'ingress', position: 'tail' });
  return {
    chain: chain(),
    stale,
    twice: failure(() => first.attachTcx(ifindex, { direction: 'ingress' })),
    unknownNeighbour: failure(() =>
      first.attachTcx(ifindex, { direction: 'egress', position: { before: { programId: 0xfffffff } } }),
    ),
    noInterface: failure(() => first.attachTcx(9999, { direction: 'ingress' })),
    queryNoInterface: failure(() => queryTcx(9999, 'ingress')),
  };
}

/** Replaces the program during a flood: exactly one of the two counts each packet. */
async function update(path: string): Promise<unknown> {
  const { ifindex, ping, namespace } = await wired();
  assert(ping('answered'), 'the wire works');
  using one = load(path, DROP);
  using two = load(path, DROP);
  const programs = [one.program('first'), two.program('first')] as const;
  const link = programs[0].attachTcx(ifindex, { direction: 'ingress' });
  const rxBefore = getLink(ifindex)!.rxPackets!;
  const code = `const s=require('dgram').createSocket('udp4');let n=0;
    (function next(e){if(e||n++>=20000){s.close();return}s.send('x',9,'192.0.2.1',next)})()`;
  const sender = spawn('nsenter', ['-t', String(namespace.pid), '-n', '--', process.execPath, '-e', code]);
  let updates = 0;
  let done = false;
  once(sender, 'exit').then(() => {
    done = true;
  });
  while (!done) {
    link.update(programs[(updates + 1) % 2]!, programs[updates % 2]!);
    updates++;
    if (updates % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  // Count from after the attach, and read before the programs' counts: a surplus on the interface
  // is a packet that neither program saw. The opposite is a stray packet at either edge.
  const packets = BigInt(getLink(ifindex)!.rxPackets! - rxBefore);
  const surplus = () => hits(one, 0) + hits(two, 0) - packets;
  await waitFor(() => surplus() >= 0n, {
    what: 'every packet to be counted by a program',
    state: () => [surplus(), packets],
  });
  const wrongOld = failure(() => link.update(programs[updates % 2]!, programs[(updates + 1) % 2]!));
  ip('link', 'del', 'va');
  const goneIfindex = link.info().ifindex;
  const gone = failure(() => link.update(programs[(updates + 1) % 2]!));
  namespace[Symbol.dispose]();
  return {
    swappedOften: updates > 100,
    flooded: packets > 1000n,
    bothCounted: hits(one, 0) > 0n && hits(two, 0) > 0n,
    strays: surplus() > 10n,
    wrongOld,
    goneIfindex,
    gone,
  };
}

async function detach(path: string): Promise<unknown> {
  const { ifindex, ping, namespace } = await wired();
  using object = load(path);
  using drop = object.program('drop');
  using link = drop.attachTcx(ifindex, { direction: 'ingress' });
  const attached = ping();
  using other = object.program('second');
  const tags = [drop, other].map(({ info }) => link.programTag() === info.tag);
  link.detach();
  const detached = ping('answered');
  const info = link.info();
  namespace[Symbol.dispose]();
  return { attached, tags, detached, ifindex: info.ifindex, chain: queryTcx(ifindex, 'ingress').programs.length };
}

function qdiscs(): string[] {
  const lines = execFileSync('tc', ['qdisc', 'show', 'dev', 'va'], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => line.includes('clsact'));
}

async function clsact(path: string): Promise<unknown> {
  const { ifindex, ping, namespace } = await wired();
  using object = load(path);
  using drop = object.program('drop');
  using second = object.program('second');
  const control = ping('answered');
  const filter = drop.attachClsact(ifindex, 'ingress', { priority: 1, handle: 1 });
  const guarded = { reached: ping(), isOurs: filter.programId() === drop.info.id, createdQdisc: filter.createdQdisc };
  const taken = failure(() => second.attachClsact(ifindex, 'ingress', { priority: 1, handle: 1 }));
  const replaced = second.attachClsact(ifindex, 'ingress', { priority: 1, handle: 1, replace: true });
  const afterReplace = {
    reached: ping('answered'),
    isOurs: filter.programId() === second.info.id,
    createdQdisc: replaced.createdQdisc,
  };
  const chosen = drop.attachClsact(ifindex, 'egress');
  const egressDropped = !ping();
  const detached = [chosen.detach(), chosen.detach()];
  const whileOursIsThere = qdiscs().length;
  const last = [filter.detach(), filter.detach(), filter.programId()];
  const end = { reached: ping('answered'), qdiscs: qdiscs().length };
  namespace[Symbol.dispose]();
  const chosenNumbers = chosen.priority > 0 && chosen.handle > 0;
  return {
    control,
    guarded,
    taken,
    afterReplace,
    egressDropped,
    detached,
    chosenNumbers,
    whileOursIsThere,
    last,
    end,
  };
}

/** The filter and the qdisc of another user stay. */
function clsactShared(path: string): unknown {
  const ifindex = addVeth('va', 'vb');
  using object = load(path);
  using drop = object.program('drop');
  const ours = drop.attachClsact(ifindex, 'ingress', { priority: 1, handle: 1 });
  const foreign = drop.attachClsact(ifindex, 'egress', { priority: 7, handle: 7 });
  ours.detach();
  const withForeignFilter = { qdiscs: qdiscs().length, stays: foreign.programId() === drop.info.id };
  foreign.detach();
  execFileSync('tc', ['qdisc', 'del', 'dev', 'va', 'clsact']);
  execFileSync('tc', ['qdisc', 'add', 'dev', 'va', 'clsact']);
  const again = drop.attachClsact(ifindex, 'ingress', { priority: 1, handle: 1 });
  again.detach();
  const foreignQdisc = { createdQdisc: again.createdQdisc, qdiscs: qdiscs().length };
  const reopened = new ClsactFilter({ ifindex, direction: 'ingress', priority: 1, handle: 1 });
  drop.attachClsact(ifindex, 'ingress', { priority: 1, handle: 1 });
  const byNumbers = [reopened.programId() === drop.info.id, reopened.detach()];
  ip('link', 'del', 'va');
  const gone = [ours.programId(), ours.detach(), failure(() => drop.attachClsact(ifindex, 'ingress'))];
  return { withForeignFilter, foreignQdisc, byNumbers, gone };
}

await scenarioMain({ order, positions, update, detach, clsact, clsactShared });
