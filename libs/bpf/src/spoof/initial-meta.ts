/**
 * First generation and frame sequence of newly created maps.
 *
 * Data path: object.ts, if there is no pinned `meta`. Maps can be created again within one boot:
 * after `detachAll`, a lost pin, or a change of ABI. A counter epoch contains boot id, ifindex and
 * generation; a Nats-Msg-Id contains boot id and frame sequence. If they restarted at 1, readers
 * would miss smaller counts, and JetStream would drop frames as duplicates. So both start at
 * CLOCK_BOOTTIME, which restarts only with the boot id. Limits: the clock stays ahead while the
 * average is below 100 generations or a million frames a second; it catches up with a burst of 512
 * interfaces in 5 s. Generations are Avro ints and restart every 248 days of uptime.
 */
import type { Meta } from './encode.ts';
import { AbiValues } from './layout.gen.ts';

const NS_PER_GENERATION = 10_000_000n;
const NS_PER_FRAME_SEQUENCE = 1_000n;
/** Range of an Avro int, less room for a million generations before the next maps are created. */
const GENERATION_PERIOD = 2n ** 31n - 2n ** 20n;

/**
 * Meta of maps that are created at this time of CLOCK_BOOTTIME. The frame sequence stays below 2^53
 * for 285 years.
 */
export function initialMeta(boottimeNs: bigint): Meta {
  return {
    frameSequence: boottimeNs / NS_PER_FRAME_SEQUENCE,
    nextGeneration: 1 + Number((boottimeNs / NS_PER_GENERATION) % GENERATION_PERIOD),
    abi: AbiValues.BAILIFF_ABI,
  };
}
