/**
 * Where the numbers that are given out once begin when there is no pinned `meta` to go on from.
 *
 * Place in the path: spoof-object.ts, when it makes the maps. Why not at 1: maps are made afresh within one boot after
 * `detachAll`, a lost pin or a change of ABI, and a counterEpoch holds (boot id, ifindex, generation) and a Nats-Msg-Id
 * (boot id, frame sequence). Begun again at 1 they would repeat: readers, which take the maximum of an epoch, would not
 * see the smaller counts, and JetStream would drop the frames as duplicates. So both begin at the clock that stands still
 * for nobody and starts with the boot id: CLOCK_BOOTTIME.
 * Bounds: what is given out stays behind the clock as long as it is under 100 generations or a million frames a second on
 * average; a burst of 512 interfaces is caught up with in 5 s, and order within a burst is by ifindex, which is in the
 * epoch too. Generations are Avro ints: they begin anew every 248 days of uptime, when no stream holds the old ones.
 */
import type { Meta } from './encode.ts';
import { AbiValues } from './layout.gen.ts';

const NS_PER_GENERATION = 10_000_000n;
const NS_PER_FRAME_SEQUENCE = 1_000n;
/** An Avro int, less room for a million generations before the next maps are made. */
const GENERATION_PERIOD = 2n ** 31n - 2n ** 20n;

/** Meta of maps that are made at this time of CLOCK_BOOTTIME. The frame sequence stays below 2^53 for 285 years. */
export function firstMeta(boottimeNs: bigint): Meta {
  return {
    frameSequence: boottimeNs / NS_PER_FRAME_SEQUENCE,
    nextGeneration: 1 + Number((boottimeNs / NS_PER_GENERATION) % GENERATION_PERIOD),
    abi: AbiValues.BAILIFF_ABI,
  };
}
