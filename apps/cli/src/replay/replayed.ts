/** The input of a replay's sink. */
import type { StreamMessage } from '@bailiff/bus';
import type { EventFilter, NodeFrame } from '@bailiff/insight';
import type { ViolationFrame } from '@bailiff/schemas';

/** A frame with the part that matches the filter. */
export interface Replayed {
  message: StreamMessage;
  /** As stored: violation indexes refer to it. */
  judged: NodeFrame;
  /** Only matching violations; the same object if all match. */
  wanted: ViolationFrame;
  filter: EventFilter;
}
