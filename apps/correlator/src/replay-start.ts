/**
 * Reads from the bus the state that the replay plan needs: the bounds of VIOLATIONS, and the frame
 * that triggered the newest verdict. libs/correlation (replay-plan.ts) decides where the replay
 * starts.
 */
import { type Bus, getMessage, microsOf, streamInfo } from '@bailiff/bus';
import type { StreamState } from '@bailiff/correlation';
import { decodeWithLookup, SchemaError, type SchemaRegistry } from '@bailiff/schemas';

/** @throws BusError */
export async function readStreamState(bus: Bus, registry: SchemaRegistry): Promise<StreamState> {
  const { state } = await streamInfo(bus, 'VIOLATIONS');
  const isEmpty = state.messages === 0;
  return {
    firstSequence: isEmpty ? 0 : state.first_seq,
    firstMicros: isEmpty ? 0 : microsOf(state.first_ts),
    lastMicros: isEmpty ? 0 : microsOf(state.last_ts),
    lastTriggerMicros: await lastTrigger(bus, registry),
  };
}

/**
 * Server time of the frame that triggered the newest verdict; null if not found: replay from the
 * beginning.
 */
async function lastTrigger(bus: Bus, registry: SchemaRegistry): Promise<number | null> {
  const { state } = await streamInfo(bus, 'VERDICTS');
  const newest = state.last_seq === 0 ? null : await getMessage(bus, 'VERDICTS', state.last_seq);
  if (!newest || newest.injected) return null;
  try {
    const decoded = await decodeWithLookup(newest.data, registry);
    const trigger = decoded.name === 'Verdict' ? decoded.value.evidence.at(-1) : undefined;
    const frame = trigger ? await getMessage(bus, 'VIOLATIONS', trigger.streamSequence) : null;
    // A frame younger than the verdict belongs to a stream that was recreated since.
    return frame && frame.timestampMicros <= newest.timestampMicros ? frame.timestampMicros : null;
  } catch (error) {
    if (error instanceof SchemaError) return null;
    throw error;
  }
}
