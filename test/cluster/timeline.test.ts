// `bailiff timeline` on a real bus: every lane, the terminal and the file. Text that a pod wrote
// stays text in both.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { openBucket, streamInfo } from '@bailiff/bus';
import { podIdentityOf } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CART, NODE_A, NODE_B, publishStory, type Story, VPN, violationOf, WEB, World } from './cli/world.ts';

const EVIL = '<script>alert(1)</script>"\'&\u001b[2J\u202egnp';
let world: World;
let story: Story;
beforeAll(async () => {
  world = await World.start();
  story = await publishStory(world);
  const createdAt = new Date(world.t0Micros / 1000 - 3_600_000).toISOString();
  const pods = [podIdentityOf(WEB, { createdAt })];
  await world.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods });
  await world.put('bailiff_config', 'spoof.namespace.shop.default', { revision: 1, modes: { tunnel: 'audit' } });
  await world.put('bailiff_config', 'spoof.namespace.payments.default', { revision: 1, modes: { tunnel: 'audit' } });
  await world.put('bailiff_config', 'correlation.cluster._.mine', { enabled: false });
  await world.frame(NODE_A, [
    violationOf(world.t0Micros + 900_000, WEB, { cumulativePackets: 400, detail: EVIL, final: true }),
  ]);
  const admin = await world.as('admin');
  const logged = async () => (await streamInfo(admin, 'CONFIG_LOG')).state.messages === 3;
  await waitFor(logged, { what: 'the configuration in its log' });
}, 60_000);
afterAll(() => world?.[Symbol.asyncDispose]());

interface Item {
  lane: string;
  what: string;
  detail: string;
  place: string;
  at: string;
}
const items = async (args: string[]) => {
  const { stdout, stderr, exitCode } = await world.cli(['timeline', ...args, '--json']);
  expect([exitCode, stderr]).toEqual([0, '']);
  return (JSON.parse(stdout) as { items: Item[] }).items;
};

describe('timeline - content', () => {
  it('a pod - all five lanes, in the order of time, and nothing of another pod or namespace', async () => {
    const found = await items(['shop/web-0']);
    expect(new Set(found.map(({ lane }) => lane))).toEqual(
      new Set(['lifecycle', 'config', 'violations', 'verdicts', 'responses']),
    );
    const times = found.map(({ at }) => at);
    expect(times).toEqual([...times].sort());
    const whats = found.map(({ what }) => what);
    expect(whats[0]).toBe('pod created');
    expect(whats).toEqual(expect.arrayContaining([expect.stringMatching(/^ipv4-source drop/), 'delete succeeded']));
    expect(whats).toEqual(
      expect.arrayContaining(['spoof.namespace.shop.default set', 'correlation.cluster._.mine set']),
    );
    expect(whats).not.toContain('spoof.namespace.payments.default set');
    expect(found.some(({ what }) => /tunnel-other/.test(what))).toBe(false);
    expect(whats).toContain('interface veth1a2b3c4d removed');
  });

  it('a verdict - the same for its pod, around it', async () => {
    const [whole, around] = [await items(['shop/web-0']), await items([story.spoofing.verdictId.slice(0, 10)])];
    expect(around.filter(({ lane }) => lane === 'verdicts')).toHaveLength(
      whole.filter(({ lane }) => lane === 'verdicts').length,
    );
    expect(around.map(({ what }) => what)).not.toContain('pod created');
  });

  it('the clock of the node is a day behind or ahead - what was stored in the range is in it', async () => {
    const pods = [podIdentityOf(VPN, { labels: {}, owners: [] })];
    await world.put('bailiff_pods', NODE_B, { nodeName: NODE_B, revision: 1, pods });
    const violations = async () => {
      const found = await items(['payments/vpn-0', '--since', '15m']);
      return found.filter(({ lane }) => lane === 'violations').length;
    };
    const before = await violations();
    for (const days of [-1, 1]) {
      const atMicros = world.t0Micros + days * 86_400_000_000;
      await world.frame(NODE_B, [violationOf(atMicros, VPN, { counterEpoch: `boot/${days}` })]);
    }
    expect(await violations()).toBe(before + 2);
  });

  it('unknown pod - no event, and a range without events', async () => {
    const absent = await world.cli(['timeline', 'shop/absent']);
    expect([absent.exitCode, absent.stderr]).toEqual([
      2,
      expect.stringContaining('no event of "shop/absent" in this range'),
    ]);
    expect((await world.cli(['timeline', 'shop/web-0', '--until', '2020-01-01'])).exitCode).toBe(2);
  });
});

describe('timeline - a quarantine list that cannot be read', () => {
  it.each(['no JSON', '{}'])('%s - it is named, and the list of the pod is read', async (value) => {
    const args = ['timeline', 'shop/cart-1'];
    const before = await world.cli(args);
    expect(before.stdout).toContain('currently in quarantine');
    expect([before.exitCode, before.stderr]).toEqual([0, '']);
    await world.put('bailiff_quarantine', 'no-node', value);
    const { stdout, stderr, exitCode } = await world.cli(args);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('cannot read the quarantine list no-node')]);
    expect(stdout).toBe(before.stdout);
    await openBucket(await world.as('admin'), 'bailiff_quarantine').delete('no-node');
  });
});

describe('timeline - layout', () => {
  it.each([60, 80, 120, 200])(
    'terminal of %d columns - lanes and table fit, and nothing moves the cursor',
    async (terminal) => {
      const { stdout } = await world.cli(['timeline', 'shop/web-0'], { terminal, env: { NO_COLOR: '1' } });
      const lines = stdout.trimEnd().split('\n');
      for (const lane of ['lifecycle', 'config', 'violations', 'verdicts', 'responses']) {
        expect(lines.find((line) => line.startsWith(lane.padEnd(12)))).toMatch(/[●▁▂▃▄▅▆▇█2-9+]/);
      }
      if (terminal >= 80) expect(Math.max(...lines.map((line) => [...line].length))).toBeLessThanOrEqual(terminal);
      expect([...stdout].filter((c) => (c < ' ' && c !== '\n') || c === '\u202e')).toEqual([]);
    },
  );

  it('html - one file: no external content, no script, text of a pod stays text; twice the same', async () => {
    const file = path.join(world.directory, 'timeline.html');
    const nowMs = () => world.t0Micros / 1000 + 60_000;
    const { exitCode, stderr } = await world.cli(['timeline', 'shop/web-0', '--html', file], { nowMs });
    expect([exitCode, stderr]).toEqual([0, `wrote ${file}\n`]);
    const html = readFileSync(file, 'utf8');
    expect(html).toContain("default-src 'none'");
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u001b[2J\\u202egnp');
    expect(html).not.toMatch(/<script|<img|<link|\bsrc=|url\(|@import|https?:|javascript:|\son\w+=/i);
    expect(html).not.toContain('\u202e');
    expect(html.match(/<tr id="i\d+">/g)?.length).toBe((await items(['shop/web-0'])).length);
    expect((await world.cli(['timeline', 'shop/web-0', '--html', '-'], { nowMs })).stdout).toBe(html);
  });

  it('another pod - its own items only', async () => {
    const { stdout } = await world.cli(['timeline', 'shop/cart-1', '--html', '-']);
    expect(stdout).not.toContain(WEB.uid);
    expect(stdout === '' || stdout.includes(CART.uid)).toBe(true);
  });
});
