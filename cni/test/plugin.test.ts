// The plugin binary by the CNI protocol: environment and stdin in, result or error object out.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureProgram } from '../build.ts';
import { type Call, POD_ARGS, runPlugin, ScriptedCollector } from './run-plugin.ts';

const RESULT = {
  cniVersion: '1.0.0',
  interfaces: [
    { name: 'veth1', mac: '02:00:00:00:00:01' },
    { name: 'eth0', sandbox: '/run/netns/p' },
  ],
  ips: [{ address: '10.244.0.2/24', interface: 1, gateway: '10.244.0.1' }],
  routes: [{ dst: '0.0.0.0/0' }],
  dns: {},
};
/** A dynamically linked program names its loader in a header of this type. */
const PT_INTERP = 3;
/** Types of the program headers of a 64-bit ELF file. */
const programHeaders = (elf: Buffer): number[] => {
  const [start, size, count] = [Number(elf.readBigUInt64LE(0x20)), elf.readUInt16LE(0x36), elf.readUInt16LE(0x38)];
  return Array.from({ length: count }, (_, i) => elf.readUInt32LE(start + i * size));
};
const CHAINED = { cniVersion: '1.0.0', prevResult: {} };
const GUARDED = { outcome: 'guarded', reason: '' };
/** Longer than an answer takes on a busy machine. */
const ANSWERED_MS = 15_000;
/** For a call that waits to its bound. */
const SHORT = { timeoutMs: 500 };
/** The collector writes the seconds since boot into this file. */
const SEEN = 'cni-collector-seen';
const bootSeconds = () => Math.floor(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]));

describe('bailiff-cni', () => {
  let plugin = '';
  let collector: ScriptedCollector;
  beforeAll(() => {
    plugin = ensureProgram();
  });
  beforeEach(() => {
    collector = new ScriptedCollector();
  });
  afterEach(async () => collector[Symbol.asyncDispose]());

  const conf = (more: Record<string, unknown> = {}) => ({
    cniVersion: '1.0.0',
    name: 'pods',
    type: 'bailiff-cni',
    socket: collector.socket,
    timeoutMs: ANSWERED_MS,
    prevResult: RESULT,
    ...more,
  });
  const run = (more: Record<string, unknown> = {}, call: Partial<Call> = {}) =>
    runPlugin({ plugin, input: conf(more), ...call });
  const errorOf = ({ stdout }: { stdout: string }) => JSON.parse(stdout) as Record<string, unknown>;
  const passed = () => readFileSync(path.join(collector.dir, 'cni-passed'), 'utf8');

  it('is one static file of at most 1 MB', () => {
    expect(statSync(plugin).size).toBeLessThanOrEqual(1024 * 1024);
    expect(programHeaders(readFileSync(plugin))).not.toContain(PT_INTERP);
    expect(programHeaders(readFileSync(process.execPath)), 'control').toContain(PT_INTERP);
  });

  it('VERSION - lists the versions, whatever is on stdin', async () => {
    const { code, stdout } = await run({}, { command: 'VERSION', input: 'no JSON' });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      cniVersion: '1.1.0',
      supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    });
  });

  describe('ADD', () => {
    it.each(['0.3.1', '0.4.0', '1.0.0', '1.1.0'])('%s - passes the call and prints the result unchanged', async (v) => {
      await collector.listen(() => GUARDED);
      const result = { ...RESULT, cniVersion: v, vendor: { big: 9007199254740993n.toString(), nested: [1, 2.5] } };
      const { code, stdout } = await run({ cniVersion: v, prevResult: result });
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toEqual(result);
      expect(collector.requests).toEqual([
        {
          protocol: 1,
          command: 'ADD',
          containerId: 'c1',
          ifName: 'pod0',
          netns: '/proc/self/ns/net',
          args: POD_ARGS,
          network: 'pods',
          result,
        },
      ]);
    });

    it('integers keep every digit', async () => {
      await collector.listen(() => GUARDED);
      const input = JSON.stringify(conf()).replace('"dns":{}', '"dns":{},"n":9007199254740993');
      expect((await run({}, { input })).stdout).toContain('"n":9007199254740993');
    });

    it('a result without a version gets that of the configuration', async () => {
      await collector.listen(() => GUARDED);
      const { stdout } = await run({ cniVersion: '0.4.0', prevResult: { ips: [] } });
      expect(JSON.parse(stdout)).toEqual({ ips: [], cniVersion: '0.4.0' });
    });

    it('reads the pod side of the interface, MAC and peer, from its namespace', async () => {
      await collector.listen(() => GUARDED);
      await run({}, { env: { CNI_IFNAME: 'lo' } });
      expect(collector.requests[0]?.['podLink']).toEqual({ ifindex: 1, hostIfindex: 0, mac: '00:00:00:00:00:00' });
    });

    it('CHECK does not read it: a pod may have changed its side since', async () => {
      await collector.listen(() => GUARDED);
      await run({}, { command: 'CHECK', env: { CNI_IFNAME: 'lo' } });
      expect(collector.requests[0]).toMatchObject({ command: 'CHECK', ifName: 'lo' });
      expect(collector.requests[0]).not.toHaveProperty('podLink');
    });

    it('what cannot be guarded passes under both policies, and is not counted', async () => {
      await collector.listen(() => ({ outcome: 'not-applicable', reason: 'an ipvlan device' }));
      for (const failurePolicy of ['open', 'closed']) expect((await run({ failurePolicy })).code).toBe(0);
      expect(passed).toThrow(/ENOENT/);
    });

    it('a refusal passes under open, counted, and is code 11 under closed', async () => {
      await collector.listen(() => ({ outcome: 'failed', reason: 'no free slot' }));
      const open = await run({ failurePolicy: 'open' });
      expect([open.code, JSON.parse(open.stdout)]).toEqual([0, RESULT]);
      expect(passed()).toMatch(/^1 \d+ shop\/web-1 no free slot\n$/);
      const closed = await run({ failurePolicy: 'closed' });
      expect([closed.code, errorOf(closed)]).toEqual([
        1,
        { cniVersion: '1.0.0', code: 11, msg: "the pod's interface is not guarded", details: 'no free slot' },
      ]);
      expect(passed()).toMatch(/^1 /);
    });

    it('without a collector: open passes after the bound and counts; closed is code 11', async () => {
      const open = await run(SHORT);
      expect([open.code, JSON.parse(open.stdout)]).toEqual([0, RESULT]);
      expect(open.tookMs).toBeGreaterThan(400);
      await run(SHORT);
      expect(passed()).toMatch(
        /^2 \d+ shop\/web-1 cannot connect to the collector at .*: No such file or directory\n$/,
      );
      const closed = await run({ ...SHORT, failurePolicy: 'closed' });
      expect([closed.code, errorOf(closed)['code']]).toEqual([1, 11]);
    });

    it('counts also where the folder of the socket is missing, as after a boot', async () => {
      await run({ socket: path.join(collector.dir, 'run/cni.sock'), timeoutMs: 1 });
      expect(readFileSync(path.join(collector.dir, 'run/cni-passed'), 'utf8')).toMatch(/^1 /);
      expect(statSync(path.join(collector.dir, 'run')).mode & 0o777).toBe(0o700);
    });

    it('counts of plugins that run at the same time are exact', async () => {
      await Promise.all(Array.from({ length: 20 }, () => run({ timeoutMs: 1 })));
      expect(passed()).toMatch(/^20 /);
    });

    it('a stale socket is retried, and a collector that returns within the bound answers', async () => {
      await collector.listen(() => GUARDED);
      await collector.close();
      writeFileSync(collector.socket, '');
      const adding = run({ failurePolicy: 'closed' });
      rmSync(collector.socket);
      await collector.listen(() => GUARDED);
      expect((await adding).code).toBe(0);
      expect(collector.requests).toHaveLength(1);
    });

    it('a collector that dies in the middle of a request is asked again', async () => {
      let asked = 0;
      await collector.listen((_request, socket) => {
        asked += 1;
        if (asked > 1) return GUARDED;
        socket.destroy();
        return null;
      });
      const { code } = await run({ failurePolicy: 'closed' });
      expect([code, asked]).toEqual([0, 2]);
    });

    describe('a collector that ran a moment ago', () => {
      const seen = (text: string) => writeFileSync(path.join(collector.dir, SEEN), text);
      const DOWN = { timeoutMs: 200, restartTimeoutMs: 1_500 };

      it('is waited for beyond the bound, and answers', async () => {
        seen(`${bootSeconds() - 20}\n`);
        const adding = run({ timeoutMs: 1, restartTimeoutMs: ANSWERED_MS });
        // A second pod with the first bound alone starts meanwhile.
        await run({ timeoutMs: 200, restartTimeoutMs: 1 });
        expect(passed()).toMatch(/^1 /);
        await collector.listen(() => GUARDED);
        expect((await adding).code).toBe(0);
        expect(collector.requests).toHaveLength(1);
        expect(passed()).toMatch(/^1 /);
      });

      it('is waited for to the second bound', async () => {
        seen(`${bootSeconds()}\n`);
        const { code, tookMs } = await run(DOWN);
        expect(code).toBe(0);
        expect(tookMs).toBeGreaterThan(1_400);
        expect(passed()).toMatch(/^1 /);
      });

      it.each([
        ['that is older than six minutes', () => `${bootSeconds() - 361}\n`],
        ['of another boot', () => `${bootSeconds() + 1_000}\n`],
        ['with another content', () => `${bootSeconds()}`],
        ['with too much', () => `${'1'.repeat(40)}\n`],
        ['without content', () => ''],
      ])('is not expected by a file %s', async (_name, text) => {
        seen(text());
        expect((await run({ ...DOWN, restartTimeoutMs: ANSWERED_MS })).tookMs).toBeLessThan(10_000);
        expect(passed()).toMatch(/^1 /);
      });

      it('is waited for by a pod of an exempt namespace too, which starts in any case', async () => {
        const exempt = { exemptNamespaces: ['shop'], failurePolicy: 'closed' };
        // Control: one that has not run lately is not waited for.
        expect((await run({ ...DOWN, ...exempt, restartTimeoutMs: ANSWERED_MS })).tookMs).toBeLessThan(10_000);
        expect(passed()).toMatch(/^1 /);
        seen(`${bootSeconds()}\n`);
        const { code, tookMs } = await run({ ...DOWN, ...exempt });
        expect(code).toBe(0);
        expect(tookMs).toBeGreaterThan(1_400);
        expect(passed()).toMatch(/^2 /);
        const adding = run({ ...exempt, timeoutMs: 1, restartTimeoutMs: ANSWERED_MS });
        await run({ timeoutMs: 200, restartTimeoutMs: 1 });
        await collector.listen(() => GUARDED);
        expect((await adding).code).toBe(0);
        expect(collector.requests).toHaveLength(1);
        expect(passed()).toMatch(/^3 /);
      });
    });

    it('an answer to ask again is repeated within the bound; then the policy decides, with its reason', async () => {
      const SHORT_OF = { outcome: 'failed', reason: 'veth1: EMFILE', again: true };
      let asked = 0;
      await collector.listen(() => (++asked < 3 ? SHORT_OF : GUARDED));
      expect((await run({ failurePolicy: 'closed' })).code).toBe(0);
      expect(asked).toBe(3);
      await collector.close();
      await collector.listen(() => SHORT_OF);
      const { code, stdout } = await run({ ...SHORT, failurePolicy: 'closed' });
      expect([code, errorOf({ stdout })['details']]).toEqual([1, 'veth1: EMFILE']);
    });

    it('a collector that never answers holds a pod up no longer than the bound', async () => {
      await collector.listen(() => null);
      const { code, stdout, tookMs } = await run({ ...SHORT, failurePolicy: 'closed' });
      expect([code, errorOf({ stdout })['code']]).toEqual([1, 11]);
      expect(errorOf({ stdout })['details']).toMatch(/did not answer in time/);
      expect(tookMs).toBeGreaterThan(450);
    });

    it.each([
      ['no JSON', 'nonsense'],
      ['an unknown outcome', { outcome: 'perhaps' }],
      ['no object', []],
      ['more than the limit', 'x'.repeat(70_000)],
      ['nothing', ''],
    ])('an answer with %s is no answer', async (_name, reply) => {
      await collector.listen(() => reply);
      const { code, stdout } = await run({ failurePolicy: 'closed', timeoutMs: 200 });
      expect([code, errorOf({ stdout })['code']]).toEqual([1, 11]);
    });

    it('an exempt namespace passes at once under closed; another one does not', async () => {
      const more = { failurePolicy: 'closed', exemptNamespaces: ['kube-system', 'shop'] };
      const exempt = await run(more);
      expect(exempt.code).toBe(0);
      expect(exempt.tookMs).toBeLessThan(10_000);
      expect(passed()).toMatch(/^1 /);
      const other = await run({ ...more, timeoutMs: 300 }, { env: { CNI_ARGS: POD_ARGS.replace('=shop', '=shop2') } });
      expect(other.code).toBe(1);
    });

    it('an exempt pod is guarded where there is a collector', async () => {
      await collector.listen(() => GUARDED);
      expect((await run({ exemptNamespaces: ['shop'] })).code).toBe(0);
      expect(collector.requests).toHaveLength(1);
      expect(passed).toThrow(/ENOENT/);
    });

    it('a container that is no pod passes without a question', async () => {
      await collector.listen(() => GUARDED);
      const { code, stdout } = await run({ failurePolicy: 'closed' }, { env: { CNI_ARGS: 'IgnoreUnknown=1' } });
      expect([code, JSON.parse(stdout)]).toEqual([0, RESULT]);
      expect(collector.requests).toEqual([]);
    });

    it('needs nothing but the socket: no home, no PATH, no other file', async () => {
      await collector.listen(() => GUARDED);
      const { code } = await run({}, { env: { HOME: undefined, PATH: undefined, KUBECONFIG: '/nowhere' } });
      expect(code).toBe(0);
    });
  });

  describe('errors', () => {
    it.each<[string, number, Partial<Call>]>([
      ['unsupported version', 1, { input: { cniVersion: '0.2.0', prevResult: {} } }],
      ['later version', 1, { input: { cniVersion: '2.0.0', prevResult: {} } }],
      ['no version', 1, { input: {} }],
      ['CHECK before 0.4.0', 1, { command: 'CHECK', input: { cniVersion: '0.3.1', prevResult: {} } }],
      ['STATUS before 1.1.0', 1, { command: 'STATUS', input: { cniVersion: '1.0.0' } }],
      ['GC before 1.1.0', 1, { command: 'GC', input: { cniVersion: '1.0.0' } }],
      ['no command', 4, { command: '', input: { cniVersion: '1.0.0' } }],
      ['unknown command', 4, { command: 'add', input: { cniVersion: '1.0.0' } }],
      ['no container', 4, { env: { CNI_CONTAINERID: undefined }, input: { cniVersion: '1.0.0', prevResult: {} } }],
      ['no interface', 4, { env: { CNI_IFNAME: undefined }, input: { cniVersion: '1.0.0', prevResult: {} } }],
      ['no namespace', 4, { env: { CNI_NETNS: undefined }, input: { cniVersion: '1.0.0', prevResult: {} } }],
      ['container id of 300 bytes', 4, { env: { CNI_CONTAINERID: 'c'.repeat(300) }, input: CHAINED }],
      ['interface name of 16 bytes', 4, { env: { CNI_IFNAME: 'a'.repeat(16) }, input: CHAINED }],
      ['namespace of 5000 bytes', 4, { env: { CNI_NETNS: `/${'n'.repeat(5_000)}` }, input: CHAINED }],
      ['arguments of 100000 bytes', 4, { env: { CNI_ARGS: 'K8S_POD_NAME=a;'.repeat(7_000) }, input: CHAINED }],
      ['too much on stdin', 5, { input: `${' '.repeat(1024 * 1024)}{}` }],
      ['not JSON', 6, { input: '{"cniVersion": "1.0.0",' }],
      ['nothing on stdin', 6, { input: '' }],
      ['no object', 6, { input: '[1]' }],
      ['prevResult of another type', 6, { input: { cniVersion: '1.0.0', prevResult: 'x' } }],
      ['a depth without end', 6, { input: '['.repeat(100_000) }],
      ['not chained', 7, { input: { cniVersion: '1.0.0' } }],
      ['unknown policy', 7, { input: { cniVersion: '1.0.0', failurePolicy: 'maybe', prevResult: {} } }],
      ['policy of another type', 7, { input: { ...CHAINED, failurePolicy: ['closed'] } }],
      ['socket of another type', 7, { input: { ...CHAINED, socket: 1 } }],
      ['no path of a socket', 7, { input: { ...CHAINED, socket: '' } }],
      ['relative path of a socket', 7, { input: { ...CHAINED, socket: 'run/cni.sock' } }],
      ['path of a socket above its limit', 7, { input: { ...CHAINED, socket: `/${'s'.repeat(107)}` } }],
      ['wait of no length', 7, { input: { cniVersion: '1.0.0', timeoutMs: 0, prevResult: {} } }],
      ['wait without end', 7, { input: { cniVersion: '1.0.0', timeoutMs: 1e9, prevResult: {} } }],
      ['wait for a restart as text', 7, { input: { cniVersion: '1.0.0', restartTimeoutMs: '60000', prevResult: {} } }],
      [
        'exempt namespaces of another type',
        7,
        { input: { cniVersion: '1.0.0', exemptNamespaces: [1], prevResult: {} } },
      ],
    ])('%s is code %i', async (_name, expected, call) => {
      const outcome = await runPlugin({ plugin, input: {}, ...call });
      expect(outcome.code).toBe(1);
      expect(errorOf(outcome)).toMatchObject({ code: expected });
    });
  });

  it('an environment of megabytes does not matter', async () => {
    await collector.listen(() => GUARDED);
    const many = Array.from({ length: 15 }, (_, i) => [`LARGE_${i}`, 'x'.repeat(120_000)]);
    expect((await run({ failurePolicy: 'closed' }, { env: Object.fromEntries(many) })).code).toBe(0);
  });

  it('a request above its limit is refused at once: numbers grow when they are written again', async () => {
    await collector.listen(() => GUARDED);
    const prevResult = `{"cniVersion":"1.0.0","numbers":[${Array.from({ length: 180_000 }, () => '1e15').join(',')}]}`;
    const { prevResult: _, ...rest } = conf({ failurePolicy: 'closed' });
    const input = `${JSON.stringify(rest).slice(0, -1)},"prevResult":${prevResult}}`;
    const outcome = await runPlugin({ plugin, input });
    expect([outcome.code, errorOf(outcome)['details']]).toEqual([1, expect.stringMatching(/larger than/)]);
    expect(collector.requests).toEqual([]);
  });

  it('stdin that never ends is an error after a bound', async () => {
    const { code, stdout, tookMs } = await runPlugin({ plugin, input: '{"cniVersion":"1.0.0"', keepStdin: true });
    expect([code, errorOf({ stdout })]).toEqual([1, expect.objectContaining({ code: 5 })]);
    expect(tookMs).toBeGreaterThan(9_000);
  });

  it('a reason that is cut within a character is printed up to it', async () => {
    await collector.listen(() => ({ outcome: 'failed', reason: 'é'.repeat(600) }));
    const { stdout } = await run({ failurePolicy: 'closed' });
    expect(errorOf({ stdout })).toMatchObject({ code: 11, details: 'é'.repeat(255) });
  });

  it.each(['a FIFO', 'a file', 'a folder', 'nothing', 'another namespace'])(
    'CNI_NETNS that is %s - the plugin does not wait for it, and asks without the pod side',
    async (kind) => {
      await collector.listen(() => GUARDED);
      const netns = kind === 'another namespace' ? '/proc/self/ns/uts' : path.join(collector.dir, 'netns');
      if (kind === 'a FIFO') expect(spawnSync('mkfifo', [netns]).status).toBe(0);
      if (kind === 'a file') writeFileSync(netns, '');
      if (kind === 'a folder') mkdirSync(netns);
      expect((await run({ failurePolicy: 'closed' }, { env: { CNI_NETNS: netns, CNI_IFNAME: 'lo' } })).code).toBe(0);
      expect(collector.requests).toHaveLength(1);
      expect(collector.requests[0]).not.toHaveProperty('podLink');
    },
  );

  it('a process that holds the lock of the count does not hold up a pod', async () => {
    const file = path.join(collector.dir, 'cni-passed');
    const holder = spawn('flock', [file, 'sh', '-c', 'echo held; exec sleep 600'], { detached: true });
    try {
      await once(holder.stdout, 'data');
      const { code, stderr } = await run({ timeoutMs: 1 });
      expect([code, stderr]).toEqual([0, expect.stringMatching(/cannot count/)]);
    } finally {
      process.kill(-(holder.pid as number), 'SIGKILL');
    }
    expect((await run({ timeoutMs: 1 })).code).toBe(0);
    expect(passed(), 'control: without the holder it counts').toMatch(/^1 /);
  });

  it('names with blanks keep the form of the count', async () => {
    await run({ timeoutMs: 1 }, { env: { CNI_ARGS: 'K8S_POD_NAMESPACE=a b;K8S_POD_NAME=c\nd' } });
    expect(passed()).toMatch(/^1 \d+ a\?b\/c\?d cannot connect/);
  });

  it('DEL and GC succeed without a collector, without an ADD, and more than once', async () => {
    for (const command of ['DEL', 'DEL', 'GC']) {
      const { code, stdout } = await run(
        { cniVersion: '1.1.0', prevResult: undefined, failurePolicy: 'closed', 'cni.dev/valid-attachments': [] },
        { command },
      );
      expect([command, code, stdout]).toEqual([command, 0, '']);
    }
    const without = { CNI_NETNS: undefined, CNI_ARGS: undefined };
    expect((await run({ failurePolicy: 'other' }, { command: 'DEL', env: without })).code).toBe(0);
  });

  it.each<[string, unknown]>([
    ['is larger than 1 MiB', { ...CHAINED, args: { cni: { x: '<'.repeat(2 * 1024 * 1024) } } }],
    ['has a NUL', { ...CHAINED, args: { cni: { x: '\0' } } }],
    ['is nested deeper than is read', `{"cniVersion":"1.0.0","args":${'['.repeat(5_000)}${']'.repeat(5_000)}}`],
    ['is no JSON', '{"cniVersion": "1.0.0",'],
    ['has an unknown version', { cniVersion: '2.0.0' }],
  ])('DEL succeeds where the configuration %s: its address would stay taken', async (_name, input) => {
    expect(await runPlugin({ plugin, command: 'DEL', input })).toMatchObject({ code: 0, stdout: '' });
    expect((await runPlugin({ plugin, input })).code, 'control: ADD').toBe(1);
  });

  it('CHECK - open never fails; closed fails while the interface is not guarded', async () => {
    expect((await run(SHORT, { command: 'CHECK' })).code).toBe(0);
    const closed = (more = {}) => run({ ...more, failurePolicy: 'closed' }, { command: 'CHECK' });
    expect(errorOf(await closed(SHORT))['code']).toBe(11);
    let answer: unknown = GUARDED;
    await collector.listen(() => answer);
    expect(await closed()).toMatchObject({ code: 0, stdout: '' });
    expect(collector.requests[0]?.['command']).toBe('CHECK');
    answer = { outcome: 'failed', reason: 'bound to another pod' };
    expect(errorOf(await closed())).toMatchObject({ code: 11, details: 'bound to another pod' });
  });

  it('STATUS - under closed it is code 50 while the collector is away; under open it succeeds', async () => {
    const status = (failurePolicy: string, more = {}) =>
      run({ cniVersion: '1.1.0', failurePolicy, ...more }, { command: 'STATUS' });
    expect(errorOf(await status('closed', SHORT))['code']).toBe(50);
    expect((await status('open', SHORT)).code).toBe(0);
    await collector.listen(() => GUARDED);
    expect((await status('closed')).code).toBe(0);
    expect(collector.requests.map(({ command }) => command)).toEqual(['STATUS']);
  });

  it('a server that is not root is not believed', async (context) => {
    context.skip(process.getuid?.() !== 0, 'needs root');
    // A child without rights listens where the collector would.
    const script = `const s = require('node:net').createServer({ allowHalfOpen: true }, (c) => { c.on('error', () => {}); c.resume(); c.end('{"outcome":"guarded"}'); });
      s.listen(process.argv[1], () => console.log('on'));`;
    chmodSync(collector.dir, 0o777);
    const child = spawn(process.execPath, ['-e', script, collector.socket], { uid: 65534, gid: 65534 });
    try {
      await once(child.stdout, 'data');
      const { code, stdout } = await run({ failurePolicy: 'closed', timeoutMs: 200 });
      expect([code, errorOf({ stdout })['details']]).toEqual([1, expect.stringMatching(/is not root/)]);
    } finally {
      child.kill('SIGKILL');
    }
    // Control: the same server as root is believed.
    const server = createServer({ allowHalfOpen: true }, (c) => c.resume().end('{"outcome":"guarded"}'));
    rmSync(collector.socket, { force: true });
    server.listen(collector.socket);
    await once(server, 'listening');
    expect((await run({ failurePolicy: 'closed' })).code).toBe(0);
    server.close();
  });
});
