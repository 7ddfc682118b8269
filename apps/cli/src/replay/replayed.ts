/** What a replay hands to its sink. */
import type { StreamMessage } from '@bailiff/bus';
import type { ViolationFrame } from '@bailiff/schemas';
import type { EventFilter } from '../shared/rows/event-rows.ts';

/** A frame of the stretch with what the filter leaves of it. */
export interface Replayed {
  message: StreamMessage;
  /** As it was recorded: places in it are counted in this one. */
  frame: ViolationFrame;
  /** Only with violations that are wanted; the same one when that is all of it. */
  wanted: ViolationFrame;
  filter: EventFilter;
}
