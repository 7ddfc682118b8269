/**
 * Load for the collector's throughput. Runs in the node's namespace until stdin ends. Each tick increments
 * many counter cells of every guarded interface, and runs the real program often enough that samples use up
 * the token buckets. Sending real packets would take the CPU that is measured.
 *
 * An entry of `counters` is written whole. The only other writer is the program, which this process runs
 * between writes, so no counter shrinks.
 */
import { setPriority } from 'node:os';
import { BpfMap, BpfProgram, VECTORS } from '@bailiff/bpf';
import { CountersLayout } from '../../libs/bpf/src/spoof/layout.gen.ts';
import { udpFrame } from '../support/udp-frame.ts';

/** Incremented cells of an interface: these vectors, audited and dropped. */
const GROWING_VECTORS = 16;
/** Half of the shortest flush interval of an interface, so that it has grown at every read. */
const TICK_MS = 5;
/** The default rate of the token bucket is 10 a second. */
const SAMPLE_EVERY_TICKS = 20;
/** Above the measured processes, so that the load is never late. */
const NICE = -10;
const CELL_BYTES = 24;
const STATES = 3;
const ACTIONS = 2;
const PROGRAMMED = 2;
const DROP = 1;
/** Offset of `ifindex` in struct __sk_buff (include/uapi/linux/bpf.h). */
const CONTEXT_IFINDEX = 40;
const CONTEXT_BYTES = 192;

export const GROWING_CELLS = GROWING_VECTORS * ACTIONS;

const cellAt = (vector: number, action: number) => ((vector * ACTIONS + action) * STATES + PROGRAMMED) * CELL_BYTES;

function grow(pinDir: string): void {
  const map = BpfMap.openPinned(`${pinDir}/maps/counters`);
  const program = BpfProgram.openPinned(`${pinDir}/programs/spoof_ingress`);
  const frame = udpFrame({ sourceMac: '0a:58:00:00:00:01', source: '10.9.9.9', destination: '10.244.0.1' });
  // Its source address is wrong on every interface.
  const counted = cellAt(VECTORS.indexOf('ipv4-source'), DROP);
  const interfaces = map.entries().map(([key, value]) => {
    const context = Buffer.alloc(CONTEXT_BYTES);
    context.writeUInt32LE(key.readUInt32LE(0), CONTEXT_IFINDEX);
    // Low words are enough: nothing here counts to 2^32.
    return { key: Buffer.from(key), words: new Uint32Array(Uint8Array.from(value).buffer), context };
  });
  const add = (words: Uint32Array, at: number, packets: number, bytes: number) => {
    words[at / 4] = (words[at / 4] as number) + packets;
    words[at / 4 + 2] = (words[at / 4 + 2] as number) + packets;
    words[at / 4 + 4] = (words[at / 4 + 4] as number) + bytes;
  };
  let tick = 0;
  setInterval(() => {
    tick += 1;
    for (const [index, { key, words, context }] of interfaces.entries()) {
      if ((tick + index) % SAMPLE_EVERY_TICKS === 0) {
        program.testRun({ data: frame, context, repeat: 1 });
        add(words, counted, 1, frame.length);
      }
      for (let vector = 0; vector < GROWING_VECTORS; vector += 1)
        for (let action = 0; action < ACTIONS; action += 1) add(words, cellAt(vector, action), 10, 600);
      map.set(key, new Uint8Array(words.buffer), 'replace');
    }
  }, TICK_MS);
  if (CountersLayout.size !== (interfaces[0]?.words.byteLength ?? 0)) throw new Error('another layout of counters');
  process.stdout.write(`${JSON.stringify({ interfaces: interfaces.length })}\n`);
}

setPriority(NICE);
grow(process.argv[2] as string);
process.stdin.on('end', () => process.exit(0)).resume();
