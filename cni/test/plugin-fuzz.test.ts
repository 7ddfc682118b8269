// Malformed input against the plugin with AddressSanitizer: it answers with a CNI error or a result, and never crashes.
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { CHECKED_PLUGIN, ensureProgram } from '../build.ts';
import { runPlugin, ScriptedCollector } from './run-plugin.ts';

/** Each run is a process of some 20 ms, and of a second on a busy machine. */
const RUNS = 60;
const TIMEOUT_MS = 240_000;
const SEED = Number(process.env['BAILIFF_SEED'] ?? 1);
const REPORT = /AddressSanitizer|runtime error|LeakSanitizer/;
const RESULT = { cniVersion: '1.0.0', interfaces: [{ name: 'veth1' }], ips: [{ address: '10.0.0.2/24' }] };

describe('bailiff-cni with checks of memory', () => {
  let plugin = '';
  beforeAll(() => {
    plugin = ensureProgram(CHECKED_PLUGIN);
  });

  /** Cuts, repeats and replaces parts of a valid configuration. */
  const damaged = (valid: string) =>
    fc
      .tuple(fc.nat(valid.length), fc.nat(40), fc.uint8Array({ maxLength: 12 }))
      .map(([at, length, bytes]) =>
        Buffer.concat([Buffer.from(valid.slice(0, at)), bytes, Buffer.from(valid.slice(at + length))]),
      );

  it(
    'configurations that are damaged or arbitrary end in a result or an error object',
    async () => {
      await using collector = new ScriptedCollector();
      const { socket } = collector;
      const valid = JSON.stringify({
        cniVersion: '1.0.0',
        name: 'n',
        socket,
        timeoutMs: 1,
        exemptNamespaces: ['a'],
        prevResult: RESULT,
      });
      const inputs = fc.oneof(
        damaged(valid),
        fc.json().map(Buffer.from),
        fc.uint8Array({ maxLength: 64 }).map(Buffer.from),
      );
      const commands = fc.constantFrom('ADD', 'CHECK', 'DEL', 'STATUS', 'GC');
      let results = 0;
      await fc.assert(
        fc.asyncProperty(inputs, commands, async (input, command) => {
          const { code, stdout, stderr } = await runPlugin({ plugin, input, command });
          expect(stderr).not.toMatch(REPORT);
          if (code === 0) results += 1;
          else expect([code, JSON.parse(stdout)]).toEqual([1, expect.objectContaining({ code: expect.any(Number) })]);
        }),
        { seed: SEED, numRuns: RUNS },
      );
      expect(results).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  it(
    'arguments of any form are passed on or refused',
    async () => {
      await using collector = new ScriptedCollector();
      await collector.listen(() => ({ outcome: 'guarded' }));
      const text = fc.string({ unit: 'binary', maxLength: 300 }).map((one) => one.replaceAll('\0', ''));
      await fc.assert(
        fc.asyncProperty(text, text, async (args, name) => {
          const input = {
            cniVersion: '1.0.0',
            name: 'n',
            socket: collector.socket,
            timeoutMs: 500,
            prevResult: RESULT,
          };
          const env = { CNI_ARGS: `K8S_POD_NAME=a;${args}`, CNI_IFNAME: name || 'pod0' };
          const { code, stderr } = await runPlugin({ plugin, input, env });
          expect(stderr).not.toMatch(REPORT);
          // The kernel has no longer names of interfaces.
          expect(code).toBe(Buffer.byteLength(name) > 15 ? 1 : 0);
        }),
        { seed: SEED, numRuns: RUNS / 3 },
      );
      expect(collector.requests.length).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  it(
    'answers of any form are read within their bounds',
    async () => {
      await using collector = new ScriptedCollector();
      let answer = '';
      await collector.listen(() => answer);
      const answers = fc.oneof(
        fc.json(),
        fc.string(),
        fc.constant('{"outcome":"guarded"'),
        fc.constant(JSON.stringify({ outcome: 'failed', reason: 'x'.repeat(5_000) })),
      );
      await fc.assert(
        fc.asyncProperty(answers, async (text) => {
          answer = text;
          const input = { cniVersion: '1.0.0', name: 'n', socket: collector.socket, timeoutMs: 1, prevResult: RESULT };
          const { code, stderr } = await runPlugin({ plugin, input });
          expect(stderr).not.toMatch(REPORT);
          expect(code).toBe(0);
        }),
        { seed: SEED, numRuns: RUNS / 3 },
      );
    },
    TIMEOUT_MS,
  );
});
