/**
 * Reads of the CLI, under the rights of the identity `cli`, from a bus to which every identity
 * wrote its own messages.
 */
import { openBucket, type ReadNewestOptions, readNewest, violationSubject } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CART,
  healthyStatus,
  NODE_A,
  NODE_B,
  publishStory,
  type Story,
  VPN,
  verdictId,
  violationOf,
  WEB,
  World,
} from './cli/world.ts';

let world: World;
let story: Story;
beforeAll(async () => {
  world = await World.start();
  story = await publishStory(world);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const linesOf = (text: string) => text.trimEnd().split('\n');
const jsonLines = (text: string) => linesOf(text).map((line) => JSON.parse(line) as Record<string, unknown>);
async function ok(args: string[], options: Parameters<World['cli']>[1] = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await world.cli(args, options);
  expect([exitCode, stderr]).toEqual([0, expect.not.stringMatching(/bailiff:/)]);
  return stdout;
}

describe('cli events', () => {
  it('table - each violation with pod, vector, exact packets and claim; unguarded packets', async () => {
    const rows = linesOf(await ok(['events']));
    expect(rows[0]).toMatch(/^TIME \(UTC\) +POD +VECTOR +ACTION +COUNT/);
    expect(rows).toHaveLength(7);
    expect(rows[2]).toMatch(/shop\/web-0 +ipv4-source +drop +320 +192\.0\.2\.7 +10\.1\.0\.5:53 udp +node-a +#2$/);
    expect(rows[4]).toMatch(/payments\/vpn-0 +tunnel-other +audit +40 /);
    expect(rows[5]).toMatch(/\? \(veth1a2b3c4d\) +unknown-interface +audit/);
    expect(rows[6]).toMatch(/\? \(vethfeed01\) +before-guard +passed +3 +guarded after 0\.8 ms/);
  });

  it.each([
    [['--pod', 'shop/web-0'], 3],
    [['--pod', WEB.uid], 3],
    [['--pod', 'vpn-0', '--namespace', 'payments'], 1],
    [['--namespace', 'shop'], 3],
    [['--node', NODE_B], 3],
    [['--kind', 'gap'], 1],
    [['--kind', 'lsm'], 0],
    [['--vector', 'arp-sender'], 1],
    [['--action', 'audit'], 2],
    [['--pod', 'absent'], 0],
    [['--since', '2099-01-01'], 0],
  ] as [string[], number][])('filter - %j selects %d', async (args, count) => {
    const { stdout, stderr } = await world.cli(['events', ...args, '--json']);
    expect(stdout === '' ? [] : jsonLines(stdout)).toHaveLength(count);
    if (count === 0) expect(stderr).toMatch(/^no matching violations since .*; the newest of any kind is \d+s old/);
  });

  it('no rows - names a node whose violations do not reach the bus; control: another node, and after they did', async () => {
    await using own = await World.start();
    const stderr = async (...args: string[]) => (await own.cli(['events', '--namespace', 'shop', ...args])).stderr;
    const status = healthyStatus(NODE_A);
    await own.status({ ...status, bus: { ...status.bus, unackedFrames: 1, unackedForMs: 90_000 } });
    await own.status(healthyStatus(NODE_B));
    const named = 'the bus has no violations\nviolations of node-a have not reached the bus for 90s\n';
    expect([await stderr(), await stderr('--node', NODE_A)]).toEqual([named, named]);
    expect(await stderr('--node', NODE_B)).toBe('the bus has no violations\n');
    const wouldDrop = () => own.cli(['doctor', '--would-drop']);
    const unsent = /^violations of node-a have not reached the bus for 90s\n$/;
    expect(await wouldDrop()).toMatchObject({
      stdout: 'no packet was audited since 1h, as far as is known\n',
      stderr: expect.stringMatching(unsent),
    });
    await own.status(status);
    expect(await stderr()).toBe('the bus has no violations\n');
    expect((await wouldDrop()).stdout).toMatch(/: enforcing would drop nothing more$/m);
  });

  it('json - one object per line with all fields', async () => {
    const [first] = jsonLines(await ok(['events', '--json']));
    expect(first).toMatchObject({
      type: 'violation',
      sequence: 1,
      nodeName: NODE_A,
      vector: 'ipv4-source',
      pod: { name: 'web-0', ownerKind: 'StatefulSet' },
      sample: { claimedAddress: '192.0.2.7', expectedAddress: '10.1.0.4' },
    });
  });

  it('limit - the newest, and the number of omitted ones', async () => {
    const { stdout, stderr } = await world.cli(['events', '--limit', '2']);
    expect(linesOf(stdout).map((line) => line.slice(14, 30).trim())).toEqual([
      'POD',
      '? (veth1a2b3c4d)',
      '? (vethfeed01)',
    ]);
    expect(stderr).toMatch(/the newest 2 of 6 violations/);
    expect(jsonLines(await ok(['events', '--limit', '2', '--json']).catch(() => '')).length).toBe(2);
  });

  it('follow - stored events, then new ones, across a restart of the server, until it is interrupted', async () => {
    await using own = await World.start();
    await own.frame(NODE_A, [violationOf(own.t0Micros, WEB)]);
    const end = new AbortController();
    let out = '';
    const onStdout = (all: string) => {
      out = all;
    };
    const following = own.cli(['events', '--follow', '--json'], { signal: end.signal, onStdout });
    const shows = (count: number) =>
      waitFor(() => out !== '' && linesOf(out).length === count, {
        what: `${count} rows`,
        state: () => out,
      });
    await shows(1);
    await own.frame(NODE_A, [violationOf(own.t0Micros + 1, WEB, { vector: 'redirect' })]);
    await shows(2);
    await own.nats.restart();
    const collector = await own.as(`collector-${NODE_A}`);
    await collector.whenConnected();
    await own.frame(NODE_A, [violationOf(own.t0Micros + 2, WEB, { vector: 'tunnel' })]);
    await shows(3);
    end.abort(new Error('interrupted'));
    const { exitCode, stderr } = await following;
    expect(exitCode).toBe(0);
    expect(jsonLines(out).map(({ vector }) => vector)).toEqual(['ipv4-source', 'redirect', 'tunnel']);
    expect(stderr).toMatch(/disconnected from the bus[\s\S]*reconnected to the bus/);
  });
});

describe('cli bounds', () => {
  it('too many messages - exactly the newest are read, with a note about older ones', async () => {
    await using own = await World.start();
    const count = 30;
    for (let index = 0; index < count; index += 1) {
      const node = index % 3 === 0 ? NODE_A : NODE_B;
      await own.frame(node, [violationOf(own.t0Micros + index, WEB)]);
    }
    const bus = await own.as('cli');
    const stored: number[] = [];
    const read = async (part: Partial<ReadNewestOptions>) => {
      const seen: number[] = [];
      const onMessage = ({ sequence, timestampMicros }: { sequence: number; timestampMicros: number }) => {
        seen.push(sequence);
        stored[sequence] = timestampMicros;
      };
      const signal = AbortSignal.timeout(20_000);
      const { cut } = await readNewest(bus, 'VIOLATIONS', { sinceMs: 0, onMessage, signal, maxMessages: 10, ...part });
      return { seen, cut };
    };
    expect(await read({ maxMessages: count })).toMatchObject({ cut: false, seen: { length: count } });
    expect(await read({})).toEqual({ cut: true, seen: Array.from({ length: 10 }, (_, index) => index + 21) });
    const sinceMs = own.t0Micros / 1000;
    expect((await read({ sinceMs })).seen.at(-1)).toBe(count);
    const ofA = [violationSubject(NODE_A, 'spoof')];
    expect(await read({ filterSubjects: ofA })).toEqual({ cut: false, seen: [1, 4, 7, 10, 13, 16, 19, 22, 25, 28] });
    expect(await read({ filterSubjects: ofA, maxMessages: 9 })).toEqual({ cut: true, seen: [22, 25, 28] });
    expect(await read({ sinceMs: Date.now() + 60_000 })).toEqual({ cut: false, seen: [] });
    const until = (sequence: number) => ({ maxMessages: 5, untilMicros: stored[sequence] as number });
    expect(await read(until(28))).toEqual({ cut: true, seen: [26, 27, 28] });
    expect(await read(until(12))).toEqual({ cut: true, seen: [8, 9, 10, 11, 12] });
    expect(await read({ ...until(12), filterSubjects: ofA })).toEqual({ cut: true, seen: [10] });
    const since = (sequence: number) => ({ sinceMs: (stored[sequence] as number) / 1000 });
    expect(await read({ ...until(12), ...since(10) })).toEqual({ cut: false, seen: [10, 11, 12] });
    expect(await read({ ...until(10), ...since(11) })).toEqual({ cut: false, seen: [] });
  });
});

describe('cli verdicts and responses', () => {
  it('verdicts - of the level and above, newest last, with the id for explain', async () => {
    expect(linesOf(await ok(['verdicts'])).map((line) => line.split(/ +/)[1])).toEqual([
      '(UTC)',
      'high',
      'low',
      'critical',
    ]);
    expect(jsonLines(await ok(['verdicts', '--level', 'high', '--json']))).toHaveLength(2);
    const [only] = jsonLines(await ok(['verdicts', '--pod', 'payments/vpn-0', '--json']));
    expect(only).toMatchObject({ verdictId: story.tunnelling.verdictId, rule: 'audited-spoofing' });
    expect(jsonLines(await ok(['verdicts', '--rule', 'many-identities', '--json']))).toHaveLength(1);
  });

  it('responses - with the request to Kubernetes', async () => {
    const rows = linesOf(await ok(['responses', '--pod', 'web-0', '--action', 'delete']));
    expect(rows).toHaveLength(3);
    expect(rows[2]).toMatch(/delete +succeeded +[0-9a-f]{10} +DELETE pods\/web-0 → 200/);
    expect(jsonLines(await ok(['responses', '--phase', 'pending', '--json']))).toHaveLength(1);
    expect(
      jsonLines(await ok(['responses', '--verdict', story.spoofing.verdictId.slice(0, 8), '--json'])),
    ).toHaveLength(5);
  });

  it('pending - only unfinished responses', async () => {
    const { stdout, stderr } = await world.cli(['responses', '--pending']);
    expect(linesOf(stdout)).toHaveLength(2);
    expect(stdout).toContain(story.pending.responseId.slice(0, 10));
    expect(stderr).toMatch(/responses approve <id>/);
  });
});

describe('cli explain', () => {
  it('verdict - the chain with sequences, by a prefix of the id', async () => {
    const text = await ok(['explain', story.spoofing.verdictId.slice(0, 12)]);
    expect(text).toMatch(/^shop\/web-0 on node-a, of StatefulSet web\n/);
    expect(text).toMatch(
      /#1 .*\+0 +ipv4-source drop +1 [\s\S]*#2 .*\+20 ms +ipv4-source drop +320 [\s\S]*#2 .*arp-sender drop/,
    );
    expect(text).toMatch(/VERDICT {2}aaaa5f1d3c {2}high by repeated-spoofing/);
    expect(text).toMatch(/#5 .*delete +succeeded +DELETE pods\/web-0 → 200/);
    expect(text).toMatch(/first packet → on the bus .* → verdict .* → label succeeded .* → delete succeeded/);
  });

  it('pod - sums, its newest verdict, and its responses that wait for approval', async () => {
    const text = await ok(['explain', 'payments/vpn-0']);
    expect(text).toMatch(/tunnel-other +audit +40 /);
    expect(text).toMatch(/waits for approval: bailiff responses approve /);
    const web = await ok(['explain', WEB.uid]);
    expect(web).toMatch(/ipv4-source +drop +321 .*#1-2/);
  });

  it('json - one document with violations, verdict, records and latencies', async () => {
    const chain = JSON.parse(await ok(['explain', story.spoofing.verdictId, '--json']));
    expect(chain.violations.map((v: { sequence: number }) => v.sequence)).toEqual([1, 2, 2]);
    expect(chain.responses).toHaveLength(3);
    expect(chain.latenciesMs.verdictMs).toBeGreaterThan(chain.latenciesMs.firstViolationMs);
    const pod = JSON.parse(await ok(['explain', 'shop/web-0', '--json']));
    expect(pod.violations[0]).toMatchObject({ vector: 'ipv4-source', packets: 321 });
    expect(pod.verdicts[0].verdict.verdictId).toBe(story.spoofing.verdictId);
  });

  it('evidence that is no longer stored is shown as such', async () => {
    const text = await ok(['explain', story.quarantining.verdictId]);
    expect(text).toMatch(/#999999 .*no longer stored[\s\S]*no latencies/);
  });

  it('unknown - the message for an unknown verdict or pod names where to look', async () => {
    const unknown = await world.cli(['explain', 'ffffffffff']);
    expect(unknown).toMatchObject({ exitCode: 2, stdout: '' });
    expect(unknown.stderr).toMatch(/starts with "ffffffffff"[\s\S]*bailiff verdicts/);
    expect(await world.cli(['explain', 'shop/absent'])).toMatchObject({ exitCode: 2, stdout: '' });
  });
});

describe('cli status', () => {
  it('services - status, doctor and explain highlight absent ones', async () => {
    await using own = await World.start();
    const { tunnelling } = await publishStory(own);
    await own.put('bailiff_pods', '_cluster', { revision: 1, nodes: [] });
    await own.status(healthyStatus(NODE_A));
    await own.status(healthyStatus(NODE_B));
    const away = await own.cli(['status']);
    expect([away.exitCode, away.stdout]).toEqual([
      7,
      expect.stringMatching(/✗ correlator: 0 running: packets are still dropped/),
    ]);
    expect(away.stdout).toMatch(/✗ correlator: .*no verdicts are published; 3 frames not judged, oldest \d+s/);
    expect(away.stdout).toMatch(/✗ responder: 0 running: verdicts get no response; 3 verdicts not read/);
    expect(away.stdout).toMatch(/✗ ipam-sync: 0 running: nodes keep their last pod snapshot/);
    const json = JSON.parse((await own.cli(['status', '--json'])).stdout);
    expect(json.services).toMatchObject({
      correlator: { running: 0, waiting: { count: 3 } },
      responder: { running: 0, waiting: { count: 3 } },
      ipamSync: { running: 0 },
      siemRelay: null,
      evidenceLog: null,
    });
    const doctor = await own.cli(['doctor', '--only', 'bus']);
    expect([doctor.exitCode, doctor.stdout]).toEqual([7, expect.stringMatching(/✗ correlator: 0 running/)]);
    const pod = await own.cli(['explain', 'shop/web-0']);
    expect(pod).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/✗ correlator: 0 running/) });
    const lone = await own.verdict({
      verdictId: verdictId(0xdddd),
      pod: tunnelling.pod,
      nodeName: NODE_B,
      evidence: [],
    });
    const verdict = await own.cli(['explain', lone.verdictId]);
    expect(verdict.stdout).toMatch(/RESPONSES\n {2}none: responder: 0 running: verdicts get no response/);

    await using _services = await own.services();
    const back = await own.cli(['status']);
    expect([back.exitCode, back.stdout]).toEqual([
      0,
      expect.stringMatching(
        /correlator: 1 running, up to date; .*\nresponder: 1 running, up to date; .*\nipam-sync: 1 running/,
      ),
    ]);
    expect((await own.cli(['doctor', '--only', 'bus'])).stdout).toMatch(
      /✓ correlator: 1 running, up to date.*\n +✓ responder: 1 running.*\n +✓ ipam-sync: 1 running, 1 leads/,
    );
    expect((await own.cli(['explain', 'shop/web-0'])).stdout).not.toMatch(/0 running/);
  });

  it('healthy, then silent, missing, uncovered: each has its exit code and is highlighted in the text', async () => {
    await using _services = await world.services();
    const pods = openBucket(await world.as('ipam-sync'), 'bailiff_pods');
    const cluster = (...names: string[]) =>
      pods.put(
        '_cluster',
        JSON.stringify({ revision: 1, nodes: names.map((name) => ({ name, addresses: [], podCidrs: [] })) }),
      );
    expect((await world.cli(['status'])).exitCode).toBe(7);
    await cluster(NODE_A, NODE_B);
    await world.status(healthyStatus(NODE_A));
    await world.status(healthyStatus(NODE_B, { interfaces: [] }));
    const well = await world.cli(['status']);
    expect([well.exitCode, well.stderr]).toEqual([0, '']);
    expect(well.stdout).toMatch(
      /node-a +ok +2\/2 +tcx[\s\S]*2 of 2 nodes report, 2 of 2 interfaces guarded\ncorrelator: 1 running.*\nresponder: .*\nipam-sync: .*\non the bus: VIOLATIONS 3/,
    );

    const [iface] = healthyStatus(NODE_A).interfaces;
    await world.status(
      healthyStatus(NODE_A, {
        interfaces: [{ ...iface!, coverage: 'not-covered', reason: 'ENOSPC: the map is full' }],
      }),
    );
    const uncovered = await world.cli(['status']);
    expect(uncovered).toMatchObject({ exitCode: 3 });
    expect(uncovered.stdout).toMatch(/✗ node-a: shop\/web-0 \(veth11\) not covered: "ENOSPC: the map is full"/);

    await world.status(healthyStatus(NODE_A));
    // The time on the bus counts. A node whose clock is an hour wrong is not silent; an hour after
    // its end it is.
    for (const wrongMs of [-3_600_000, 3_600_000]) {
      await world.status(healthyStatus(NODE_B, { updatedAt: new Date(Date.now() + wrongMs).toISOString() }));
      const { exitCode, stdout } = await world.cli(['status']);
      expect([wrongMs, exitCode]).toEqual([wrongMs, 0]);
      const which = wrongMs > 0 ? /its clock is (59|60)m ahead of the bus/ : /its clock is (59|60)m behind the bus/;
      expect(stdout).toMatch(which);
    }
    await cluster(NODE_A, NODE_B, 'node-c');
    const strict = ['--stale-after', '1s'];
    const silent = await waitFor(
      async () => {
        const shown = await world.cli(['status', ...strict]);
        return /✗ node-a, node-b\.example: silent for \ds/.test(shown.stdout) && shown;
      },
      { what: 'both nodes to be silent' },
    );
    expect([silent.exitCode, silent.stdout]).toEqual([
      7,
      expect.stringContaining('✗ node-c: no collector has ever reported'),
    ]);
    const json = JSON.parse((await world.cli(['status', '--json', ...strict])).stdout);
    expect(json).toMatchObject({
      ok: false,
      exitCode: 7,
      nodes: [{ health: 'silent' }, { health: 'silent' }, { health: 'missing' }],
    });
    expect((await world.cli(['status', '--stale-after', '1h', '--node', NODE_B])).exitCode).toBe(0);
  });

  it('unguarded packets - the row names the pod once the interface is bound', async () => {
    const { interfaces } = healthyStatus(NODE_B);
    const owned = {
      ...interfaces[0]!,
      interfaceName: 'vethfeed01',
      ifindex: 9,
      generation: 1,
      podName: 'vpn-0',
      podNamespace: 'payments',
    };
    await world.status(healthyStatus(NODE_B, { interfaces: [owned] }));
    expect(await ok(['events', '--kind', 'gap'])).toMatch(/payments\/vpn-0 +before-guard +passed +3 /);
    await world.status(healthyStatus(NODE_B));
  });

  it('node - its whole output', async () => {
    await world.status(healthyStatus(NODE_A));
    const text = await ok(['status', '--node', NODE_A]);
    expect(text).toMatch(/shop\/cart-1 +veth12 +guarded +programmed +10\.1\.0\.12 fd00::12/);
    expect(text).toMatch(/! bpf-lsm: "EPERM": the node proposes: "boot with lsm/);
    const { exitCode, stderr } = await world.cli(['status', '--node', 'node-z']);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/known nodes: node-a/)]);
  });
});

describe('cli and invalid messages of others', () => {
  it('unreadable messages - are counted and skipped, the others are shown', async () => {
    await using own = await World.start();
    await own.frame(NODE_A, [violationOf(own.t0Micros, VPN)]);
    const bus = await own.as(`collector-${NODE_A}`);
    bus.nc.publish(violationSubject(NODE_A, 'spoof'), Buffer.from([0xc3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    await bus.nc.flush();
    await own.frame(NODE_A, [violationOf(own.t0Micros, CART)]);
    await waitFor(async () => jsonLines((await own.cli(['events', '--json'])).stdout).length === 2);
    const { exitCode, stderr, stdout } = await own.cli(['events', '--json']);
    expect(exitCode).toBe(0);
    expect(jsonLines(stdout).map((row) => (row['pod'] as { name: string }).name)).toEqual(['vpn-0', 'cart-1']);
    expect(stderr).toMatch(/1 message could not be decoded: UNKNOWN_FINGERPRINT 1/);
  });

  it('a bus without topology, a wrong password, a missing file - each with a remedy', async () => {
    await using bare = await startNats();
    const env = { BAILIFF_NATS_URL: bare.url };
    const empty = await world.cli(['events'], { env });
    expect([empty.exitCode, empty.stderr]).toEqual([
      7,
      expect.stringMatching(/stream not found\n.*`bailiff bus setup`/),
    ]);
    const stranger = await world.cli(['events', '--nats-password-file', '/etc/hostname']);
    expect([stranger.exitCode, stranger.stderr]).toEqual([4, expect.stringMatching(/--nats-password-file/)]);
    const missing = await world.cli(['events', '--nats-password-file', '/proc/nonexistent']);
    expect([missing.exitCode, missing.stderr]).toEqual([6, expect.stringMatching(/\/proc\/nonexistent/)]);
  });
});
